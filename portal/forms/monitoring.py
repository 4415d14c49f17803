"""The form of how a model is watched. It reads what a person typed; the verb judges it."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as lazy

from monitoring.drift import Thresholds
from monitoring.models import MonitoringSettings


class MonitoringForm(forms.Form):
    """Schedule, window, and from which PSI on a column is told; empty limits of a column follow the general ones."""

    enabled = forms.BooleanField(label=lazy("Check by itself"), required=False)
    window_hours = forms.IntegerField(
        label=lazy("Window, in hours"),
        help_text=lazy("168 is a week. A check judges the rows of one window."),
    )
    every_minutes = forms.IntegerField(
        label=lazy("Check every … minutes"), help_text=lazy("5 at least, 10,080 (a week) at most.")
    )
    watch = forms.FloatField(label=lazy("Watch from a PSI of"), help_text=lazy("0.1 is usual."))
    drift = forms.FloatField(label=lazy("Alert from a PSI of"), help_text=lazy("0.2 is usual."))

    def __init__(
        self, *args: Any, settings: MonitoringSettings, columns: Sequence[str], **kwargs: Any
    ) -> None:
        limits = settings.thresholds
        general = limits.get("", {})
        kwargs["initial"] = {
            "enabled": settings.is_enabled,
            "window_hours": settings.window_hours,
            "every_minutes": settings.every_minutes,
            "watch": general.get("watch", Thresholds().watch),
            "drift": general.get("drift", Thresholds().drift),
        }
        super().__init__(*args, **kwargs)
        self.columns = list(columns)
        for index, name in enumerate(self.columns):
            for kind, label in (("watch", lazy("Watch from")), ("drift", lazy("Alert from"))):
                field = forms.FloatField(label=f"{name}: {label}", required=False)
                field.initial = limits.get(name, {}).get(kind)
                self.fields[f"{kind}_{index}"] = field

    def general_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("enabled", "window_hours", "every_minutes", "watch", "drift")]

    def column_fields(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [(name, [self[f"watch_{i}"], self[f"drift_{i}"]]) for i, name in enumerate(self.columns)]

    def changes(self) -> dict[str, Any]:
        """What `set_monitoring` takes."""
        said = self.cleaned_data
        thresholds = {"": {"watch": said["watch"], "drift": said["drift"]}}
        for index, name in enumerate(self.columns):
            watch, alert = said[f"watch_{index}"], said[f"drift_{index}"]
            if watch is not None or alert is not None:
                thresholds[name] = {
                    "watch": said["watch"] if watch is None else watch,
                    "drift": said["drift"] if alert is None else alert,
                }
        return {
            "enabled": said["enabled"],
            "window_hours": said["window_hours"],
            "every_minutes": said["every_minutes"],
            "thresholds": thresholds,
        }


class IncidentForm(forms.Form):
    """What a person does about an incident: the button says which, the reason why."""

    act = forms.ChoiceField(choices=[(name, name) for name in ("acknowledge", "mute", "resolve")])
    days = forms.ChoiceField(
        label=lazy("Mute for"),
        choices=[("1", lazy("24 hours")), ("7", lazy("7 days")), ("30", lazy("30 days"))],
        required=False,
        initial="1",
    )
    reason = forms.CharField(
        label=lazy("Reason"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=lazy("Required to mute or to resolve; the audit log keeps it."),
    )

    def clean_days(self) -> str:
        return self.cleaned_data["days"] or "1"
