"""What answered at a time that has passed, approved by whom, and when it was barred: one question, one answer."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from registry.audit import Action
from registry.models import (
    PRODUCTION,
    AuditEvent,
    ModelVersion,
    RegisteredModel,
    Release,
    ReleaseRequest,
    User,
)
from registry.serving import approvers_of

_BARS = (Action.VERSION_QUARANTINED, Action.VERSION_QUARANTINE_LIFTED)


@dataclass(frozen=True)
class Interval:
    """From an instant on, until another; None: it lasts."""

    start: datetime
    end: datetime | None

    def holds(self, time: datetime) -> bool:
        return self.start <= time and (self.end is None or time < self.end)


@dataclass(frozen=True)
class Answered:
    """The release in whose interval an instant lies: `since` is part of it, `until` is not."""

    release: Release
    time: datetime
    until: datetime | None
    approvers: list[User]
    request: ReleaseRequest | None
    barred: list[Interval] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return self.release.version.sha256

    @property
    def silence(self) -> Interval | None:
        """The quarantine that `time` lies in: nothing answered then."""
        return next((one for one in self.barred if one.holds(self.time)), None)


def answered_at(model: RegisteredModel, time: datetime, environment: str = PRODUCTION) -> Answered | None:
    """What was released at `time`; None before the first release, and once the model was deleted."""
    releases = Release.objects.with_origin()
    release = releases.at(model, time, environment)
    if release is None:
        return None
    until = release.until
    if until and until <= time:
        return None
    return Answered(
        release=release,
        time=time,
        until=until,
        approvers=approvers_of([release])[release.pk],
        request=(release.restores or release).request,
        barred=[one for one in barred(release.version) if _meets(one, release.created_at, until)],
    )


def intervals(model: RegisteredModel, environment: str = PRODUCTION) -> dict[int, list[Interval]]:
    """For each version that answered here: every time that it did, oldest first, whatever brought it back."""
    releases = Release.objects.of(model, environment).order_by("number")
    found: dict[int, list[Interval]] = {}
    before: int | None = None
    for version, start in releases.values_list("version_id", "created_at"):
        if version == before:
            continue
        if before is not None:
            found[before][-1] = Interval(found[before][-1].start, start)
        found.setdefault(version, []).append(Interval(start, None))
        before = version
    if before is not None and model.deleted_at:
        found[before][-1] = Interval(found[before][-1].start, model.deleted_at)
    return found


def latest(times: list[Interval], most: timedelta, now: datetime) -> list[Interval]:
    """The end of these times that adds up to `most` at most: the oldest one of it may be cut."""
    left, found = most, []
    for one in reversed(times):
        if left <= timedelta(0):
            break
        end = one.end or now
        found.append(Interval(max(one.start, end - left), one.end))
        left -= end - one.start
    return found[::-1]


def barred(version: ModelVersion) -> list[Interval]:
    """When this version was in quarantine, oldest first, as the audit log knows it."""
    events = AuditEvent.objects.filter(
        target_type=version._meta.label_lower,
        target_id=str(version.pk),
        action__in=_BARS,
        result=AuditEvent.Result.DONE,
    ).order_by("seq")
    found: list[Interval] = []
    for action, at in events.values_list("action", "at"):
        if action == Action.VERSION_QUARANTINED:
            found.append(Interval(at, None))
        elif found:
            found[-1] = Interval(found[-1].start, at)
    return found


def _meets(interval: Interval, since: datetime, until: datetime | None) -> bool:
    return (interval.end is None or interval.end > since) and (until is None or interval.start < until)
