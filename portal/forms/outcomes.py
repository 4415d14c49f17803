"""What came true, as a file or one by one; and what shall be forgotten."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from inference import erasing


class OutcomeFileForm(forms.Form):
    file = forms.FileField(
        label=_("File with outcomes"),
        allow_empty_file=True,  # the verb says it better
        help_text=_(
            "CSV or Parquet with the columns prediction (the id), actual and, if you know it, at (the time)."
        ),
        widget=forms.FileInput(attrs={"accept": ".csv,.tsv,.txt,.parquet,text/csv"}),
    )


class OneOutcomeForm(forms.Form):
    prediction = forms.CharField(
        label=_("Prediction"), max_length=64, help_text=_("Its id, as the answer gave it: p_…")
    )
    actual = forms.CharField(
        label=_("What came true"), max_length=200, help_text=_("One of the model's classes, or a number.")
    )

    def item(self) -> dict[str, Any]:
        return {"prediction": self.cleaned_data["prediction"].strip(), "actual": self.cleaned_data["actual"]}


class EraseForm(forms.Form):
    predictions = forms.CharField(
        label=_("Ids of predictions"),
        widget=forms.Textarea(attrs={"rows": 4}),
        max_length=70 * erasing.MAX_IDS,
        help_text=_(
            "One a line, or separated by spaces or commas; rows of batches too, once their job is done."
        ),
    )
    reason = forms.CharField(label=_("Reason"), max_length=2000, help_text=_("It stays in the audit log."))

    def ids(self) -> list[str]:
        return self.cleaned_data["predictions"].replace(",", " ").split()
