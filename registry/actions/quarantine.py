"""A version that is not what was approved any more: it answers nowhere until its answers are the old ones again."""

from functools import partial
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from registry import audit, permissions, ports, signals
from registry.actions import catalog
from registry.actions._words import reason_from
from registry.audit import Action
from registry.errors import Refused
from registry.models import ModelVersion, Role

State = ModelVersion.State


@transaction.atomic
def quarantine(version: ModelVersion, *, reason: str) -> bool:
    """Stop a version from answering because something is wrong with it; False when it answered nothing anyway."""
    moved = ModelVersion.objects.filter(pk=version.pk).move(old=State.CHECKED, new=State.QUARANTINED)
    version.refresh_from_db(fields=["state"])
    if moved:
        audit.record(
            Action.VERSION_QUARANTINED,
            target=version,
            actor=None,
            reason=reason,
            before={"state": State.CHECKED},
            after={"state": State.QUARANTINED},
        )
        transaction.on_commit(
            partial(
                signals.version_quarantined.send, sender=ModelVersion, version_id=version.pk, reason=reason
            )
        )
    return moved


def lift_quarantine(version: ModelVersion, *, reason: str, actor: Any) -> ModelVersion:
    """Let a version answer again, once it has given every one of its golden answers anew, now.

    Only an approver who is not its uploader. There is no way round the rows: where answers still differ, or cannot
    be had, the version stays where it is.
    """
    permissions.require_role(permissions.has_role(actor, Role.APPROVER), Role.APPROVER)
    permissions.require(
        permissions.can_lift_quarantine(actor, version),
        _("You uploaded this version, so another approver must lift its quarantine."),
        code="own_version",
    )
    words = reason_from(reason)
    version.refresh_from_db(fields=["state"])
    if version.state != State.QUARANTINED:
        raise _not_quarantined(version)
    catalog.require_listed(version)
    ports.replay.replay(version.pk)
    return _lift(version, words, actor)


@transaction.atomic
def _lift(version: ModelVersion, words: str, actor: Any) -> ModelVersion:
    if not ModelVersion.objects.filter(pk=version.pk).move(old=State.QUARANTINED, new=State.CHECKED):
        version.refresh_from_db(fields=["state"])
        raise _not_quarantined(version)
    audit.record(
        Action.VERSION_QUARANTINE_LIFTED,
        target=version,
        actor=actor,
        reason=words,
        before={"state": State.QUARANTINED},
        after={"state": State.CHECKED},
    )
    transaction.on_commit(partial(signals.quarantine_lifted.send, sender=ModelVersion, version_id=version.pk))
    version.refresh_from_db()
    return version


def _not_quarantined(version: ModelVersion) -> Refused:
    return Refused(
        _("%(version)s is %(state)s, not quarantined.")
        % {"version": version, "state": version.get_state_display().lower()},
        code="wrong_state",
    )
