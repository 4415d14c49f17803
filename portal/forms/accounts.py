"""Forms about people and keys."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as lazy

from registry import permissions
from registry.actions.keys import HIGHEST_RATE
from registry.models import KeyAction, RegisteredModel, Role, User

DAYS = [(30, lazy("30 days")), (90, lazy("90 days")), (365, lazy("1 year"))]


class KeyForm(forms.Form):
    """A key for oneself, or for a service account of the integrators."""

    name = forms.CharField(
        label=lazy("Name"), max_length=100, help_text=lazy("What will use it: “nightly scoring”.")
    )
    owner = forms.ModelChoiceField(label=lazy("Whose"), queryset=User.objects.none(), empty_label=None)
    actions = forms.MultipleChoiceField(
        label=lazy("What it may do"),
        choices=KeyAction.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text=lazy("Never more than its owner's roles allow."),
    )
    models = forms.ModelMultipleChoiceField(
        label=lazy("On which models"),
        queryset=RegisteredModel.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=lazy("Choose none to allow all that its owner may see."),
    )
    days = forms.TypedChoiceField(
        label=lazy("Ends after"), choices=DAYS, coerce=int, initial=90, widget=forms.RadioSelect
    )
    rate = forms.IntegerField(
        label=lazy("Prediction calls a minute, at most"),
        required=False,
        min_value=1,
        max_value=HIGHEST_RATE,
        widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "off"}),
        help_text=lazy("Empty: as many as it likes. A call has up to 10,000 rows."),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owners = User.objects.filter(pk=user.pk)
        if permissions.can_own_service_keys(user):
            owners |= User.objects.filter(is_service=True, is_active=True)
        allowed = [
            (name, label) for name, label in KeyAction.choices if permissions.can_use_key_action(user, name)
        ]
        self.fields["owner"].queryset = owners.order_by("is_service", "email")  # type: ignore[attr-defined]
        self.fields["owner"].label_from_instance = lambda owner: owner.display_name  # type: ignore[attr-defined]
        self.fields["owner"].initial = user.pk
        self.fields["models"].queryset = RegisteredModel.objects.visible_to(user)  # type: ignore[attr-defined]
        if len(owners) == 1:
            self.fields["actions"].choices = allowed  # type: ignore[attr-defined]
            self.fields["owner"].widget = forms.HiddenInput()


class InviteForm(forms.Form):
    email = forms.EmailField(label=lazy("E-mail"))
    name = forms.CharField(label=lazy("Name"), max_length=150, required=False)
    roles = forms.MultipleChoiceField(
        label=lazy("Roles"), choices=Role.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    is_service = forms.BooleanField(
        label=lazy("A service account: a program, with keys and no password"), required=False
    )


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(
        label=lazy("Roles"),
        choices=Role.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=lazy("Being an administrator makes nobody an approver: give each role by itself."),
    )
    groups = forms.CharField(
        label=lazy("Teams"),
        required=False,
        max_length=500,
        help_text=lazy("Separated by commas; a new name makes a new team. Models are shared with teams."),
    )

    def clean_groups(self) -> list[str]:
        return [name.strip() for name in self.cleaned_data["groups"].split(",") if name.strip()]
