"""Carries a version through its checks. The version's row is the truth: it is `checking` until this ends it.

`checks_started_at` doubles as the lease: whoever works on a version moves it before each check, by compare-and-set on
the value it set before. So a worker that was thought dead finds that it no longer owns the version, and stops.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import dispatch, runners
from inference.checks import steps, versions
from inference.checks.outcome import Outcome, Problem, explain
from inference.models import CheckAttempts
from registry import audit
from registry.actions import catalog
from registry.errors import Refused
from registry.models import CheckResult, ModelVersion

logger = structlog.get_logger(__name__)

TASK = "inference.checks.tasks.check_version"
ATTEMPTS = 3
LEASE = timedelta(minutes=8)  # longer than any one check may take
UNTOUCHED = timedelta(seconds=30)
JAIL_MISSING = "jail_missing"

Status = CheckResult.Status


class _Lost(Exception):
    """Another worker has taken this version over, or somebody ended its checks."""


@transaction.atomic
def start(version_id: int) -> None:
    """Lay out the list that the page shows, and let a worker begin once this is committed."""
    CheckAttempts.objects.filter(version=version_id).delete()
    _lay_out(version_id)
    dispatch.enqueue(TASK, version_id)


def requeue_stuck() -> int:
    """Hand on the versions that nobody works on: their message was lost, or their worker died."""
    now = timezone.now()
    begun = Q(checks__status__in=[Status.RUNNING, Status.PASSED, Status.FAILED])
    checking = ModelVersion.objects.filter(state=ModelVersion.State.CHECKING)
    untouched = checking.filter(checks_started_at__lt=now - UNTOUCHED).exclude(begun)
    stuck = checking.filter(checks_started_at__lt=now - LEASE)
    ids = set(untouched.values_list("pk", flat=True)) | set(stuck.values_list("pk", flat=True))
    for version_id in sorted(ids):
        dispatch.enqueue(TASK, version_id)
    return len(ids)


def run(version_id: int) -> None:
    """Try everything, once. Running it twice, or twice at the same time, changes nothing more."""
    claim = _claim(version_id)
    if claim is None:
        return
    lease, died_at = claim
    version = ModelVersion.objects.select_related("model", "reference", "evaluation").get(pk=version_id)
    with audit.context(channel="task"):
        if _attempts(version_id) > ATTEMPTS:
            _give_up(version, lease, _worn_out(died_at), died_at)
            return
        try:
            with runners.fresh(version) as runner:
                _try_all(steps.Case(version, runner), lease)
        except _Lost:
            logger.info("checks_taken_over", version=str(version))
        except Exception as error:
            if _is_service_away(error):
                logger.warning("checks_wait_for_the_model_service", version=str(version))
                _leave_for_later(lease, error)
            else:
                logger.exception("checks_broken", version=str(version))
                _give_up(version, lease, explain(RuntimeError())[0])


def _try_all(case: steps.Case, lease: "Lease") -> None:
    blocked = False
    for position, (name, step) in enumerate(steps.STEPS.items()):
        lease.renew()
        if blocked and name not in steps.ALWAYS:
            _save(case.version, name, position, Status.SKIPPED, "", [], None)
            continue
        if not _try(case, name, position, step):
            case.failed.add(name)
            blocked = blocked or name in steps.DECISIVE
    lease.renew()
    catalog.finish_checks(
        case.version,
        passed=not case.failed,
        measured=case.measured,
        environment=_environment(case),
        engine=case.engine,
        to_review=case.to_review if case.failed == {"environment"} else (),
    )


def _try(case: steps.Case, name: str, position: int, step: Callable[[steps.Case], Outcome]) -> bool:
    _save(case.version, name, position, Status.RUNNING, "", [], None)
    started = time.perf_counter()
    try:
        outcome = step(case)
    except Exception as error:
        if _is_service_away(error):
            raise
        if not isinstance(error, Problem | Refused):
            logger.exception("check_broken", version=str(case.version), check=name)
        detail, log = explain(error)
        seconds, figures = time.perf_counter() - started, getattr(error, "figures", {})
        _save(case.version, name, position, Status.FAILED, detail, log, seconds, figures)
        return False
    status = Status.SKIPPED if outcome.skipped else Status.PASSED
    seconds = time.perf_counter() - started
    _save(case.version, name, position, status, outcome.detail, outcome.log, seconds, outcome.figures)
    return True


def _save(
    version: ModelVersion,
    name: str,
    position: int,
    status: str,
    detail: str,
    log: Sequence[str],
    seconds: float | None,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """One result, at once: the page that shows it is open already."""
    CheckResult.objects.update_or_create(
        version=version,
        name=name,
        defaults={
            "position": position,
            "status": status,
            "detail": detail[:4000],
            "log": "\n".join(log)[:20_000],
            "seconds": seconds,
            "figures": audit.plain(figures or {}),
        },
    )


def _lay_out(version_id: int) -> None:
    for position, name in enumerate(steps.STEPS):
        CheckResult.objects.update_or_create(
            version_id=version_id,
            name=name,
            defaults={
                "position": position,
                "status": Status.WAITING,
                "detail": "",
                "log": "",
                "seconds": None,
                "figures": {},
            },
        )


def _is_service_away(error: Exception) -> bool:
    """Is it the model service that is not there, or not whole? That says nothing about the version."""
    if not isinstance(error, runners.ModelError):
        return False
    return error.code == JAIL_MISSING or not runners.is_alive()


def _leave_for_later(lease: "Lease", error: Exception) -> None:
    """Let go of the version as if nobody had begun: the next tick hands it on."""
    if not _still_ours(lease):
        return
    _lay_out(lease.version_id)
    waiting = CheckResult.objects.filter(version=lease.version_id, name="load")
    told = _("The model service does not answer; this goes on by itself when it does.")
    if isinstance(error, runners.ModelError) and error.code == JAIL_MISSING:
        told = f"{error} {error.fix}"
    waiting.update(detail=told)
    held = ModelVersion.objects.filter(pk=lease.version_id, checks_started_at=lease.stamp)
    held.update(checks_started_at=timezone.now() - UNTOUCHED)
    CheckAttempts.objects.filter(version=lease.version_id).delete()  # the version is not to blame


def _environment(case: steps.Case) -> dict[str, object]:
    """What answers here, and what the file was made with."""
    made_with = [f"{name} {version}" for name, version in versions.recorded(case.version).items()]
    return {"packages": versions.here(case.facts), "made_with": made_with}


def _attempts(version_id: int) -> int:
    """How many workers have begun with it, this one counted."""
    attempts = CheckAttempts.objects.get_or_create(version_id=version_id)[0]
    CheckAttempts.objects.filter(pk=attempts.pk).update(count=F("count") + 1)
    return attempts.count + 1


def _worn_out(name: str) -> str:
    return _(
        "The checks were begun %(times)d times, and each time they took their worker with them (last at “%(name)s”). "
        "Make the model or its reference data smaller, or ask an administrator for a worker with more memory; "
        "then start the checks again."
    ) % {"times": ATTEMPTS, "name": name}


def _give_up(version: ModelVersion, lease: "Lease", why: str, name: str = "") -> None:
    """Something that is no check failed: the version must not stay where nobody looks at it again.

    Unless another worker looks at it already: then its results are the ones that count.
    """
    if not _still_ours(lease):
        return
    left = version.checks.filter(status__in=[Status.WAITING, Status.RUNNING])
    name = name or left.values_list("name", flat=True).first() or next(reversed(steps.STEPS))
    left.update(status=Status.SKIPPED)
    _save(version, name, list(steps.STEPS).index(name), Status.FAILED, why, [], None)
    catalog.finish_checks(version, passed=False, measured={}, environment=version.environment)


def _still_ours(lease: "Lease") -> bool:
    try:
        lease.renew()
    except _Lost:
        logger.info("checks_taken_over", version_id=lease.version_id)
        return False
    return True


class Lease:
    """The right to write results of one version."""

    def __init__(self, version_id: int, stamp: datetime | None) -> None:
        self.version_id = version_id
        self.stamp = stamp

    def renew(self) -> None:
        now = timezone.now()
        held = ModelVersion.objects.filter(
            pk=self.version_id, state=ModelVersion.State.CHECKING, checks_started_at=self.stamp
        )
        if held.update(checks_started_at=now) != 1:
            raise _Lost
        self.stamp = now


def _claim(version_id: int) -> tuple[Lease, str] | None:
    """The lease, and the check at which the last worker died; None when there is nothing to do or somebody does it."""
    version = ModelVersion.objects.filter(pk=version_id, state=ModelVersion.State.CHECKING).first()
    if version is None:
        return None
    stamp = version.checks_started_at
    begun = version.checks.exclude(status=Status.WAITING).exists()
    if begun and stamp is not None and stamp > timezone.now() - LEASE:
        return None
    lease = Lease(version_id, stamp)
    try:
        lease.renew()
    except _Lost:
        return None
    died_at = version.checks.filter(status=Status.RUNNING).values_list("name", flat=True).first()
    _lay_out(version_id)
    return lease, died_at or next(iter(steps.STEPS))
