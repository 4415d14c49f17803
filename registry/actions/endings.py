"""How things end: a version put away, a model deleted. The record of both stays."""

from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from registry import audit, gate, permissions, signals
from registry.actions import approvals, catalog
from registry.actions._words import reason_from
from registry.audit import Action
from registry.errors import FieldError, Invalid, Refused
from registry.models import ModelVersion, RegisteredModel, Release, ReleaseRequest, Role

State = ModelVersion.State
#: A version in one of these states answers nothing and never will, so that nobody misses it in a list.
ENDED = frozenset({State.RETIRED, State.CHECKS_FAILED, State.QUARANTINED})


@transaction.atomic
def archive(version: ModelVersion, *, reason: str, actor: Any) -> ModelVersion:
    """Leave a version that has ended out of lists; it stays where it is. Who may retire may archive."""
    return _put(version, True, Action.VERSION_ARCHIVED, reason, actor)


@transaction.atomic
def unarchive(version: ModelVersion, *, reason: str, actor: Any) -> ModelVersion:
    """Show an archived version in lists again."""
    return _put(version, False, Action.VERSION_UNARCHIVED, reason, actor)


def _put(version: ModelVersion, away: bool, action: Action, reason: str, actor: Any) -> ModelVersion:
    permissions.require_role(permissions.can_retire(actor, version), Role.OPERATOR)
    words = reason_from(reason)
    version.lock()
    if away and version.state not in ENDED:
        raise Refused(
            _("%(version)s is %(state)s: only a version that has ended is archived.")
            % {"version": version, "state": version.get_state_display().lower()},
            code="not_ended",
            fix=_("Retire it first."),
        )
    serving = catalog.serving_in(version) if away else []
    if serving:
        raise Refused(
            _("%(version)s is serving in %(places)s.") % {"version": version, "places": ", ".join(serving)},
            code="still_serving",
            fix=_("Release another version first."),
        )
    at = timezone.now() if away else None
    if not ModelVersion.objects.filter(pk=version.pk, archived_at__isnull=away).update(archived_at=at):
        raise Refused(
            _("%(version)s is archived already.") % {"version": version}
            if away
            else _("%(version)s is not archived.") % {"version": version},
            code="archived" if away else "not_archived",
        )
    audit.record(
        action,
        target=version,
        actor=actor,
        reason=words,
        before={"archived": not away},
        after={"archived": away},
    )
    version.refresh_from_db()
    return version


@transaction.atomic
def delete_model(model: RegisteredModel, *, reason: str, confirm: str = "", actor: Any) -> RegisteredModel:
    """Take a model away from everybody; what stays is its tombstone. Whatever serves ends at this instant.

    Its owners who are authors, and administrators. Where a version of it may answer, `confirm` must be its short name.
    The short name stays taken; versions with their hashes, requests, decisions and releases stay in the record, and so
    does every file: what answered once can be looked at for ever. Auditors and administrators see the tombstone.
    """
    permissions.require(
        permissions.can_delete_model(actor, model),
        _("Only an owner or an administrator may delete a model."),
        code="not_owner",
    )
    words = reason_from(reason)
    # A release that is being written holds this row (`lock_present`): wait for it, then see it.
    RegisteredModel.objects.select_for_update().get(pk=model.pk)
    ended = serving(model)
    _require_confirmed(model, ended, confirm)
    before = _remains(model, ended)
    if not RegisteredModel.objects.filter(pk=model.pk, deleted_at=None).update(deleted_at=timezone.now()):
        raise Refused(_("%(model)s is deleted already.") % {"model": model}, code="deleted")
    still_open = approvals.lock_open(model)
    audit.record(Action.MODEL_DELETED, target=model, actor=actor, reason=words, before=before)
    for request in ReleaseRequest.objects.filter(pk__in=still_open).with_context():
        approvals.close_with_model(request, actor=actor)
    model.refresh_from_db()
    transaction.on_commit(partial(signals.model_deleted.send, sender=RegisteredModel, model_id=model.pk))
    return model


def serving(model: RegisteredModel) -> list[Release]:
    """What of it answers now, by environment: what ends when it is deleted."""
    answering = Release.objects.answering().filter(model=model).order_by("environment__position")
    releases = answering.select_related("version__model", "environment")
    return [release for release in releases if gate.may_answer(release.version)]


def _require_confirmed(model: RegisteredModel, answering: list[Release], confirm: str) -> None:
    """One who deletes what answers has typed its name: those who ask it get nothing from then on."""
    if confirm == model.slug or not (confirm or answering):
        return
    fix = _("Give the short name “%(slug)s” as confirmation.") % {"slug": model.slug}
    if confirm:
        error = FieldError(
            field="confirm", code="not_the_name", value=confirm[:60], expected=model.slug, fix=fix
        )
        raise Invalid(_("That is not the short name of the model."), code="not_confirmed", errors=[error])
    places = ", ".join(f"{one.version.label} ({one.environment.slug})" for one in answering)
    raise Refused(
        _("%(model)s is serving: %(places)s.") % {"model": model, "places": places},
        code="still_serving",
        fix=fix,
    )


def _remains(model: RegisteredModel, ended: list[Release]) -> dict[str, Any]:
    """What the tombstone says, in the log too: what served until now, hashes by version, how much history there is."""
    return {
        "serving": {
            one.environment.slug: {
                "release": one.number,
                "version": one.version.number,
                "sha256": one.version.sha256,
            }
            for one in ended
        },
        "slug": model.slug,
        "owners": [owner.email for owner in model.owners.all()],
        "versions": {str(version.number): version.sha256 for version in model.versions.all()},
        "releases": model.releases.count(),
        "requests": ReleaseRequest.objects.filter(version__model=model).count(),
    }
