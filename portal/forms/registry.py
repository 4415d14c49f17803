"""Forms about models, versions and releases. A form reads what a person typed; the verbs judge it."""

import json
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.forms import formset_factory
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import get_language_info
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from registry.models import Dataset, Environment, ModelVersion, RegisteredModel, Release, Risk, Task, User
from registry.schema import FIELD_TYPES


class ModelForm(forms.Form):
    """A new question that the business asks."""

    name = forms.CharField(
        label=lazy("Name"), max_length=120, help_text=lazy("As people call it: “Employment”.")
    )
    slug = forms.RegexField(
        r"^[a-z0-9]+(-[a-z0-9]+)*$",
        label=lazy("Short name"),
        max_length=60,
        help_text=lazy("Part of every address and API call, for ever: lower-case letters, digits, hyphens."),
        error_messages={"invalid": lazy("Use lower-case letters, digits and hyphens: employment-2015.")},
    )
    question = forms.CharField(
        label=lazy("Question"),
        max_length=200,
        required=False,
        help_text=lazy("What it answers, as the business asks it: “Is this person in work?”"),
    )
    description = forms.CharField(
        label=lazy("What it is for, and what not"),
        max_length=4000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    task = forms.ChoiceField(label=lazy("Kind of answer"), choices=Task.choices, widget=forms.RadioSelect)
    risk = forms.ChoiceField(
        label=lazy("Risk"),
        choices=Risk.choices,
        initial=Risk.MEDIUM,
        widget=forms.RadioSelect,
        help_text=lazy("How much harm a wrong answer does. High risk needs two approvers."),
    )
    groups = forms.ModelMultipleChoiceField(
        label=lazy("Shared with"),
        queryset=Group.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=lazy("With no team chosen, everybody who has a role may use it."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not Group.objects.exists():
            del self.fields["groups"]


class ModelChangeForm(ModelForm):
    """What an owner may change later; the short name and the kind of answer stay."""

    owners = forms.ModelMultipleChoiceField(
        label=lazy("Owners"),
        queryset=User.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text=lazy("Owners change this page and decide on thresholds."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["slug"], self.fields["task"], self.fields["risk"]
        people = User.objects.filter(is_active=True, is_service=False, grants__role="author").distinct()
        self.fields["owners"].queryset = people.order_by("email")  # type: ignore[attr-defined]


class DatasetForm(forms.Form):
    file = forms.FileField(label=lazy("File"), help_text=lazy("CSV (UTF-8) or Parquet, with a header."))
    role = forms.ChoiceField(
        label=lazy("What it is"),
        choices=[choice for choice in Dataset.Kind.choices if choice[0] != Dataset.Kind.FEEDBACK],
        widget=forms.RadioSelect,
        initial=Dataset.Kind.REFERENCE,
    )
    target = forms.CharField(
        label=lazy("Column with the answer"),
        max_length=200,
        required=False,
        help_text=lazy("Say “employed”."),
    )


class UploadForm(forms.Form):
    """A new version: the file, the data it learned from, the numbers its author claims, its card."""

    file = forms.FileField(
        label=lazy("Model file"),
        help_text=lazy(
            "A fitted scikit-learn estimator or pipeline (joblib, pickle or skops), a model in ONNX, or a folder of"
            " MLflow as zip or tar.gz."
        ),
    )
    format = forms.ChoiceField(
        label=lazy("Format"),
        required=False,
        choices=[
            ("auto", lazy("As its bytes say")),
            ("joblib", "joblib"),
            ("pickle", "pickle"),
            ("skops", "skops"),
            ("onnx", "ONNX"),
            ("mlflow", lazy("MLflow folder (zip or tar.gz)")),
        ],
        help_text=lazy("Name one, and a file that is something else is refused."),
    )
    requirements = forms.CharField(
        label=lazy("Requirements"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "code"}),
        help_text=lazy("The lines of your requirements.txt, if you have one."),
    )
    reference = forms.ModelChoiceField(
        label=lazy("Reference data"),
        queryset=Dataset.objects.none(),
        required=False,
        empty_label=lazy("None, or a new file"),
        help_text=lazy(
            "What the model learned from: the schema, the checks and drift are taken from it. Only ONNX and MLflow may"
            " do without, where they tell a schema themselves."
        ),
    )
    reference_file = forms.FileField(
        label=lazy("… or a new file"), required=False, help_text=lazy("CSV or Parquet.")
    )
    target = forms.CharField(
        label=lazy("Column with the answer"),
        required=False,
        max_length=200,
        help_text=lazy("In the reference data, as it is written there."),
    )
    evaluation = forms.ModelChoiceField(
        label=lazy("Evaluation data"),
        queryset=Dataset.objects.none(),
        required=False,
        empty_label=lazy("None, or a new file"),
        help_text=lazy("Rows that the model has not seen: the metrics are measured again on them."),
    )
    evaluation_file = forms.FileField(
        label=lazy("… or a new file"), required=False, help_text=lazy("CSV or Parquet.")
    )
    metrics = forms.CharField(
        label=lazy("Metrics that you claim"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "class": "code"}),
        help_text=lazy("One a line, “accuracy = 0.81”, or JSON. They are measured again and compared."),
    )
    card = forms.CharField(
        label=lazy("Card"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=lazy("Purpose, not for, training data, limits. Approvers read this."),
    )
    notes = forms.CharField(
        label=lazy("What is new in this version"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, model: RegisteredModel, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["file"].help_text = _("%(formats)s At most %(size)s.") % {
            "formats": self.fields["file"].help_text,
            "size": filesizeformat(settings.MODELGATE_MAX_ARTIFACT),
        }
        tables = _("CSV or Parquet, at most %(size)s.") % {
            "size": filesizeformat(settings.MODELGATE_MAX_DATASET)
        }
        for name in ("reference_file", "evaluation_file"):
            self.fields[name].help_text = tables
        for name in (
            "reference",
            "reference_file",
            "target",
        ):  # one of them, for most formats: not "(optional)"
            self.fields[name].is_needed = True  # type: ignore[attr-defined]
        datasets = model.datasets.all()
        self.fields["reference"].queryset = datasets.filter(role=Dataset.Kind.REFERENCE)  # type: ignore[attr-defined]
        self.fields["evaluation"].queryset = datasets.exclude(role=Dataset.Kind.FEEDBACK)  # type: ignore[attr-defined]

    def clean_metrics(self) -> dict[str, float]:
        return parse_metrics(self.cleaned_data["metrics"])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for name in ("reference", "evaluation"):
            if data.get(name) and data.get(f"{name}_file"):
                self.add_error(
                    f"{name}_file", _("Choose one of the two: a data set that is here, or a new file.")
                )
        if data.get("reference_file") and not data.get("target"):
            self.add_error("target", _("Name the column of the new file that holds the answer."))
        return data


class PapersForm(forms.Form):
    """What else came with a version and may have to be corrected: the figures, the card, the requirements."""

    metrics = forms.CharField(
        label=lazy("Metrics that you claim"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "class": "code"}),
        help_text=lazy("One a line, “accuracy = 0.81”, or JSON. They are measured again and compared."),
    )
    requirements = forms.CharField(
        label=lazy("Requirements"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "code"}),
        help_text=lazy("The lines of your requirements.txt, if you have one."),
    )
    card = forms.CharField(
        label=lazy("Card"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 8}),
        help_text=lazy("Purpose, not for, training data, limits. Approvers read this."),
    )

    def clean_metrics(self) -> dict[str, float]:
        return parse_metrics(self.cleaned_data["metrics"])

    def changes(self) -> dict[str, Any]:
        """What `edit_draft` takes. A field that was not sent stays as it is."""
        sent = [name for name in self.fields if self.add_prefix(name) in self.data]
        return {name: self.cleaned_data[name] for name in sent}


def papers_initial(version: ModelVersion) -> dict[str, str]:
    metrics = "\n".join(f"{name} = {value}" for name, value in version.declared_metrics.items())
    return {"metrics": metrics, "requirements": version.requirements, "card": version.card}


def parse_metrics(text: str) -> dict[str, float]:
    """`name = number` lines, or a JSON object of numbers."""
    if not text.strip():
        return {}
    if text.lstrip().startswith("{"):
        try:
            pairs = json.loads(text)
        except ValueError as exc:
            raise ValidationError(_("This is not valid JSON: %s.") % exc) from exc
        items = list(pairs.items()) if isinstance(pairs, dict) else []
    else:
        items = [_pair(line, row) for row, line in enumerate(text.splitlines(), 1) if line.strip()]
    metrics = {}
    for name, value in items:
        try:
            metrics[str(name).strip()] = float(value)
        except (TypeError, ValueError) as exc:
            raise ValidationError(
                _("“%(name)s”: “%(value)s” is not a number. Write 0.81.") % {"name": name, "value": value}
            ) from exc
    return metrics


def _pair(line: str, row: int) -> tuple[str, str]:
    name, separator, value = line.replace(":", "=").partition("=")
    if not separator:
        raise ValidationError(_("Line %(row)d: write “name = number”.") % {"row": row})
    return name, value


class SchemaFieldForm(forms.Form):
    """One line of the schema table; the name comes from the data and stays."""

    name = forms.CharField(widget=forms.HiddenInput)
    type = forms.ChoiceField(choices=[(name, name) for name in FIELD_TYPES])
    required = forms.BooleanField(required=False)
    min = forms.FloatField(required=False)
    max = forms.FloatField(required=False)
    unit = forms.CharField(required=False, max_length=40)
    categories = forms.CharField(required=False, max_length=20_000)
    strict = forms.BooleanField(required=False)
    label_en = forms.CharField(required=False, max_length=200)
    label_hi = forms.CharField(required=False, max_length=200)
    help_en = forms.CharField(required=False, max_length=500)
    help_hi = forms.CharField(required=False, max_length=500)

    WORDS = {
        "type": lazy("Type"),
        "required": lazy("Required"),
        "min": lazy("Smallest"),
        "max": lazy("Largest"),
        "unit": lazy("Unit"),
        "categories": lazy("Categories, separated by semicolons"),
        "strict": lazy("Nothing else allowed"),
        "label_en": lazy("Label, English"),
        "label_hi": lazy("Label, Hindi"),
        "help_en": lazy("Help, English"),
        "help_hi": lazy("Help, Hindi"),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        name = self.initial.get("name") or self.data.get(self.add_prefix("name"), "")
        for key, word in self.WORDS.items():
            self.fields[key].widget.attrs["aria-label"] = f"{name}: {word}"
            self.fields[key].label = word

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        low, high = data.get("min"), data.get("max")
        if low is not None and high is not None and low > high:
            self.add_error("max", _("The largest value is below the smallest."))
        return data


SchemaFormSet = formset_factory(SchemaFieldForm, extra=0)


class TargetForm(forms.Form):
    """What the answer means, in the words of the business."""

    question_en = forms.CharField(label=lazy("Question, English"), max_length=200, required=False)
    question_hi = forms.CharField(label=lazy("Question, Hindi"), max_length=200, required=False)
    positive = forms.ChoiceField(
        label=lazy("The answer whose chance is told first"),
        required=False,
        help_text=lazy("The event: “yes”."),
    )

    def __init__(self, *args: Any, target: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target = target
        self.classes = target.get("classes") or []
        if len(self.classes) != 2:
            del self.fields["positive"]
        else:
            self.fields["positive"].choices = [("", "–"), *((str(c), str(c)) for c in self.classes)]  # type: ignore[attr-defined]
        for number, each in enumerate(self.classes[:20]):
            for code in ("en", "hi"):
                self.fields[f"word_{number}_{code}"] = forms.CharField(
                    label=_("“%(class)s” is called, in %(language)s")
                    % {"class": each, "language": get_language_info(code)["name_translated"]},
                    max_length=200,
                    required=False,
                )


def schema_initial(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the schema table out of a stored schema."""
    return [
        {
            **{key: each.get(key) for key in ("name", "type", "required", "min", "max", "unit", "strict")},
            "categories": "; ".join(each.get("categories") or []),
            **{f"label_{code}": (each.get("label") or {}).get(code, "") for code in ("en", "hi")},
            **{f"help_{code}": (each.get("help") or {}).get(code, "") for code in ("en", "hi")},
        }
        for each in schema.get("fields", [])
    ]


def target_initial(target: dict[str, Any]) -> dict[str, Any]:
    initial: dict[str, Any] = {
        f"question_{c}": (target.get("question") or {}).get(c, "") for c in ("en", "hi")
    }
    positive = target.get("positive")
    initial["positive"] = "" if positive is None else str(positive)
    for number, each in enumerate(target.get("classes") or []):
        said = (target.get("words") or {}).get(str(each), {})
        initial |= {f"word_{number}_{code}": said.get(code, "") for code in ("en", "hi")}
    return initial


def edited_schema(old: dict[str, Any], rows: list[dict[str, Any]], target: dict[str, Any]) -> dict[str, Any]:
    """The stored schema with what a person changed in it; what the tables do not show stays."""
    by_name = {row["name"]: row for row in rows}
    fields = []
    for each in old.get("fields", []):
        row = by_name.get(each["name"])
        if row is None:
            fields.append(each)
            continue
        categories = [part.strip() for part in row["categories"].split(";") if part.strip()]
        fields.append(
            {
                **each,
                **{key: row[key] for key in ("type", "required", "min", "max", "unit", "strict")},
                "categories": categories if row["type"] == "category" else [],
                "strict": row["strict"] and row["type"] == "category",
                "label": _both(row, "label"),
                "help": _both(row, "help"),
            }
        )
    answer = dict(old.get("target", {}))
    classes = answer.get("classes") or []
    answer["question"] = _both(target, "question")
    if "positive" in target:
        answer["positive"] = next((c for c in classes if str(c) == target["positive"]), None)
    words = {str(each): _both(target, f"word_{number}") for number, each in enumerate(classes[:20])}
    answer["words"] = {name: said for name, said in words.items() if said}
    return {**old, "fields": fields, "target": answer}


def _both(row: dict[str, Any], stem: str) -> dict[str, str]:
    texts = {code: (row.get(f"{stem}_{code}") or "").strip() for code in ("en", "hi")}
    return {code: text for code, text in texts.items() if text}


class ReasonForm(forms.Form):
    """Why: required wherever something changes for others."""

    reason = forms.CharField(
        label=lazy("Reason"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=lazy("Everybody who looks at the log will read this."),
    )


class DeleteForm(ReasonForm):
    """A reason, and the short name typed again: nobody deletes a model by a slip."""

    slug = forms.CharField(label=lazy("Type the short name of the model"), max_length=60)

    def __init__(self, *args: Any, model: RegisteredModel, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.model = model

    def clean_slug(self) -> str:
        slug = str(self.cleaned_data["slug"]).strip()
        if slug != self.model.slug:
            raise forms.ValidationError(_("It is “%(slug)s”.") % {"slug": self.model.slug})
        return slug


class AtForm(forms.Form):
    """An instant that has passed, in UTC."""

    time = forms.DateTimeField(
        label=lazy("Time (UTC)"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local", "step": 1}, format="%Y-%m-%dT%H:%M:%S"),
    )
    environment = forms.ModelChoiceField(
        label=lazy("Environment"),
        queryset=Environment.objects.all(),
        to_field_name="slug",
        empty_label=None,
        required=False,
    )

    def clean_time(self) -> datetime:
        time: datetime = self.cleaned_data["time"]
        if time > timezone.now():
            raise forms.ValidationError(_("This time has not passed yet."))
        return time


class RequestForm(ReasonForm):
    environment = forms.ModelChoiceField(
        label=lazy("Where it shall answer"),
        queryset=Environment.objects.all(),
        to_field_name="slug",
        empty_label=None,
        widget=forms.RadioSelect,
        initial="production",
    )
    field_order = ["environment", "reason"]


class ReleaseForm(RequestForm):
    version = forms.ModelChoiceField(
        label=lazy("Version"), queryset=ModelVersion.objects.none(), empty_label=None
    )
    mode = forms.ChoiceField(
        label=lazy("How"),
        choices=Release.Mode.choices,
        required=False,
        help_text=lazy("Canary and shadow are not available yet."),
    )
    expect = forms.IntegerField(widget=forms.HiddenInput, required=False)
    field_order = ["version", "environment", "mode", "reason"]

    def __init__(self, *args: Any, version: ModelVersion, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The one that the page is about is always there: why it may not be released, the verb says.
        offered = Q(state=ModelVersion.State.CHECKED) | Q(pk=version.pk)
        self.fields["version"].queryset = version.model.versions.filter(offered)  # type: ignore[attr-defined]
        self.fields["version"].label_from_instance = lambda version: version.label  # type: ignore[attr-defined]


class RollbackForm(ReasonForm):
    """Everything a rollback needs; `expect` is the release number that the person saw."""

    to = forms.IntegerField(widget=forms.HiddenInput)
    expect = forms.IntegerField(widget=forms.HiddenInput)
    understood = forms.BooleanField(
        label=lazy("I understand that clients send fields that this version does not use."), required=False
    )

    cancel_batches = forms.BooleanField(label=lazy("Cancel the running batches too"), required=False)

    def __init__(self, *args: Any, needs_tick: bool = False, running: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not running:
            del self.fields["cancel_batches"]
        self.fields["reason"].widget.attrs["autofocus"] = True  # the dialog opens with the focus here
        if needs_tick:
            self.fields["understood"].required = True
        else:
            del self.fields["understood"]


class AdmissionForm(forms.Form):
    """Why names may go into the jail, or why not; the names are those that the page showed."""

    comment = forms.CharField(
        label=lazy("Comment"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=lazy("What you looked at, and why these names are harmless, or are not."),
    )


class DecisionForm(forms.Form):
    """One approver's word: the button says which, the comment why."""

    comment = forms.CharField(
        label=lazy("Comment"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=lazy("Required to reject or to ask for changes."),
    )
    verdict = forms.ChoiceField(choices=[(name, name) for name in ("approve", "reject", "ask_changes")])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("verdict") in ("reject", "ask_changes") and not (data.get("comment") or "").strip():
            self.add_error("comment", _("Say why, so that its author can do something about it."))
        return data
