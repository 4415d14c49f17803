"""An answer in the business's words: what a page says about one prediction. No queries in here."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from inference.explanations import NOT_EXPLAINED
from inference.ports import Label, PredictionRecord
from inference.predictions import Answer
from inference.validation import show_number
from registry.schema import Field, Schema, Target

MOST_BARS = 12
MOST_REASONS = 5


@dataclass(frozen=True)
class Bar:
    """The chance of one class."""

    word: str
    share: float
    is_answer: bool

    @property
    def told(self) -> str:
        return show_share(self.share)


@dataclass(frozen=True)
class InputLine:
    """One input as it was used, and as it was before when it is compared."""

    label: str
    value: str
    name: str = ""
    unit: str = ""
    before: str | None = None


@dataclass(frozen=True)
class ReasonLine:
    """What one input did to the answer, as a sentence; `strength` is its share of the strongest one."""

    text: str
    raised: bool
    strength: float


@dataclass(frozen=True)
class Shown:
    """One prediction, ready to be read."""

    id: str
    sentence: str
    chance: str
    bars: tuple[Bar, ...]
    inputs: tuple[InputLine, ...]
    warnings: tuple[str, ...]
    reasons: tuple[ReasonLine, ...]
    unexplained: str  # why there are no reasons, where they were asked for
    version: int
    at: datetime
    environment: str
    request_id: str
    latency_ms: float | None


def show_record(record: PredictionRecord, schema: Schema, version: int) -> Shown:
    return Shown(
        id=record.public_id,
        sentence=sentence(schema.target, record.label, record.value),
        chance=chance(schema.target, record.label, record.probabilities),
        bars=bars(schema.target, record.label, record.probabilities),
        inputs=input_lines(schema, record.inputs),
        warnings=tuple(_warnings(record.warnings)),
        reasons=reasons(schema, record.label, record.why),
        unexplained=_unexplained(record.warnings),
        version=version,
        at=record.at,
        environment=record.environment,
        request_id=record.request_id,
        latency_ms=record.latency_ms,
    )


def show_answer(answer: Answer, schema: Schema) -> Shown:
    """The first row of an answer, which is all that a form asks."""
    [row] = answer.rows
    warnings = [warning.to_json() for warning in row.warnings]
    return Shown(
        id=row.id,
        sentence=sentence(schema.target, row.label, row.value),
        chance=chance(schema.target, row.label, row.probabilities),
        bars=bars(schema.target, row.label, row.probabilities),
        inputs=input_lines(schema, row.inputs),
        warnings=tuple(_warnings(warnings)),
        reasons=reasons(schema, row.label, row.why.to_json() if row.why else None),
        unexplained=_unexplained(warnings),
        version=answer.version,
        at=answer.at,
        environment=answer.environment,
        request_id=answer.request_id,
        latency_ms=answer.latency_ms,
    )


def _warnings(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(each.get("detail", "")) for each in found if each.get("code") != NOT_EXPLAINED]


def _unexplained(found: Sequence[Mapping[str, Any]]) -> str:
    return next((str(each["detail"]) for each in found if each.get("code") == NOT_EXPLAINED), "")


def reasons(schema: Schema, label: Label | None, why: Mapping[str, Any] | None) -> tuple[ReasonLine, ...]:
    """The inputs that moved the answer most, in words; those that did nothing are not told."""
    found = [each for each in why["reasons"] if each["contribution"]][:MOST_REASONS] if why else []
    fields = {each.name: each for each in schema.fields}
    told = schema.target.positive if schema.target.positive is not None else label
    word = "" if told is None else schema.target.word(told)
    strongest = max((abs(each["contribution"]) for each in found), default=1.0)
    return tuple(
        ReasonLine(
            text=_reason(fields[each["field"]], each, word, schema.target.unit if why else ""),
            raised=each["contribution"] > 0,
            strength=abs(each["contribution"]) / strongest,
        )
        for each in found
    )


def _reason(field: Field, reason: Mapping[str, Any], word: str, unit: str) -> str:
    value = _("nothing given") if reason["value"] is None else show_input(field, reason["value"])
    said = {
        "field": field.label_text,
        "value": f"{value} {field.unit}".strip() if reason["value"] is not None else value,
        "word": word,
        "amount": f"{show_number(_readable(abs(reason['contribution'])))} {unit}".strip(),
    }
    raised = reason["contribution"] > 0
    if not word:
        return (
            _("%(field)s (%(value)s) raised the answer by %(amount)s")
            if raised
            else _("%(field)s (%(value)s) lowered the answer by %(amount)s")
        ) % said
    return (
        _("%(field)s (%(value)s) raised the chance of “%(word)s”")
        if raised
        else _("%(field)s (%(value)s) lowered the chance of “%(word)s”")
    ) % said


def sentence(target: Target, label: Label | None, value: float | None) -> str:
    """The answer itself: the business's word for the class, or the number with its unit."""
    if label is not None:
        return target.word(label)
    return f"{show_number(_readable(value))} {target.unit}".strip() if value is not None else "–"


def _readable(value: float) -> float:
    """Four significant figures; the exact number is in the API's answer and in files."""
    return float(f"{value:.4g}") if abs(value) < 10_000 else float(round(value))


def chance(target: Target, label: Label | None, probabilities: Mapping[str, float] | None) -> str:
    """“62.1 % chance: In work”: of the positive class where there is one, else of the answer."""
    if label is None or not probabilities:
        return ""
    told = target.positive if target.positive is not None else label
    share = probabilities.get(str(told))
    if share is None:
        return ""
    return _("%(share)s chance: %(word)s") % {"share": show_share(share), "word": target.word(told)}


def show_share(share: float) -> str:
    """A chance in percent; never a flat 0 or 100 that is none."""
    if 0 < share < 0.001:
        return "<0.1 %"
    if 0.999 < share < 1:
        return ">99.9 %"
    return f"{share * 100:.1f} %"


def bars(target: Target, label: Label | None, probabilities: Mapping[str, float] | None) -> tuple[Bar, ...]:
    """The likeliest classes first."""
    if not probabilities:
        return ()
    words = {str(each): target.word(each) for each in target.classes}
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])[:MOST_BARS]
    return tuple(Bar(words.get(name, name), share, name == str(label)) for name, share in ordered)


def input_lines(
    schema: Schema, inputs: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> tuple[InputLine, ...]:
    return tuple(
        InputLine(
            label=each.label_text,
            value=show_input(each, inputs.get(each.name)),
            name=each.name,
            unit=each.unit,
            before=None if before is None else show_input(each, before.get(each.name)),
        )
        for each in schema.fields
    )


def show_input(each: Field, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    return show_number(value) if each.is_numeric else str(value)


def curl(address: str, inputs: Mapping[str, Any]) -> str:
    """The same question from a terminal."""
    body = json.dumps({"inputs": dict(inputs)}, ensure_ascii=False)
    return (
        f"curl -sS {shlex.quote(address)} \\\n"
        '  -H "Authorization: Bearer $MODELGATE_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(body)}"
    )


def short_answer(target: Target | None, label: Label | None, value: float | None) -> str:
    """One cell of a list."""
    if target is None:
        return str(label) if label is not None else show_number(value)
    return sentence(target, label, value)
