"""The form that starts a batch. It reads what a person chose; the verb judges it."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

TAB = "tab"


class ChoiceWithDefault(forms.ChoiceField):
    """Radios of which one is always chosen; a client that sends none means the first."""

    def clean(self, value: Any) -> Any:
        return super().clean(value or self.initial)


class BatchForm(forms.Form):
    """A file, and how to read it where our own reading would be wrong."""

    file = forms.FileField(
        label=_("File with rows"),
        allow_empty_file=True,  # the verb says it better
        help_text=_("Choose a file, or drop it here."),
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.txt,.gz,.parquet,text/csv"}),
    )
    on_invalid = ChoiceWithDefault(
        label=_("If rows cannot be scored"),
        choices=[
            ("skip", _("Score the valid rows and list the others")),
            ("stop", _("Stop if any row is invalid")),
        ],
        initial="skip",
        widget=forms.RadioSelect,
    )
    explain = forms.BooleanField(
        label=_("With the three strongest reasons of each answer"),
        required=False,
        help_text=_("Takes longer; for files of up to %(rows)s rows.")
        % {"rows": f"{settings.MODELGATE_MAX_EXPLAINED_ROWS:,}"},
    )
    delimiter = forms.ChoiceField(
        label=_("Columns are separated by"),
        required=False,
        choices=[
            ("", _("find out")),
            (",", _("comma ,")),
            (";", _("semicolon ;")),
            (TAB, _("tab character")),
            ("|", _("bar |")),
        ],
    )
    decimal = forms.ChoiceField(
        label=_("Decimal mark"), required=False, choices=[("", _("point, 1.5")), (",", _("comma, 1,5"))]
    )
    encoding = forms.ChoiceField(
        label=_("Encoding"),
        required=False,
        choices=[("", _("find out")), ("utf-8", "UTF-8"), ("utf-16", "UTF-16"), ("cp1252", "Windows-1252")],
    )

    def options(self) -> dict[str, Any]:
        """What was chosen, as the options of the verb."""
        names = ("on_invalid", "explain", "delimiter", "decimal", "encoding")
        chosen = {name: self.cleaned_data.get(name) for name in names}
        if chosen["delimiter"] == TAB:
            chosen["delimiter"] = "\t"
        return {name: value for name, value in chosen.items() if value}

    @property
    def size_limit(self) -> int:
        return int(settings.MODELGATE_MAX_BATCH)
