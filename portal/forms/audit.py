"""The filter of the audit log: its fields are the query of the address."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as lazy

from registry.audit import CHANNELS, Action
from registry.models import AuditEvent
from registry.models.audit import AuditEventQuerySet


class AuditFilter(forms.Form):
    """Nothing is required; what cannot be read is said, and filters nothing."""

    q = forms.CharField(label=lazy("Text"), required=False, max_length=200)
    actor = forms.CharField(label=lazy("Who"), required=False, max_length=200)
    action = forms.ChoiceField(label=lazy("Action"), required=False, choices=[("", lazy("Any"))])
    model = forms.CharField(label=lazy("Model"), required=False, max_length=60)
    result = forms.ChoiceField(
        label=lazy("Result"), required=False, choices=[("", lazy("Any")), *AuditEvent.Result.choices]
    )
    channel = forms.ChoiceField(
        label=lazy("Channel"),
        required=False,
        choices=[("", lazy("Any")), *((name, name) for name in CHANNELS)],
    )
    since = forms.DateField(
        label=lazy("From (UTC)"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        label=lazy("To (UTC)"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    request_id = forms.CharField(label=lazy("Request id"), required=False, max_length=64)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", lazy("Any")), *((action.value, action.value) for action in Action)]
        self.fields["action"].choices = choices  # type: ignore[attr-defined]

    def chosen(self) -> dict[str, str]:
        """What was asked for, as it stands in the address."""
        self.is_valid()
        return {name: str(value) for name, value in self.cleaned_data.items() if value}

    def apply(self, events: AuditEventQuerySet) -> AuditEventQuerySet:
        self.is_valid()
        given = self.cleaned_data
        exact = {
            "action": given.get("action"),
            "model_slug": given.get("model"),
            "result": given.get("result"),
            "channel": given.get("channel"),
            "request_id": given.get("request_id"),
            "at__date__gte": given.get("since"),
            "at__date__lte": given.get("until"),
            "actor_name__icontains": given.get("actor"),
        }
        events = events.filter(**{name: value for name, value in exact.items() if value})
        if text := given.get("q"):
            events = events.mentioning(text)
        return events
