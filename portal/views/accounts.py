"""People and keys: invitations, roles, and secrets that are shown once."""

from collections.abc import Mapping
from typing import Any

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from portal.first_calls import first_call
from portal.forms.accounts import InviteForm, KeyForm, RolesForm
from portal.views.acts import attempt, press
from portal.views.gates import person, whole_number
from registry import permissions
from registry.actions import keys, people
from registry.audit import Action
from registry.models import ApiKey, Role, User


def key_list(request: HttpRequest) -> HttpResponse:
    user = person(request)
    context = {"keys": _keys_of(user), "can_create": bool(user.roles), "now": timezone.now()}
    return render(request, "portal/key_list.html", context)


def _keys_of(user: User) -> Any:
    """One's own, the service accounts' for those who look after them, everybody's for an administrator."""
    every = ApiKey.objects.select_related("user").prefetch_related("only_models")
    if permissions.can_manage_people(user):
        return every
    if permissions.can_own_service_keys(user):
        return every.filter(user__is_service=True) | every.filter(user=user)
    return every.filter(user=user)


@never_cache
def key_create(request: HttpRequest) -> HttpResponse:
    user = person(request)
    permissions.require(bool(user.roles), _("You have no role yet. An administrator gives roles."))
    form = KeyForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        made = attempt(
            request,
            form,
            Action.KEY_CREATED,
            given["owner"],
            keys.create_key,
            owner=given["owner"],
            name=given["name"],
            actions=given["actions"],
            models=given["models"] or None,
            days=given["days"],
            rate=given["rate"],
        )
        if made:
            return _shown_once(request, *made)
    return render(request, "portal/key_form.html", {"form": form}, status=422 if form.errors else 200)


def _shown_once(request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
    context = {
        "key": key,
        "secret": secret,
        "first_call": first_call(key, request.build_absolute_uri("/").rstrip("/")),
    }
    return render(request, "portal/key_secret.html", context, status=201)


@require_POST
def key_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(_keys_of(person(request)), pk=pk)
    done, _nothing = press(request, Action.KEY_REVOKED, key, keys.revoke_key, key)
    if done:
        messages.success(request, _("%(key)s opens nothing from now on.") % {"key": key})
    return redirect("key-list")


@never_cache
@require_POST
def key_rotate(request: HttpRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(_keys_of(person(request)), pk=pk)
    _done, made = press(
        request,
        Action.KEY_ROTATED,
        key,
        keys.rotate_key,
        key,
        keep_hours=whole_number(request.POST.get("keep_hours", "0")),
        rate=_rate_in(request.POST),
    )
    if made:
        return _shown_once(request, *made)
    return redirect("key-list")


def _rate_in(posted: Mapping[str, str]) -> int | None:
    """Of a rotation: what the field says, empty for none; as before where there is no field."""
    if "rate" not in posted:
        return keys.SAME_RATE
    text = posted["rate"].strip()
    return whole_number(text) if text else None


def person_list(request: HttpRequest) -> HttpResponse:
    permissions.require_role(permissions.can_see_people(request.user), Role.ADMIN)
    everybody = User.objects.prefetch_related("grants", "groups").order_by("is_service", "email")
    rows = [
        (user, [Role(grant.role).label for grant in user.grants.all()], state_of(user)) for user in everybody
    ]
    context = {"rows": rows, "can_manage": permissions.can_manage_people(request.user)}
    return render(request, "portal/person_list.html", context)


def state_of(user: User) -> str:
    if not user.is_active:
        return "inactive"
    return "active" if user.is_service or user.has_usable_password() else "invited"


def person_invite(request: HttpRequest) -> HttpResponse:
    permissions.require_role(permissions.can_manage_people(request.user), Role.ADMIN)
    form = InviteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        invited = attempt(request, form, Action.USER_INVITED, None, people.invite, **form.cleaned_data)
        if invited and invited.is_service:
            messages.success(request, _("%(user)s is here. Make a key for it.") % {"user": invited})
            return redirect("person", invited.pk)
        if invited:
            return _link_once(request, invited)
    return render(request, "portal/person_invite.html", {"form": form}, status=422 if form.errors else 200)


def person_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Who this is, and which roles they have; an administrator may change them."""
    permissions.require_role(permissions.can_see_people(request.user), Role.ADMIN)
    user = get_object_or_404(User, pk=pk)
    form = RolesForm(request.POST if request.method == "POST" else None, initial=membership(user))
    if request.method == "POST" and save_roles(request, user, form):
        messages.success(request, _("Roles and teams of %(user)s are saved.") % {"user": user})
        return redirect("person", user.pk)
    context = {
        "someone": user,
        "state": state_of(user),
        "form": form,
        "grants": user.grants.select_related("granted_by"),
        "keys": user.api_keys.all(),
        "can_manage": permissions.can_manage_people(request.user),
        "has_second_factor": people.has_second_factor(user),
        "role_labels": [Role(role).label for role in sorted(user.roles)],
    }
    return render(request, "portal/person_detail.html", context, status=422 if form.errors else 200)


def membership(user: User) -> dict[str, Any]:
    """What the form of roles and teams begins with."""
    teams = user.groups.order_by("name").values_list("name", flat=True)
    return {"roles": sorted(user.roles), "groups": ", ".join(teams)}


def save_roles(request: HttpRequest, user: User, form: RolesForm) -> bool:
    """The one act behind the form of the portal and of the admin site."""
    if form.is_valid():
        roles = form.cleaned_data["roles"]
        attempt(request, form, Action.USER_ROLE_GRANTED, user, people.set_roles, user, roles)
        if "groups" in form.data and not form.errors:
            teams = form.cleaned_data["groups"]
            attempt(request, form, Action.USER_GROUPS_CHANGED, user, people.set_groups, user, teams)
    return not form.errors


#: Who opens another way into an account shows again that it is they: an unattended browser must not give one away.
#: Who may not do it anyway is refused without being asked.
_confirmed = reauthentication_required(enabled=lambda request: permissions.can_manage_people(request.user))


@never_cache
@require_POST
@_confirmed
def person_link(request: HttpRequest, pk: int) -> HttpResponse:
    """A new way in, shown once; the old link ends when a password is set."""
    user = get_object_or_404(User, pk=pk)
    return _link_once(request, user)


def _link_once(request: HttpRequest, user: User) -> HttpResponse:
    _done, path = press(request, Action.USER_LINK_ISSUED, user, people.one_time_link, user)
    if path is None:
        return redirect("person", user.pk)
    context = {"someone": user, "link": request.build_absolute_uri(path)}
    return render(request, "portal/person_link.html", context, status=201)


@require_POST
def person_active(request: HttpRequest, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    active = request.POST.get("active") == "yes"
    action = Action.USER_ACTIVATED if active else Action.USER_DEACTIVATED
    press(request, action, user, people.set_active, user, active)
    return redirect("person", user.pk)


@require_POST
@_confirmed
def person_second_factor(request: HttpRequest, pk: int) -> HttpResponse:
    """Take away what somebody lost; the next sign-in asks for their password alone."""
    user = get_object_or_404(User, pk=pk)
    done, _nothing = press(
        request, Action.USER_SECOND_FACTOR_REMOVED, user, people.remove_second_factor, user
    )
    if done:
        messages.success(request, _("%(user)s signs in with the password alone now.") % {"user": user})
    return redirect("person", user.pk)
