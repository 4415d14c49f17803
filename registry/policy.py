"""The rules of one model: read strictly, told in words, and never looked up by name anywhere else.

Plain values in, plain values out. The stored form is the JSON of `RegisteredModel.policy`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from registry import measures
from registry.errors import FieldError, Invalid

MOST_DAYS = 365
MOST_INPUT_DAYS = 3_650
MOST_GROUPS = 20
MOST_GATES = 20
MOST_SLICES = 10
LEAST_SLICE_ROWS = 2
#: Figures that mean something on a small part of the rows.
OF_SLICES = ("accuracy", "f1", "mae", "rmse")


# --- gates ---


@dataclass(frozen=True, kw_only=True)
class MetricGate:
    """A figure on the evaluation data: against a number, against what serves, or both."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    not_worse_than_serving_by: float | None = None

    @property
    def key(self) -> str:
        return self.metric

    @property
    def words(self) -> str:
        parts = []
        if self.at_least is not None:
            parts.append(_("at least %s") % _number(self.at_least))
        if self.at_most is not None:
            parts.append(_("at most %s") % _number(self.at_most))
        if self.not_worse_than_serving_by is not None:
            parts.append(
                _("not worse than what serves by more than %s") % _number(self.not_worse_than_serving_by)
            )
        return f"{measures.name_of(self.metric)} {', '.join(parts)}"


@dataclass(frozen=True, kw_only=True)
class LatencyGate:
    """How long one row may take, as the checks measured it."""

    p95_ms: float

    @property
    def key(self) -> str:
        return "p95_ms"

    @property
    def words(self) -> str:
        return _("p95 of one row at most %s ms") % _number(self.p95_ms)


@dataclass(frozen=True, kw_only=True)
class SliceGate:
    """No group of rows that is large enough may lose more than this against what serves."""

    slices: tuple[str, ...]
    metric: str
    max_loss: float
    min_rows: int = 30

    @property
    def key(self) -> str:
        return "slices"

    @property
    def words(self) -> str:
        return _("No group of %(slices)s with at least %(rows)d rows loses more than %(loss)s %(metric)s") % {
            "slices": ", ".join(self.slices),
            "rows": self.min_rows,
            "loss": _number(self.max_loss),
            "metric": measures.name_of(self.metric),
        }


Gate = MetricGate | LatencyGate | SliceGate


def _number(value: float) -> str:
    return f"{value:.6g}"


def gate_json(gate: Gate) -> dict[str, Any]:
    """As it is written in a policy: without what it does not ask."""
    plain = {name: value for name, value in asdict(gate).items() if value is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


# --- the policy ---


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What holds for one model. A name that is absent has the default that is written here."""

    owners_see_inputs: bool = False
    extra_approval_for_pickle: bool = False
    request_days: int | None = None  # None: as the installation says
    input_days: int | None = None  # None: inputs are kept
    approver_groups: tuple[str, ...] = ()  # empty: every approver
    gates: tuple[Gate, ...] = ()

    @property
    def days(self) -> int:
        return self.request_days or settings.MODELGATE_REQUEST_DAYS

    @classmethod
    def read(cls, data: object, task: str = "") -> "Policy":
        """The policy that this JSON says; Invalid (422) with every mistake, its place and its remedy."""
        return _Reader(task).policy(data)

    def to_json(self) -> dict[str, Any]:
        """Everything that is not the default."""
        said = {name: getattr(self, name) for name in NAMES if getattr(self, name) != getattr(DEFAULT, name)}
        if "approver_groups" in said:
            said["approver_groups"] = list(self.approver_groups)
        if "gates" in said:
            said["gates"] = [gate_json(gate) for gate in self.gates]
        return said

    def deciding(self) -> dict[str, Any]:
        """What a decision about a version depends on: part of what a request is bound to."""
        said = self.to_json()
        return {
            name: said[name]
            for name in ("extra_approval_for_pickle", "approver_groups", "gates")
            if name in said
        }

    @property
    def sentences(self) -> list[str]:
        """In words, for approvers and for the record."""
        said = [
            ngettext("A request ends after %d day.", "A request ends after %d days.", self.days) % self.days,
            *self._approver_sentences,
        ]
        if self.owners_see_inputs:
            said.append(_("Owners see what others asked."))
        if self.input_days:
            said.append(
                ngettext(
                    "Inputs are deleted after %d day; answers are kept.",
                    "Inputs are deleted after %d days; answers are kept.",
                    self.input_days,
                )
                % self.input_days
            )
        return [*said, *self._gate_sentences]

    @property
    def deciding_sentences(self) -> list[str]:
        """Of `deciding()`, in words."""
        return [*self._approver_sentences, *self._gate_sentences]

    @property
    def _approver_sentences(self) -> list[str]:
        said = []
        if self.approver_groups:
            said.append(_("Approvers of these teams decide: %s.") % ", ".join(self.approver_groups))
        if self.extra_approval_for_pickle:
            said.append(_("Pickle and joblib files need one approval more."))
        return said

    @property
    def _gate_sentences(self) -> list[str]:
        return [f"{gate.words}." for gate in self.gates]


DEFAULT = Policy()
NAMES = tuple(each.name for each in fields(Policy))


def differences(before: Policy, after: Policy) -> list[str]:
    """What changed, one sentence a line: what holds no more, then what is new."""
    old, new = before.sentences, after.sentences
    gone = [_("No more: %s") % rule for rule in old if rule not in new]
    return gone + [_("New: %s") % rule for rule in new if rule not in old]


# --- reading JSON ---


class _Reader:
    """Collects every mistake before it refuses."""

    def __init__(self, task: str) -> None:
        self.metrics = measures.MEASURED.get(task) or tuple(
            name for names in measures.MEASURED.values() for name in names
        )
        self.errors: list[FieldError] = []
        self.readers: dict[str, Callable[[str, Any], Any]] = {
            "owners_see_inputs": self._flag,
            "extra_approval_for_pickle": self._flag,
            "request_days": self._days,
            "input_days": self._input_days,
            "approver_groups": self._groups,
            "gates": self._gates,
        }

    def policy(self, data: object) -> Policy:
        if not isinstance(data, dict):
            self._fail("policy", "wrong_type", _("an object of settings"), _("Write it as {…}."))
            data = {}
        values: dict[str, Any] = {}
        for name, value in data.items():
            place = f"policy.{name}"[:100]
            if name in self.readers:
                values[name] = self.readers[name](place, value)
            else:
                self._fail(place, "unknown_field", ", ".join(NAMES), _("Remove it."))
        if self.errors:
            names = ", ".join(error["field"] for error in self.errors)
            raise Invalid(
                _("These settings are not right: %(names)s.") % {"names": names},
                code="bad_policy",
                errors=self.errors,
            )
        return Policy(**values)

    def _fail(self, place: str, code: str, expected: str, fix: str) -> None:
        self.errors.append({"field": place, "code": code, "expected": expected, "fix": fix})

    def _flag(self, place: str, value: Any) -> bool:
        if type(value) is not bool:
            self._fail(place, "wrong_type", "true, false", _("Write true or false, without quotes."))
        return value is True

    def _days(self, place: str, value: Any) -> int | None:
        return None if value is None else self._whole(place, value, 1, MOST_DAYS)

    def _input_days(self, place: str, value: Any) -> int | None:
        return None if value is None else self._whole(place, value, 1, MOST_INPUT_DAYS)

    def _whole(self, place: str, value: Any, least: int, most: int) -> int:
        if type(value) is not int or not least <= value <= most:
            self._fail(place, "out_of_range", f"{least} … {most}", _("Write a whole number."))
            return least
        return value

    def _texts(self, place: str, value: Any, most: int) -> tuple[str, ...]:
        is_list = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
        texts = tuple(dict.fromkeys(each.strip() for each in value if each.strip())) if is_list else ()
        if not is_list or len(texts) > most:
            expected = _("a list of at most %d names") % most
            self._fail(place, "wrong_type", expected, _('Write it as ["…", "…"].'))
        return texts

    def _groups(self, place: str, value: Any) -> tuple[str, ...]:
        return tuple(sorted(self._texts(place, value, MOST_GROUPS)))

    def _gates(self, place: str, value: Any) -> tuple[Gate, ...]:
        if not isinstance(value, list) or len(value) > MOST_GATES:
            self._fail(place, "wrong_type", _("a list of gates"), _("Write it as [{…}, {…}]."))
            return ()
        gates: list[Gate] = []
        for position, item in enumerate(value):
            gate = self._gate(f"{place}[{position}]", item)
            if gate is not None and any(gate.key == other.key for other in gates):
                self._fail(
                    f"{place}[{position}]", "duplicate", _("one gate of each kind"), _("Join the two.")
                )
            elif gate is not None:
                gates.append(gate)
        return tuple(gates)

    def _gate(self, place: str, item: Any) -> Gate | None:
        kinds: dict[str, tuple[Callable[[str, Mapping[str, Any]], Gate | None], set[str]]] = {
            "slices": (self._slice_gate, {"slices", "metric", "min_rows", "max_loss"}),
            "p95_ms": (self._latency_gate, {"p95_ms"}),
            "metric": (self._metric_gate, {"metric", "at_least", "at_most", "not_worse_than_serving_by"}),
        }
        kind = next((name for name in kinds if isinstance(item, dict) and name in item), "")
        if not kind:
            self._fail(place, "unknown_gate", ", ".join(kinds), _("Write one of the kinds of gates."))
            return None
        read, allowed = kinds[kind]
        unknown = sorted(set(item) - allowed)
        for name in unknown:
            self._fail(f"{place}.{name}"[:100], "unknown_field", ", ".join(sorted(allowed)), _("Remove it."))
        return None if unknown else read(place, item)

    def _metric_gate(self, place: str, item: Mapping[str, Any]) -> MetricGate | None:
        metric = self._metric(place, item.get("metric"), self.metrics)
        wrong = "at_least" if measures.is_less_better(metric) else "at_most"
        right = "at_most" if wrong == "at_least" else "at_least"
        if metric and item.get(wrong) is not None:
            fix = _("%(metric)s is better the other way: write %(right)s.") % {
                "metric": metric,
                "right": right,
            }
            self._fail(f"{place}.{wrong}", "wrong_direction", right, fix)
        bounds = {name: self._bound(place, item, name) for name in ("at_least", "at_most")}
        loss = self._bound(place, item, "not_worse_than_serving_by", least=0)
        if not any(item.get(name) is not None for name in (*bounds, "not_worse_than_serving_by")):
            expected = f"{right}, not_worse_than_serving_by"
            self._fail(place, "missing", expected, _("Say what this figure must be."))
            return None
        return MetricGate(metric=metric, **bounds, not_worse_than_serving_by=loss)

    def _latency_gate(self, place: str, item: Mapping[str, Any]) -> LatencyGate | None:
        bound = self._bound(place, item, "p95_ms", least=0.1, required=True)
        return None if bound is None else LatencyGate(p95_ms=bound)

    def _slice_gate(self, place: str, item: Mapping[str, Any]) -> SliceGate | None:
        columns = self._texts(f"{place}.slices", item.get("slices"), MOST_SLICES)
        if not columns:
            self._fail(f"{place}.slices", "missing", _("names of columns"), _("Name at least one column."))
        metric = self._metric(place, item.get("metric"), [m for m in OF_SLICES if m in self.metrics])
        loss = self._bound(place, item, "max_loss", least=0, required=True)
        rows = self._whole(f"{place}.min_rows", item.get("min_rows", 30), LEAST_SLICE_ROWS, 1_000_000)
        return (
            None if loss is None else SliceGate(slices=columns, metric=metric, max_loss=loss, min_rows=rows)
        )

    def _metric(self, place: str, value: Any, allowed: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            self._fail(f"{place}.metric", "not_in_list", ", ".join(allowed), _("Choose one of these."))
            return ""
        return value

    def _bound(
        self,
        place: str,
        item: Mapping[str, Any],
        name: str,
        *,
        least: float = -math.inf,
        required: bool = False,
    ) -> float | None:
        value = item.get(name)
        if value is None and not required:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= 1e12 or value < -1e12:  # type: ignore[operator]
            expected = _("a number") if least == -math.inf else _("a number of at least %s") % _number(least)
            self._fail(f"{place}.{name}", "not_a_number", expected, _("Write a number without quotes."))
            return None
        return float(value)  # type: ignore[arg-type]
