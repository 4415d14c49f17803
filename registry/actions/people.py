"""Who is here: invitations, roles, and the end of both."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from registry import audit, permissions, signals
from registry.audit import Action
from registry.errors import Invalid, Refused
from registry.models import Role, RoleGrant, User


class System:
    """The actor of commands: whoever may run a command on this machine administers it."""

    pk = None
    is_authenticated = True
    is_active = True
    is_service = False
    roles = frozenset({Role.ADMIN})

    def __str__(self) -> str:
        return "system"


SYSTEM = System()


@transaction.atomic
def invite(
    *, email: str, name: str = "", roles: Iterable[str] = (), is_service: bool = False, actor: Any
) -> User:
    """Make an account without a password; `one_time_link` lets its owner in. Only administrators."""
    permissions.require_role(permissions.can_manage_people(actor), Role.ADMIN)
    address = _valid_email(email)
    if User.objects.filter(email=address).exists():
        raise Refused(_("%(email)s has an account already.") % {"email": address}, code="email_in_use")
    try:
        with transaction.atomic():
            user = User.objects.create_user(address, name=name.strip(), is_service=is_service)
    except IntegrityError as exc:
        raise Refused(
            _("%(email)s has an account already.") % {"email": address}, code="email_in_use"
        ) from exc
    audit.record(Action.USER_INVITED, target=user, actor=actor)
    set_roles(user, roles, actor=actor)
    return user


@transaction.atomic
def set_roles(user: User, roles: Iterable[str], *, actor: Any) -> None:
    """Give exactly these roles; the last administrator keeps theirs. Only administrators."""
    permissions.require_role(permissions.can_manage_people(actor), Role.ADMIN)
    wanted = {_known_role(role) for role in roles}
    held = set(RoleGrant.objects.filter(user=user).values_list("role", flat=True))
    if Role.ADMIN in held - wanted:
        _keep_an_administrator(user)
    for role in sorted(wanted - held):
        RoleGrant.objects.create(user=user, role=role, granted_by_id=actor.pk)
        audit.record(Action.USER_ROLE_GRANTED, target=user, actor=actor, role=role)
    for role in sorted(held - wanted):
        RoleGrant.objects.filter(user=user, role=role).delete()
        audit.record(Action.USER_ROLE_REVOKED, target=user, actor=actor, role=role)
    user.__dict__.pop("roles", None)
    staff = bool(wanted & {Role.ADMIN, Role.APPROVER})
    if user.is_staff != staff:
        user.is_staff = staff
        user.save(update_fields=["is_staff"])


@transaction.atomic
def set_groups(user: User, names: Iterable[str], *, actor: Any) -> None:
    """Put this person into exactly these teams; a team that is not there yet is made. Only administrators."""
    permissions.require_role(permissions.can_manage_people(actor), Role.ADMIN)
    wanted = {name.strip()[:150] for name in names if name.strip()}
    held = set(user.groups.values_list("name", flat=True))
    if wanted == held:
        return
    user.groups.set([Group.objects.get_or_create(name=name)[0] for name in sorted(wanted)])
    audit.record(
        Action.USER_GROUPS_CHANGED, target=user, actor=actor, before=sorted(held), after=sorted(wanted)
    )


@transaction.atomic
def set_active(user: User, active: bool, *, actor: Any) -> None:
    """Open or close an account; a closed one loses its sessions and keys at once. Only administrators."""
    permissions.require_role(permissions.can_manage_people(actor), Role.ADMIN)
    if user.is_active == active:
        return
    if not active and Role.ADMIN in user.roles:
        _keep_an_administrator(user)
    user.is_active = active
    user.save(update_fields=["is_active"])
    action = Action.USER_ACTIVATED if active else Action.USER_DEACTIVATED
    audit.record(action, target=user, actor=actor)


@transaction.atomic
def one_time_link(user: User, *, actor: Any) -> str:
    """The path of a page where this person sets a password, once; void after use or three days."""
    permissions.require_role(permissions.can_manage_people(actor), Role.ADMIN)
    if user.is_service:
        raise Refused(_("A service account has keys, not a password."), code="service_account")
    key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    _record_and_tell(Action.USER_LINK_ISSUED, user, actor)
    uid, token = key.split("-", 1)
    return reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": token})


@transaction.atomic
def remove_second_factor(user: User, *, actor: Any) -> None:
    """For whoever lost their app and their codes: the password alone lets them in. Only administrators."""
    permissions.require_role(permissions.can_manage_people(actor), Role.ADMIN)
    if actor.pk == user.pk:
        message = _("Your own second factor you remove on its own page, which asks for a code.")
        raise Refused(message, code="own_second_factor")
    found, _types = Authenticator.objects.filter(user=user).delete()
    if not found:
        raise Refused(_("%(user)s has no second factor.") % {"user": user}, code="no_second_factor")
    _record_and_tell(Action.USER_SECOND_FACTOR_REMOVED, user, actor)


def _record_and_tell(action: Action, user: User, actor: Any) -> None:
    """Whoever gets another way in opened for them is told of it: it may not have been for them."""
    event = audit.record(action, target=user, actor=actor)
    told = {"user_id": user.pk, "action": action, "by": str(actor), "event": event.seq}
    transaction.on_commit(partial(signals.way_in_changed.send, sender=User, **told))


def has_second_factor(user: User) -> bool:
    return bool(Authenticator.objects.filter(user=user).exists())


def _keep_an_administrator(user: User) -> None:
    # The lock puts two administrators who end each other in a line: the second finds nobody else.
    grants = RoleGrant.objects.select_for_update(of=("self",)).filter(role=Role.ADMIN).order_by("pk")
    others = {grant.user_id for grant in grants} - {user.pk}
    if not User.objects.filter(pk__in=others, is_active=True, is_service=False).exists():
        raise Refused(
            _("%(user)s is the last administrator.") % {"user": user},
            code="last_administrator",
            fix=_("Make somebody else an administrator first."),
        )


def _known_role(role: str) -> str:
    if role not in Role.values:
        message = _("There is no role “%(role)s”; there are: %(known)s.") % {
            "role": role,
            "known": ", ".join(Role.values),
        }
        raise Invalid(
            message, code="unknown_role", errors=[{"field": "roles", "code": "unknown_role", "value": role}]
        )
    return role


def _valid_email(email: str) -> str:
    address = email.strip().lower()
    try:
        validate_email(address)
    except ValidationError as exc:
        message = _("“%(email)s” is not an e-mail address.") % {"email": email[:100]}
        raise Invalid(message, code="bad_email", errors=[{"field": "email", "code": "bad_email"}]) from exc
    return address
