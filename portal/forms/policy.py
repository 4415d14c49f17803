"""A model's policy as a form: one line for each figure, and back into the JSON that the verb reads."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from registry import measures
from registry.models import RegisteredModel
from registry.policy import (
    MOST_DAYS,
    MOST_INPUT_DAYS,
    OF_SLICES,
    LatencyGate,
    MetricGate,
    Policy,
    SliceGate,
    gate_json,
)


class PolicyForm(forms.Form):
    approver_groups = forms.ModelMultipleChoiceField(
        label=lazy("Who approves"),
        queryset=Group.objects.order_by("name"),
        to_field_name="name",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=lazy("Approvers of these teams decide about this model. None chosen: every approver."),
    )
    request_days = forms.IntegerField(
        label=lazy("Days until a request ends"),
        min_value=1,
        max_value=MOST_DAYS,
        required=False,
        help_text=lazy("Empty: as the installation says."),
    )
    extra_approval_for_pickle = forms.BooleanField(
        label=lazy("One approval more for pickle and joblib files"),
        required=False,
        help_text=lazy("Such a file is a program."),
    )
    owners_see_inputs = forms.BooleanField(
        label=lazy("Owners see what others asked"),
        required=False,
        help_text=lazy("Each look is in the audit log."),
    )
    input_days = forms.IntegerField(
        label=lazy("Days that inputs are kept"),
        min_value=1,
        max_value=MOST_INPUT_DAYS,
        required=False,
        help_text=lazy("Older inputs are deleted; answers, outcomes and counts stay. Empty: kept."),
    )
    p95_ms = forms.FloatField(
        label=lazy("p95 of one row at most, in ms"), required=False, min_value=0.1, help_text=""
    )
    slices = forms.CharField(
        label=lazy("Columns whose groups are looked at"),
        required=False,
        max_length=1000,
        help_text=lazy("Names, separated by commas: sex, age_band."),
    )
    slice_metric = forms.ChoiceField(label=lazy("Figure"), required=False)
    max_loss = forms.FloatField(label=lazy("Loses at most"), required=False, min_value=0)
    min_rows = forms.IntegerField(label=lazy("In groups of at least … rows"), required=False, min_value=2)

    def __init__(self, *args: Any, model: RegisteredModel, **kwargs: Any) -> None:
        self.metrics = measures.MEASURED[model.task]
        kwargs.setdefault("initial", initial_of(model.rules))
        super().__init__(*args, **kwargs)
        if not Group.objects.exists():
            del self.fields["approver_groups"]
        names = [(name, measures.name_of(name)) for name in OF_SLICES if name in self.metrics]
        self.fields["slice_metric"].choices = names  # type: ignore[attr-defined]
        for metric in self.metrics:
            word = measures.name_of(metric)
            self.fields[f"{metric}_bound"] = _number(f"{word}: {bound_word(metric)}")
            self.fields[f"{metric}_loss"] = _number(_("%s: worse than serving by at most") % word, least=0)

    @property
    def lines(self) -> list[tuple[str, str, forms.BoundField, forms.BoundField]]:
        """Figure, which way it is bound, and its two fields."""
        return [
            (measures.name_of(name), bound_word(name), self[f"{name}_bound"], self[f"{name}_loss"])
            for name in self.metrics
        ]

    @property
    def plain_fields(self) -> list[forms.BoundField]:
        names = (
            "approver_groups",
            "request_days",
            "extra_approval_for_pickle",
            "owners_see_inputs",
            "input_days",
        )
        return [self[name] for name in names if name in self.fields]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("slices") and data.get("max_loss") is None:
            self.add_error("max_loss", _("Say how much a group may lose: 0.03."))
        if data.get("max_loss") is not None and not data.get("slices"):
            self.add_error("slices", _("Name the columns whose groups are looked at."))
        return data

    @property
    def policy(self) -> dict[str, Any]:
        """What the form says, as the verb reads it."""
        data = self.cleaned_data
        return {
            "approver_groups": [group.name for group in data.get("approver_groups", ())],
            "request_days": data["request_days"],
            "extra_approval_for_pickle": data["extra_approval_for_pickle"],
            "owners_see_inputs": data["owners_see_inputs"],
            "input_days": data["input_days"],
            "gates": list(self._gates(data)),
        }

    def _gates(self, data: dict[str, Any]) -> Iterable[dict[str, Any]]:
        for metric in self.metrics:
            bound, loss = data[f"{metric}_bound"], data[f"{metric}_loss"]
            side = "at_most" if measures.is_less_better(metric) else "at_least"
            if bound is not None or loss is not None:
                yield {"metric": metric, side: bound, "not_worse_than_serving_by": loss}
        if data["p95_ms"] is not None:
            yield {"p95_ms": data["p95_ms"]}
        if data["slices"]:
            yield {
                "slices": [name.strip() for name in data["slices"].split(",") if name.strip()],
                "metric": data["slice_metric"],
                "max_loss": data["max_loss"],
                "min_rows": data["min_rows"] or 30,
            }


def bound_word(metric: str) -> str:
    return _("at most") if measures.is_less_better(metric) else _("at least")


def _number(label: str, least: float | None = None) -> forms.FloatField:
    """A cell of the table of figures: its column says what it is, its label says it to those who do not see that."""
    widget = forms.NumberInput(attrs={"aria-label": label, "step": "any", "inputmode": "decimal"})
    return forms.FloatField(label=label, required=False, min_value=least, widget=widget)


def initial_of(policy: Policy) -> dict[str, Any]:
    initial: dict[str, Any] = {
        "approver_groups": list(policy.approver_groups),
        "request_days": policy.request_days,
        "extra_approval_for_pickle": policy.extra_approval_for_pickle,
        "owners_see_inputs": policy.owners_see_inputs,
        "input_days": policy.input_days,
        "min_rows": 30,
    }
    for gate in policy.gates:
        if isinstance(gate, MetricGate):
            bound = gate.at_most if measures.is_less_better(gate.metric) else gate.at_least
            initial |= {f"{gate.metric}_bound": bound, f"{gate.metric}_loss": gate.not_worse_than_serving_by}
        elif isinstance(gate, LatencyGate):
            initial |= gate_json(gate)
        elif isinstance(gate, SliceGate):
            initial |= {
                "slices": ", ".join(gate.slices),
                "slice_metric": gate.metric,
                "max_loss": gate.max_loss,
                "min_rows": gate.min_rows,
            }
    return initial
