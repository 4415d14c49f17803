"""Keys of programs: made once, shown once, revoked at once."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from registry import audit, permissions
from registry.actions import people
from registry.audit import Action
from registry.errors import Invalid, Refused
from registry.models import ApiKey, KeyAction, RegisteredModel, Role, User

LONGEST_DAYS = 365
PREFIX = "mg_"
HIGHEST_RATE = 1_000_000  # calls a minute
SAME_RATE = -1  # of a rotation: as the old key


@transaction.atomic
def create_key(
    *,
    owner: User,
    name: str,
    actions: Iterable[str],
    models: Iterable[RegisteredModel] | None = None,
    days: int = 90,
    rate: int | None = None,
    not_after: datetime | None = None,
    actor: Any,
) -> tuple[ApiKey, str]:
    """A key for `owner` and its secret, which exists nowhere else. `models` None means all that the owner sees.

    `rate`: how many predictions calls a minute it may make; None: as many as it likes.
    It ends after `days`, and at `not_after` at the latest: a key that makes another gives it no more time than its own.
    Forbidden unless the owner asks, or an administrator does for a service account, or an integrator for what their
    own roles allow too; Invalid for actions that the owner's roles do not allow.
    """
    _may_hold_secret(actor, owner)
    wanted = _allowed_actions(owner, actions)
    _require_own_roles(actor, owner, wanted)
    if not 1 <= days <= LONGEST_DAYS:
        raise Invalid(
            _("A key lives 1 to %(days)d days.") % {"days": LONGEST_DAYS},
            code="bad_expiry",
            errors=[{"field": "days", "code": "bad_expiry", "value": days}],
        )
    _require_rate(rate)
    ends = timezone.now() + timedelta(days=days)
    secret = f"{PREFIX}{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        user=owner,
        name=name.strip()[:100] or _("Key"),
        prefix=secret[:9],
        digest=ApiKey.digest_of(secret),
        actions=wanted,
        all_models=models is None,
        rate=rate,
        expires_at=min(ends, not_after) if not_after else ends,
    )
    key.only_models.set(models or [])
    audit.record(
        Action.KEY_CREATED,
        target=key,
        actor=actor,
        owner=str(owner),
        actions=wanted,
        days=days,
        rate=rate,
        expires_at=key.expires_at,
    )
    return key, secret


@transaction.atomic
def revoke_key(key: ApiKey, *, actor: Any) -> None:
    """From now on this key opens nothing. Its owner, or an administrator; twice is harmless."""
    _may_manage(actor, key.user)
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
        audit.record(Action.KEY_REVOKED, target=key, actor=actor, owner=str(key.user))


@transaction.atomic
def rotate_key(
    key: ApiKey,
    *,
    keep_hours: int = 0,
    rate: int | None = SAME_RATE,
    not_after: datetime | None = None,
    actor: Any,
) -> tuple[ApiKey, str]:
    """A new key with the same rights, and another `rate` if one is given; the old one ends after `keep_hours`.

    `keep_hours` is 0, 1, 24 or 168.

    Forbidden as in `create_key`: who holds the new secret acts in the owner's name.
    """
    _may_hold_secret(actor, key.user)
    if key.state != "active":
        raise Refused(_("This key is %(state)s already.") % {"state": key.state}, code="key_not_active")
    if keep_hours not in (0, 1, 24, 168):
        raise Invalid(_("Keep the old key for 0, 1, 24 or 168 hours."), code="bad_overlap")
    days = max(1, (key.expires_at - key.created_at).days)
    models = None if key.all_models else list(key.only_models.all())
    fresh, secret = create_key(
        owner=key.user,
        name=key.name,
        actions=key.actions,
        models=models,
        days=min(days, LONGEST_DAYS),
        rate=key.rate if rate == SAME_RATE else rate,
        not_after=not_after,
        actor=actor,
    )
    until = timezone.now() + timedelta(hours=keep_hours)
    if keep_hours:
        ApiKey.objects.filter(pk=key.pk).update(expires_at=min(until, key.expires_at))
    else:
        revoke_key(key, actor=actor)
    audit.record(Action.KEY_ROTATED, target=key, actor=actor, successor=fresh.prefix, keep_hours=keep_hours)
    return fresh, secret


def _require_rate(rate: int | None) -> None:
    if rate is None or 1 <= rate <= HIGHEST_RATE:
        return
    raise Invalid(
        _("A rate is 1 to %(most)d calls a minute, or empty for none.") % {"most": HIGHEST_RATE},
        code="bad_rate",
        errors=[{"field": "rate", "code": "bad_rate", "value": rate}],
    )


def _may_hold_secret(actor: Any, owner: User) -> None:
    """Nobody gets a key of another person: with an approver's key an administrator could approve in their name."""
    permissions.require(
        _may_use(actor, owner) or actor is people.SYSTEM,
        _("Only its owner may have a key of a person; an administrator may revoke it."),
        code="not_your_key",
    )


def _require_own_roles(actor: Any, owner: User, actions: list[str]) -> None:
    """Whoever holds a service account's secret does what it may: an integrator gains no other role that way."""
    if actor.pk == owner.pk or permissions.can_manage_people(actor):
        return
    beyond = [name for name in actions if not permissions.can_use_key_action(actor, name)]
    permissions.require(
        not beyond,
        _("Your own roles do not allow %(actions)s: an administrator may make this key.")
        % {"actions": ", ".join(beyond)},
        code="beyond_your_roles",
    )


def _may_use(actor: Any, owner: User) -> bool:
    own = actor.pk is not None and actor.pk == owner.pk and permissions.has_role(actor, *Role.values)
    return own or (owner.is_service and permissions.can_own_service_keys(actor))


def _may_manage(actor: Any, owner: User) -> None:
    permissions.require(
        _may_use(actor, owner) or permissions.can_manage_people(actor),
        _("Only its owner or an administrator may manage this key."),
        code="not_your_key",
    )


def _allowed_actions(owner: User, actions: Iterable[str]) -> list[str]:
    wanted = sorted(set(actions))
    bad = [name for name in wanted if name not in KeyAction.values]
    refused = [name for name in wanted if name not in bad and not permissions.can_use_key_action(owner, name)]
    if not wanted or bad:
        message = _("Choose actions from: %(known)s.") % {"known": ", ".join(KeyAction.values)}
        raise Invalid(
            message,
            code="unknown_action",
            errors=[{"field": "actions", "code": "unknown_action", "value": bad}],
        )
    if refused:
        message = _("The owner's roles do not allow: %(actions)s.") % {"actions": ", ".join(refused)}
        raise Invalid(
            message,
            code="action_not_allowed",
            errors=[{"field": "actions", "code": "action_not_allowed", "value": refused}],
        )
    return wanted
