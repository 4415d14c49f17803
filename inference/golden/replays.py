"""The golden rows asked again: before a version is let through, and whenever what answers here has changed.

A verdict holds for one fingerprint of the environment. Who clicks finds it ready; only where there is none are the
rows asked then, with a short deadline. A version whose answers moved is quarantined before anybody is told.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa
import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from inference import compiled, dispatch, engines, runners
from inference.golden import fingerprints, sets
from inference.models import GoldenSet, Replay, stored_form
from inference.runners import Answer, ModelError
from registry import gate
from registry.actions.quarantine import quarantine
from registry.errors import Refused, Unavailable
from registry.models import ModelVersion, RegisteredModel, Release

logger = structlog.get_logger(__name__)

TASK = "inference.golden.tasks.replay_version"
CLICK_SECONDS = 1.5
TASK_SECONDS = 60.0
PER_TICK = 20

#: The model itself cannot give the answers any more. Every other error is a service that is away, or busy.
BROKEN = frozenset({"failed", "not_servable", "model_failed"})


class AnswersMoved(Refused):
    """A version gives other answers than when it was checked."""

    default_code = "answers_moved"


def require_unmoved(version_id: int, seconds: float = CLICK_SECONDS) -> None:
    """Refuse unless the version is known to give its golden answers here, or gives them now.

    A version without golden rows (it was checked before there were any) passes: there is nothing to hold it to yet.
    Refused too where nothing is known about today's environment and the model cannot be asked.
    """
    version = ModelVersion.objects.select_related("model").get(pk=version_id)
    golden = GoldenSet.objects.filter(version=version).first()
    if golden is not None:
        _require(version, known_or_replayed(golden, version, seconds))


def gate_proven(model: RegisteredModel, environment: str, version_number: int | None = None) -> Release:
    """The gate, and behind it a version that is proven to answer here as it did when it was approved.

    The first call after the environment changed waits for the replay; where the answers moved, the version is
    quarantined, and the gate's own refusal is what the caller hears.
    """
    release = gate.answering_release(model, environment, version_number)
    try:
        require_unmoved(release.version_id, TASK_SECONDS)
    except AnswersMoved:
        return gate.answering_release(model, environment, version_number)
    return release


def replay(version_id: int) -> None:
    """Refuse unless the version gives its golden answers now, whatever was known before."""
    version = ModelVersion.objects.select_related("model").get(pk=version_id)
    golden = GoldenSet.objects.filter(version=version).first()
    if golden is None:
        raise Refused(
            _("%(version)s has no golden rows, so nothing can prove that it answers as before.")
            % {"version": version},
            code="no_golden_rows",
            fix=_("Retire it, and upload its file again."),
        )
    _require(version, _ask(golden, version, TASK_SECONDS))


def known_or_replayed(golden: GoldenSet, version: ModelVersion, seconds: float = TASK_SECONDS) -> Replay:
    """The verdict for today's environment; Unavailable where there is none and the model cannot be asked."""
    return known(golden, version) or _ask(golden, version, seconds)


def known(golden: GoldenSet, version: ModelVersion) -> Replay | None:
    return golden.replays.filter(fingerprint=fingerprints.fingerprint(version)).first()


def prepare(version: ModelVersion) -> None:
    """Somebody looks at a page from which this version may be let through: have the verdict ready for the click."""
    golden = GoldenSet.objects.filter(version=version).first()
    if golden is not None and known(golden, version) is None:
        dispatch.enqueue(TASK, version.pk)


def prepare_checked(version_id: int, passed: bool = True, **_signal: Any) -> None:
    """A version has just passed its checks: approvers may look at it soon."""
    if passed:
        prepare(ModelVersion.objects.get(pk=version_id))


def sweep() -> int:
    """After the environment has changed, hand on every version that was ever released; else nothing. Returns how many.

    Those that answer now come first. The verdicts themselves say that it has changed: there are none for it.
    """
    released = GoldenSet.objects.filter(
        version__state=ModelVersion.State.CHECKED, version__releases__isnull=False
    )
    answering = set(Release.objects.answering().values_list("version_id", flat=True))
    due = [
        golden.version_id
        for golden in released.select_related("version").distinct()
        if known(golden, golden.version) is None
    ]
    due.sort(key=lambda version_id: version_id not in answering)
    for version_id in due[:PER_TICK]:
        dispatch.enqueue(TASK, version_id)
    return len(due)


def record_agreement(golden: GoldenSet, version: ModelVersion) -> None:
    """The answers have just been frozen: in this environment they are the runner's answers."""
    if stored_form(version) is not None:
        return  # its form has to give them too
    Replay.objects.create(
        golden=golden,
        fingerprint=fingerprints.fingerprint(version),
        environment=fingerprints.environment(version),
        agreed=True,
    )


def _require(version: ModelVersion, verdict: Replay) -> None:
    if not verdict.agreed:
        raise AnswersMoved(
            verdict.detail, fix=_("Roll back to another version, or train it again with what runs here.")
        )


def _ask(golden: GoldenSet, version: ModelVersion, seconds: float) -> Replay:
    frozen, started = sets.read(golden), time.perf_counter()
    try:
        answers = _answers(version, frozen.inputs, seconds)
    except ModelError as error:
        if error.code not in BROKEN:
            raise _unknown(version, error) from error
        moved, why = list(range(golden.rows)), f"{error} {error.detail[:300]}".strip()
    else:
        moved, why = sorted({row for each in answers for row in sets.moved(golden, frozen, each)}), ""
    return _record(golden, version, moved, why, time.perf_counter() - started)


def _answers(version: ModelVersion, inputs: pa.Table, seconds: float) -> list[Answer]:
    """From everything that may answer for this version: its compiled form needs no model service."""
    form, stored = compiled.form_of(version), stored_form(version)
    found = []
    if version.engine not in compiled.ENGINES or (stored is not None and stored.runner_from is not None):
        found.append(_runners_answer(version, inputs, seconds))  # first: it says at once when nobody is there
    estimate = partial(runners.predict_encoded, version, deadline=seconds)
    by_form = engines.by_form(form, inputs, estimate)
    if by_form is not None:
        found.append(by_form)
    return found or [_runners_answer(version, inputs, seconds)]


def _runners_answer(version: ModelVersion, inputs: pa.Table, seconds: float) -> Answer:
    runners.client().status()  # says at once that the service is away, where loading would wait for it
    told = runners.describe(version).versions
    answer = runners.predict(version, inputs, seconds)
    _require_same_packages(told)
    return answer


def _require_same_packages(told: Mapping[str, str]) -> None:
    names = fingerprints.strangers(told)
    if names:
        raise Unavailable(
            _("The model service still runs other versions than are installed of: %(names)s.")
            % {"names": ", ".join(names)},
            code="model_service_outdated",
            fix=_("Restart the model service, then try again."),
        )


def _unknown(version: ModelVersion, error: ModelError) -> Unavailable:
    return Unavailable(
        _(
            "Whether %(version)s still gives its old answers is not known here, and it cannot be asked: %(why)s"
        )
        % {"version": version, "why": error},
        code="answers_unknown",
        fix=error.fix or _("Try again when the model service answers."),
    )


@transaction.atomic
def _record(golden: GoldenSet, version: ModelVersion, moved: list[int], why: str, seconds: float) -> Replay:
    environment = fingerprints.environment(version)
    detail = _sentence(golden, version, moved, why, environment) if moved else ""
    verdict = Replay.objects.create(
        golden=golden,
        fingerprint=fingerprints.fingerprint(version),
        environment=environment,
        agreed=not moved,
        moved=len(moved),
        detail=detail,
        seconds=seconds,
    )
    if moved and quarantine(version, reason=detail):
        logger.error("answers_moved", version=str(version), rows=moved[:20])
    return verdict


def _sentence(
    golden: GoldenSet, version: ModelVersion, moved: list[int], why: str, environment: Mapping[str, str]
) -> str:
    if why:
        said = _("%(version)s cannot answer its golden rows any more: %(why)s") % {
            "version": version,
            "why": why,
        }
    else:
        said = _(
            "%(moved)d of %(rows)d golden rows of %(version)s get another answer than when it was checked."
        )
        said %= {"moved": len(moved), "rows": golden.rows, "version": version}
    changed = _changed(golden, environment)
    since = _("Since it last agreed, this changed: %(changes)s.") % {"changes": changed} if changed else ""
    return f"{said} {since}".strip()


def _changed(golden: GoldenSet, environment: Mapping[str, str]) -> str:
    """What is different from the environment in which the answers agreed last, as “numpy 2.3.1 → 2.4.0”."""
    last = golden.replays.filter(agreed=True).first()
    before = last.environment if last else {}
    named = {name for name in {*before, *environment} if before.get(name) != environment.get(name)}
    hashes = {"runner", "form"}
    parts = [
        f"{name} {before.get(name, '–')} → {environment.get(name, '–')}" for name in sorted(named - hashes)
    ]
    if named & hashes:
        parts.append(_("the portal's own code"))
    return ", ".join(parts) if before else ""
