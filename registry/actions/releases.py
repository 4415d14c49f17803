"""What answers now: release an approved version, go back in one act, lift the freeze."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from registry import artifacts, audit, gate, permissions, ports, signals
from registry import as_of as times
from registry.actions import approvals
from registry.actions._words import reason_from
from registry.audit import Action
from registry.errors import NotFound, Refused
from registry.models import (
    PRODUCTION,
    Environment,
    Freeze,
    ModelVersion,
    RegisteredModel,
    Release,
    ReleaseRequest,
    Role,
)


@dataclass(frozen=True)
class Target:
    """A version one could go back to; `problem` says why not, where it is not eligible."""

    version: ModelVersion
    release: Release
    problem: str = ""

    @property
    def is_eligible(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Preview:
    """What a rollback would do, before anybody does it."""

    current: Release
    target: Target | None
    targets: list[Target]
    never_served: list[ModelVersion] = field(default_factory=list)
    missing_fields: list[str] = field(default_factory=list)
    new_fields: list[str] = field(default_factory=list)


def release(
    model: RegisteredModel,
    *,
    environment: str = PRODUCTION,
    version: ModelVersion,
    reason: str,
    mode: str = Release.Mode.FULL,
    expect: int | None = None,
    as_of: datetime | None = None,
    actor: Any,
) -> Release:
    """Let an approved version answer. Only operators; refused without a valid approval, or while frozen.

    Refused too if its golden answers moved since it was checked, which quarantines it.
    """
    permissions.require_role(permissions.can_release(actor, model), Role.OPERATOR)
    words = reason_from(reason)
    approvals.require_full(mode)
    place = gate.environment_named(environment)
    _current_as_expected(model, place, expect)
    _require_same_model(model, version)
    ports.replay.require_unmoved(version.pk)
    return _release(model, place, version, words, mode, expect, as_of, actor)


@transaction.atomic
def _release(
    model: RegisteredModel,
    place: Environment,
    version: ModelVersion,
    words: str,
    mode: str,
    expect: int | None,
    as_of: datetime | None,
    actor: Any,
) -> Release:
    current = _current_as_expected(model, place, expect)
    try:
        _require_not_frozen(model, place)
        request = _approval_of(version, place)
    except Refused:
        # Somebody who was faster a moment ago is the reason, and worth more than what follows from it.
        _current_as_expected(model, place, current.number if current else 0)
        raise
    begins = _instant(as_of, current, request)
    made = _append(
        Release(
            model=model,
            environment=place,
            version=version,
            mode=mode,
            reason=words,
            request=request,
            released_by=actor,
            created_at=begins,
        ),
        current,
    )
    _tell(made, current, Action.RELEASE_MADE, actor, as_of)
    return made


def roll_back(
    model: RegisteredModel,
    *,
    environment: str = PRODUCTION,
    reason: str,
    to: int | None = None,
    expect: int | None = None,
    as_of: datetime | None = None,
    actor: Any,
) -> Release:
    """Answer again with a version that was approved and has served here before; needs no new approval.

    `to` is a version number (default: the one before the current). `expect` is the release number that the
    person saw: of two who act on the same one, the second is refused with the name of the first.
    Freezes further releases until `unfreeze`. Needs neither Celery nor the model service, as long as the target is
    known to give its golden answers in today's environment: so does every version that was released in it. Where the
    environment has changed and nobody has asked the target since, it is asked now, and refused if it cannot be.
    """
    permissions.require_role(permissions.can_roll_back(actor, model), Role.OPERATOR)
    words = reason_from(reason)
    place = gate.environment_named(environment)
    target = _target_now(model, place, to, expect)[1].version
    _require_intact(target)
    ports.replay.require_unmoved(target.pk)
    return _roll_back(model, place, words, to, expect, as_of, actor)


def _target_now(
    model: RegisteredModel, place: Environment, to: int | None, expect: int | None
) -> tuple[Release, Target]:
    current = _current_as_expected(model, place, expect)
    if current is None:
        raise Refused(_("Nothing was released here, so there is nothing to go back to."), code="no_release")
    return current, _chosen_target(current, to)


@transaction.atomic
def _roll_back(
    model: RegisteredModel,
    place: Environment,
    words: str,
    to: int | None,
    expect: int | None,
    as_of: datetime | None,
    actor: Any,
) -> Release:
    current, target = _target_now(model, place, to, expect)
    target.version.lock()
    if not gate.may_answer(target.version):  # retired while we chose
        raise Refused(_problem(target.version, current), code="target_not_eligible")
    made = _append(
        Release(
            model=model,
            environment=place,
            version=target.version,
            kind=Release.Kind.ROLLBACK,
            reason=words,
            restores=target.release.restores or target.release,
            released_by=actor,
            created_at=_instant(as_of, current),
        ),
        current,
    )
    Freeze.objects.filter(model=model, environment=place, lifted_at=None).update(
        lifted_at=timezone.now(), lifted_by=actor, lift_reason=_("Replaced by a newer rollback")
    )
    Freeze.objects.create(release=made, model=model, environment=place)
    _tell(made, current, Action.RELEASE_ROLLED_BACK, actor, as_of)
    return made


@transaction.atomic
def unfreeze(model: RegisteredModel, *, environment: str = PRODUCTION, reason: str, actor: Any) -> Freeze:
    """Allow new releases again after a rollback. Only operators."""
    permissions.require_role(permissions.can_release(actor, model), Role.OPERATOR)
    words = reason_from(reason)
    place = gate.environment_named(environment)
    freeze = open_freeze(model, place)
    lifted = freeze and Freeze.objects.filter(pk=freeze.pk, lifted_at=None).update(
        lifted_at=timezone.now(), lifted_by=actor, lift_reason=words
    )
    if not freeze or not lifted:
        raise Refused(_("Releases here are not frozen."), code="not_frozen")
    audit.record(Action.FREEZE_LIFTED, target=freeze, actor=actor, reason=words, environment=environment)
    return freeze


def open_freeze(model: RegisteredModel, environment: Environment) -> Freeze | None:
    return (
        Freeze.objects.filter(model=model, environment=environment, lifted_at=None)
        .select_related("release__version", "release__released_by")
        .first()
    )


def rollback_preview(model: RegisteredModel, *, environment: str = PRODUCTION) -> Preview:
    """Where one could go back to, and what that changes; NotFound where nothing was released.

    Whoever looks may act next: whether the targets still give their golden answers is found out meanwhile.
    """
    gate.environment_named(environment)
    current = Release.objects.current(model, environment)
    if current is None:
        raise NotFound(_("Nothing was released here, so there is nothing to go back to."), code="no_release")
    targets = _targets(current)
    for each in targets:
        if each.is_eligible:
            ports.replay.prepare(each.version)
    served = [each.version.pk for each in targets]
    others = list(model.versions.listed().exclude(pk__in=served))
    target = _default_target(current, targets)
    if target is None:
        return Preview(current, None, targets, others)
    now, then = (set(names(version)) for version in (current.version, target.version))
    return Preview(current, target, targets, others, sorted(now - then), sorted(then - now))


def names(version: ModelVersion) -> list[str]:
    return [field["name"] for field in version.schema.get("fields", [])]


def approved_request(version: ModelVersion, environment: Environment) -> ReleaseRequest | None:
    """The approval that a release of this version would stand on: not over, and still about what is there."""
    request = (
        ReleaseRequest.objects.filter(
            version=version,
            environment=environment,
            state=ReleaseRequest.State.APPROVED,
            releases=None,
            expires_at__gt=timezone.now(),
        )
        .with_context()
        .first()
    )
    if request and approvals.binding(version, environment.slug) == request.bound:
        return request
    return None


def _approval_of(version: ModelVersion, environment: Environment) -> ReleaseRequest:
    version.lock()
    request = approved_request(version, environment) if gate.may_answer(version) else None
    if request is None:
        raise Refused(
            _("%(version)s is not approved for %(environment)s.")
            % {"version": version, "environment": environment.slug},
            code="not_approved",
            fix=_("Ask for approval; an approver who is not its author decides."),
        )
    return request


def _current_as_expected(
    model: RegisteredModel, environment: Environment, expect: int | None
) -> Release | None:
    current = Release.objects.current(model, environment.slug)
    number = current.number if current else 0
    if expect is not None and expect != number:
        raise _lost_race(current)
    return current


def _lost_race(current: Release | None) -> Refused:
    if current is None:
        return Refused(_("Nothing is released here."), code="lost_race")
    seconds = max(0, int((timezone.now() - current.created_at).total_seconds()))
    words = {
        "version": current.version.label,
        "who": current.released_by.display_name,
        "seconds": seconds,
    }
    if current.kind == Release.Kind.RELEASE:
        message = _("%(version)s was released by %(who)s %(seconds)d s ago.") % words
    else:
        message = _("Already rolled back to %(version)s by %(who)s %(seconds)d s ago.") % words
    return Refused(message, code="lost_race", fix=_("Look at what is serving now, then decide again."))


def _append(made: Release, current: Release | None) -> Release:
    made.number = current.number + 1 if current else 1
    # A row that refers to the model holds no share of it before the commit: PostgreSQL looks at references then.
    if not made.model.lock_present():
        raise gate.deleted(made.model)
    try:
        with transaction.atomic():
            made.save()
    except IntegrityError as exc:
        raise _lost_race(Release.objects.current(made.model, made.environment.slug)) from exc
    return made


def _tell(made: Release, before: Release | None, action: Action, actor: Any, as_of: datetime | None) -> None:
    # All others that are open there compared with what serves no more.
    others = approvals.lock_open(made.model)
    audit.record(
        action,
        target=made,
        actor=actor,
        reason=made.reason,
        before=_facts(before) if before else None,
        after=_facts(made),
        environment=made.environment.slug,
        **times.told(as_of),
    )
    approvals.settle_all(others)
    transaction.on_commit(partial(signals.serving_changed.send, sender=Release, release_id=made.pk))


def _facts(one: Release) -> dict[str, Any]:
    return {"release": one.number, "version": one.version.number, "sha256": one.version.sha256}


def _instant(
    as_of: datetime | None, current: Release | None, request: ReleaseRequest | None = None
) -> datetime:
    before = [current.created_at] if current else []
    before += [request.decided_at] if request and request.decided_at else []
    return times.instant(
        as_of,
        after=max(before, default=None),
        message=_("A release cannot begin before its approval, nor before the one it replaces."),
    )


def _require_same_model(model: RegisteredModel, version: ModelVersion) -> None:
    if version.model_id != model.pk:
        raise NotFound(_("This model has no such version."))


def _require_not_frozen(model: RegisteredModel, environment: Environment) -> None:
    freeze = open_freeze(model, environment)
    if freeze:
        raise Refused(
            _("Releases are frozen since %(who)s rolled back to %(version)s.")
            % {"who": freeze.release.released_by.display_name, "version": freeze.release.version.label},
            code="frozen",
            fix=_("Lift the freeze first."),
        )


def _chosen_target(current: Release, to: int | None) -> Target:
    targets = _targets(current)
    if to is None:
        target = _default_target(current, targets)
        if target is None:
            raise Refused(_("There is no earlier release to go back to."), code="no_earlier_release")
        return target
    chosen = next((one for one in targets if one.version.number == to), None)
    if chosen is None:
        raise Refused(
            _("Version %(number)d never served here, so one cannot go back to it.") % {"number": to},
            code="never_served",
        )
    if chosen.problem:
        raise Refused(chosen.problem, code="target_not_eligible")
    return chosen


#: Larger files are hashed by the runner that loads them, as every file is; here they would cost the click its speed.
_HASHED_AT_ONCE = 64 * 2**20


def _require_intact(version: ModelVersion) -> None:
    if version.size <= _HASHED_AT_ONCE and not artifacts.is_intact(version.sha256):
        raise Refused(_("Its file is not the one that was uploaded"), code="target_not_eligible")


def _default_target(current: Release, targets: list[Target]) -> Target | None:
    """The latest eligible one that served before the current version did: a second rollback goes further back."""
    origin = current.restores or current
    earlier = (one for one in targets if one.release.number < origin.number)
    return next((one for one in earlier if one.is_eligible), None)


def _targets(current: Release) -> list[Target]:
    """Every version that served here, newest first, each with its latest direct release."""
    history = (
        Release.objects.of(current.model, current.environment.slug)
        .filter(kind=Release.Kind.RELEASE)
        .order_by("-number")
    )
    latest: dict[int, Release] = {}
    for one in history:
        latest.setdefault(one.version_id, one)
    return [Target(one.version, one, _problem(one.version, current)) for one in latest.values()]


def _problem(version: ModelVersion, current: Release) -> str:
    if version.pk == current.version_id:
        return _("Serving now")
    if not gate.may_answer(version):
        return _("%(state)s: it may not answer any more") % {"state": version.get_state_display()}
    if not artifacts.exists(version.sha256):
        return _("Its file is missing")
    if not artifacts.has_size(version.sha256, version.size):
        return _("Its file is not the one that was uploaded")
    return ""
