"""What lists may be asked for: named fields only, never a path into other tables."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django_filters.fields import IsoDateTimeField

from registry.audit import CHANNELS, Action
from registry.models import AuditEvent, ReleaseRequest
from registry.models.audit import AuditEventQuerySet


class InstantField(IsoDateTimeField):
    """An instant that exists in UTC too: the last day of the calendar has hours that do not."""

    def to_python(self, value: Any) -> datetime | None:
        found = super().to_python(value)
        try:
            return found.astimezone(UTC) if found else None
        except OverflowError as exc:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from exc


class InstantFilter(django_filters.IsoDateTimeFilter):
    field_class = InstantField


class RequestFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=ReleaseRequest.State.choices)
    model = django_filters.CharFilter("version__model__slug")
    environment = django_filters.CharFilter("environment__slug")

    class Meta:
        model = ReleaseRequest
        fields: list[str] = []


class AuditFilter(django_filters.FilterSet):
    """The fields of the audit page's filter."""

    q = django_filters.CharFilter(
        method="search",
        label="Text in the object's name or the reason, or the words of an action or a result",
    )
    actor = django_filters.CharFilter("actor_name", lookup_expr="icontains")
    action = django_filters.ChoiceFilter(choices=Action.choices)
    model = django_filters.CharFilter("model_slug")
    result = django_filters.ChoiceFilter(choices=AuditEvent.Result.choices)
    channel = django_filters.ChoiceFilter(choices=[(name, name) for name in CHANNELS])
    since = InstantFilter("at", lookup_expr="gte")
    until = InstantFilter("at", lookup_expr="lte")
    request_id = django_filters.CharFilter()
    target = django_filters.CharFilter("target_id")

    class Meta:
        model = AuditEvent
        fields: list[str] = []

    def search(self, events: AuditEventQuerySet, name: str, value: str) -> AuditEventQuerySet:
        return events.mentioning(value)
