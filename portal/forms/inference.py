"""Forms about predictions: one is generated from a version's schema, one records what came true.

The predict form only collects text: what is right is decided by the verb, so page, API and file use the same words.
"""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.core import signing
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from inference import ids
from inference.feedback import read_actual
from inference.models import ProblemReport
from inference.reports import LONGEST
from inference.validation import MAX_TEXT, expectation, show_number
from registry.errors import Refused
from registry.models import Release
from registry.schema import Field, Schema, Target

FEW = 6  # so many choices are shown at once, more are a list
LONG = 1_000  # a list longer than this is typed, not scrolled

_tokens = signing.Signer(salt="modelgate.predict")


class NumberInput(forms.TextInput):
    """A number as people type it, with its unit beside it. No browser touches the decimal point."""

    template_name = "inference/widgets/number.html"

    def __init__(self, unit: str = "") -> None:
        super().__init__({"inputmode": "decimal", "autocomplete": "off"})
        self.unit = unit

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, value, attrs) | {"unit": self.unit}


class SuggestInput(forms.TextInput):
    """A text with suggestions, for a category of more values than anybody scrolls through."""

    template_name = "inference/widgets/suggest.html"

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__({"autocomplete": "off"})
        self.names = names

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        list_id = f"{context['widget']['attrs'].get('id', name)}_list"
        context["widget"]["attrs"]["list"] = list_id
        return context | {"list_id": list_id, "names": self.names}


class PredictForm(forms.Form):
    """One field for each input of the schema, in its order. `token` makes a form that is sent twice one prediction."""

    token = forms.CharField(widget=forms.HiddenInput, required=False)
    previous = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(
        self, schema: Schema, user_id: int, data: Any = None, inputs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(data, initial=self._initial(schema, inputs or {}))
        self.schema = schema
        self.user_id = user_id
        self.keys = {each.name: f"in{position}" for position, each in enumerate(schema.fields)}
        for each in schema.fields:
            self.fields[self.keys[each.name]] = _form_field(each)

    @staticmethod
    def _initial(schema: Schema, inputs: Mapping[str, Any]) -> dict[str, str]:
        return {
            f"in{position}": as_typed(inputs.get(each.name)) for position, each in enumerate(schema.fields)
        }

    def inputs(self) -> dict[str, str]:
        """What was typed, by the schema's names."""
        return {name: self.data.get(key, "") for name, key in self.keys.items()}

    def show(self, error: Refused) -> None:
        """Each problem at its field, in the words that the API has for it.

        What an empty field expects is not said again: its choices or its hint tell it.
        """
        for each in error.errors:
            key = self.keys.get(str(each["field"]))
            is_told = key is not None and each.get("code") == "missing"
            expected = "" if is_told else _sentence(each.get("expected", ""))
            text = " ".join(part for part in (expected, str(each.get("fix", ""))) if part)
            self.add_error(key, text if key else f"{each['field']}: {text}")
        if not error.errors:
            self.add_error(None, " ".join(part for part in (str(error), error.fix) if part))

    def prediction_id(self, release: Release) -> str:
        """The id of the answer to these values: the same when the same page sends them again, else another one."""
        try:
            user_id, _colon, seed = _tokens.unsign(self.data.get("token", "")).partition(":")
        except signing.BadSignature:
            return ids.new_ids(1)[0]
        if user_id != str(self.user_id):
            return ids.new_ids(1)[0]
        return ids.derived_id(seed, str(release.pk), *self.inputs().values())


def new_token(user_id: int) -> str:
    return _tokens.sign(f"{user_id}:{ids.new_ids(1)[0]}")


def as_typed(value: Any) -> str:
    """A value as somebody would type it into its field."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return show_number(value) if isinstance(value, int) else str(value)


def _sentence(expected: str) -> str:
    return _("Expected: %(what)s.") % {"what": expected} if expected else ""


def _form_field(each: Field) -> forms.Field:
    common: dict[str, Any] = {"label": each.label_text, "help_text": _help(each), "required": each.required}
    if each.is_numeric:
        field: forms.Field = forms.CharField(widget=NumberInput(each.unit), **common)
    elif each.type == "boolean":
        choices = _choices(each, [("yes", _("Yes")), ("no", _("No"))])
        field = forms.ChoiceField(choices=choices, widget=forms.RadioSelect, **common)
    elif each.type == "category":
        field = _category_field(each, common)
    else:
        field = forms.CharField(widget=forms.Textarea({"rows": 3, "maxlength": MAX_TEXT}), **common)
    # The verb judges, and the typed value must stay: nothing is dropped or coerced here.
    field.clean = lambda value: value  # type: ignore[method-assign]
    return field


def _category_field(each: Field, common: dict[str, Any]) -> forms.Field:
    if len(each.categories) > LONG:
        return forms.CharField(widget=SuggestInput(each.categories), **common)
    choices = _choices(each, [(name, name) for name in each.categories])
    if len(each.categories) <= FEW:
        return forms.ChoiceField(choices=choices, widget=forms.RadioSelect, **common)
    first = "" if not each.required else _("Choose…")
    return forms.ChoiceField(choices=[("", first), *[choice for choice in choices if choice[0]]], **common)


def _choices(each: Field, choices: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return choices if each.required else [*choices, ("", _("Not known"))]


def _help(each: Field) -> str:
    """The schema's own words, then what is allowed, then what the model knows."""
    parts = [each.help_text]
    low, high = each.training.min, each.training.max
    if each.min is not None or each.max is not None:
        wanted = expectation(each)
        parts.append(wanted[:1].upper() + wanted[1:] + ".")
    elif each.is_numeric and low is not None and high is not None:
        known = {"low": show_number(low), "high": show_number(high)}
        parts.append(_("Trained on %(low)s to %(high)s.") % known)
    return " ".join(part for part in parts if part)


class ReportForm(forms.Form):
    """What is wrong with an answer."""

    reason = forms.ChoiceField(
        label=lazy("What is wrong with it?"), choices=ProblemReport.Reason.choices, widget=forms.RadioSelect
    )
    text = forms.CharField(
        label=lazy("In your words"),
        required=False,
        max_length=LONGEST,
        widget=forms.Textarea({"rows": 3, "maxlength": LONGEST}),
    )


class OutcomeForm(forms.Form):
    """What came true: one of the model's classes, or a number."""

    actual = forms.CharField()

    def __init__(self, target: Target, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.target = target
        if target.classes:
            choices = [(str(each), target.word(each)) for each in target.classes]
            self.fields["actual"] = forms.ChoiceField(
                label=_("What came true?"),
                choices=choices,
                widget=forms.RadioSelect if len(choices) <= FEW else forms.Select,
            )
        else:
            self.fields["actual"] = forms.CharField(
                label=_("What came true?"), widget=NumberInput(target.unit), max_length=40
            )

    def clean_actual(self) -> Any:
        actual = read_actual(self.target, self.cleaned_data["actual"], as_text=True)
        if actual is None:
            raise forms.ValidationError(_("Enter a number, with “.” as the decimal point."))
        return actual
