"""The filter of the request log: its fields are the query of the address."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as lazy

from inference.models.calls import CallQuerySet

STATUSES = [
    ("", lazy("Any")),
    ("ok", lazy("Answered")),
    ("refused", lazy("Refused")),
    *((str(status), str(status)) for status in (400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 504)),
]


class CallFilter(forms.Form):
    """Nothing is required; what cannot be read is said, and filters nothing."""

    key = forms.ChoiceField(label=lazy("Key"), required=False)
    model = forms.ChoiceField(label=lazy("Model"), required=False)
    status = forms.ChoiceField(label=lazy("Status"), required=False, choices=STATUSES)
    since = forms.DateField(
        label=lazy("From (UTC)"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        label=lazy("To (UTC)"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    request_id = forms.CharField(label=lazy("Request id"), required=False, max_length=64)

    def __init__(self, *args: Any, keys: Any, models: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        every = ("", lazy("Any"))
        named = [(str(key.pk), f"{key.name} ({key.prefix}…)") for key in keys]
        self.fields["key"].choices = [every, *named]  # type: ignore[attr-defined]
        self.fields["model"].choices = [every, *((each.slug, each.name) for each in models)]  # type: ignore[attr-defined]

    def chosen(self) -> dict[str, str]:
        """What was asked for, as it stands in the address."""
        self.is_valid()
        return {name: str(value) for name, value in self.cleaned_data.items() if value}

    def apply(self, calls: CallQuerySet) -> CallQuerySet:
        self.is_valid()
        given = self.cleaned_data
        exact = {
            "key_id": given.get("key"),
            "model__slug": given.get("model"),
            "request_id": given.get("request_id"),
            "at__date__gte": given.get("since"),
            "at__date__lte": given.get("until"),
        }
        calls = calls.filter(**{name: value for name, value in exact.items() if value})
        status = given.get("status")
        if status == "refused":
            return calls.refused()
        if status == "ok":
            return calls.filter(status__lt=400)
        return calls.filter(status=status) if status else calls
