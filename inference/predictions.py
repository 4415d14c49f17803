"""The verb `predict`: may they, does it answer here, is it the right shape, compute, write down, answer."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict, Unpack

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from inference import engines, explanations, log, runners, served, throttles
from inference import ids as prediction_ids
from inference.log import LoggedCall
from inference.logged import Logged
from inference.predicted import PredictedRow, Predictions
from inference.validation import Checked
from registry import changes
from registry.changes import Known
from registry.errors import FieldError, Forbidden, Invalid, Refused, Unavailable
from registry.models import PRODUCTION, ApiKey, ModelVersion, RegisteredModel, Release

MOST_AT_ONCE = (
    500  # rows: reading, judging and writing down more of them takes longer than others should wait
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a call is answered: by which version under which release, and the rows in the order asked."""

    model: str
    version: int
    release: int
    environment: str
    at: datetime
    predictions: Predictions
    request_id: str
    latency_ms: float

    @property
    def rows(self) -> list[PredictedRow]:
        return self.predictions.rows()

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "release": self.release,
            "environment": self.environment,
            "predictions": self.predictions.to_json(),
            "request_id": self.request_id,
        }


class _Told(TypedDict):
    """What a caller says of a call, for its record."""

    actor: Any
    channel: str
    environment: str
    request_id: str


@dataclass(kw_only=True)
class _Call:
    """What is known about a call so far, for its record."""

    model: RegisteredModel
    environment: str
    actor: Any
    key: ApiKey | None
    channel: str
    request_id: str
    asked: int
    at: datetime = field(default_factory=timezone.now)
    started: float = field(default_factory=time.perf_counter)
    release: Release | None = None

    @property
    def milliseconds(self) -> float:
        return round((time.perf_counter() - self.started) * 1000, 3)

    def record(self, status: int, rows: Logged = (), code: str = "") -> float:
        latency = self.milliseconds
        call = LoggedCall(
            request_id=self.request_id,
            at=self.at,
            model_id=self.model.pk,
            version_id=self.release.version_id if self.release else None,
            release_id=self.release.pk if self.release else None,
            release_number=self.release.number if self.release else None,
            environment=self.environment,
            channel=self.channel,
            user_id=self.actor.pk,
            user_name=str(self.actor),
            key_id=self.key.pk if self.key else None,
            key_name=str(self.key) if self.key else "",
            status=status,
            code=code,
            latency_ms=latency,
            asked=self.asked,
            rows=rows,
        )
        log.record(call)
        return latency


def predict(
    model: RegisteredModel,
    rows: Sequence[Any],
    *,
    actor: Any,
    channel: str,
    environment: str = PRODUCTION,
    version_number: int | None = None,
    request_id: str = "",
    key: ApiKey | None = None,
    as_text: bool = False,
    ids: Sequence[str] = (),
    explain: bool = False,
    known: Known | None = None,
) -> Answer:
    """Answer every row or none, and write it down before the answer leaves.

    Refuses who may not (403), a key over its rate (429), what nothing may
    answer (503, 409), rows that do not fit the schema (422, one entry
    per field), a model that fails or is too slow (503, 504), and an answer that cannot be recorded (503).
    `as_text`: the values come from a form. `explain`: with the reasons of each answer; where there are none, a warning.
    `ids`: the ids to answer under, so that a form sent twice is one answer.
    `known`: what the process knows, for who has asked it already.
    """
    known = known or changes.known()
    call = _Call(
        model=model,
        environment=environment,
        actor=actor,
        key=key,
        channel=channel,
        request_id=request_id,
        asked=len(rows),
    )
    try:
        _require_may(actor, model, known)
        throttles.require_within(key)
        return _answer(call, rows, version_number, known=known, as_text=as_text, ids=ids, explain=explain)
    except Refused as error:
        if error.code != "log_unavailable":
            with suppress(Unavailable):  # the call is refused as it is; only its line is lost
                call.record(error.status, code=error.code)
        raise


def predict_at_once(
    model: RegisteredModel,
    rows: Sequence[Any],
    *,
    key: ApiKey,
    version_number: int | None,
    known: Known,
    **told: Unpack[_Told],
) -> Answer | None:
    """What `predict` would answer, from memory and arithmetic alone, for a thread that must never wait.

    None, and nothing done or written down, where anything has to be waited for, and for whatever would be refused.
    `known` is what `changes.remembered` gave.
    """
    if key.rate is not None or settings.MODELGATE_LOG_FSYNC or len(rows) > MOST_AT_ONCE:
        return None
    call = _Call(model=model, key=key, asked=len(rows), **told)
    try:
        _require_may(call.actor, model, known)
        return _answer(call, rows, version_number, known=known, compute=engines.predict_at_once)
    except Exception:  # all of it is told and written down by `predict`, which asks again
        return None


def _require_may(actor: Any, model: RegisteredModel, known: Known) -> None:
    if not served.may_predict(actor, model, known):
        raise Forbidden(_("You may not predict with “%(model)s”.") % {"model": model})


def _answer(
    call: _Call,
    rows: Sequence[Any],
    version_number: int | None,
    *,
    known: Known,
    as_text: bool = False,
    ids: Sequence[str] = (),
    explain: bool = False,
    compute: Callable[[ModelVersion, Checked], runners.Answer] | None = None,
) -> Answer:
    here = served.answering(call.model, call.environment, version_number, known)
    release = call.release = here.release
    _require_count(len(rows))
    if explain:
        explanations.require_few(len(rows))
    checked = here.judge.judge(rows, as_text=as_text)
    _require_valid(checked)
    answer = (compute or engines.predict_checked)(release.version, checked)
    found = Predictions.of(here.schema, checked, answer, ids or prediction_ids.new_ids(len(rows)))
    if explain:
        found = found.explained(explanations.of(release.version, checked.rows(), answer))
    latency = call.record(200, found.to_log())
    return Answer(
        model=call.model.slug,
        version=release.version.number,
        release=release.number,
        environment=call.environment,
        at=call.at,
        predictions=found,
        request_id=call.request_id,
        latency_ms=latency,
    )


def _require_count(count: int) -> None:
    limit = settings.MODELGATE_MAX_ROWS
    if 1 <= count <= limit:
        return
    message = _("Send 1 to %(limit)d rows a call; this one has %(count)d.") % {"limit": limit, "count": count}
    fix = _("Send more rows as a batch file.") if count else _("Send at least one row.")
    error: FieldError = {
        "field": "rows",
        "code": "row_count",
        "value": count,
        "expected": f"1 … {limit}",
        "fix": fix,
    }
    raise Invalid(message, code="row_count", fix=fix, errors=[error])


def _require_valid(checked: Checked) -> None:
    if checked.is_valid:
        return
    message = ngettext("%(count)d thing to fix.", "%(count)d things to fix.", checked.error_count) % {
        "count": checked.error_count
    }
    raise Invalid(message, code="invalid_rows", errors=checked.errors)
