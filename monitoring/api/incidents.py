"""Incidents over HTTP: what somebody must act on, and what was done about it."""

from collections.abc import Callable
from typing import Any, ClassVar

import django_filters
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import incidents
from monitoring.api.bodies import MuteBody, NoteBody
from monitoring.models import Incident
from registry.api.base import Endpoint
from registry.audit import Action


def _email() -> serializers.Field:
    return serializers.SlugRelatedField(slug_field="email", read_only=True, allow_null=True)


class HistorySerializer(serializers.Serializer):
    at = serializers.DateTimeField()
    version = serializers.IntegerField(allow_null=True)
    sentence = serializers.CharField()


class IncidentSerializer(serializers.ModelSerializer):
    id = serializers.CharField(source="public_id")
    model: serializers.Field = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    version: serializers.Field = serializers.SlugRelatedField(
        slug_field="number", read_only=True, allow_null=True
    )
    state = serializers.ChoiceField(Incident.State.choices)
    history = HistorySerializer(many=True, help_text="What was found, oldest first")
    acknowledged_by: serializers.Field = _email()
    muted_by: serializers.Field = _email()
    resolved_by: serializers.Field = _email()

    class Meta:
        model = Incident
        fields = [
            "id",
            "model",
            "kind",
            "severity",
            "state",
            "sentence",
            "version",
            "history",
            "opened_at",
            "updated_at",
            "acknowledged_at",
            "acknowledged_by",
            "acknowledged_reason",
            "muted_until",
            "muted_by",
            "muted_reason",
            "resolved_at",
            "resolved_by",
            "resolved_reason",
        ]
        read_only_fields = fields


class IncidentFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=Incident.State.choices, method="in_state")
    model = django_filters.CharFilter("model__slug")
    kind = django_filters.ChoiceFilter(choices=Incident.Kind.choices)

    class Meta:
        model = Incident
        fields: list[str] = []

    def in_state(self, found: Any, name: str, value: str) -> Any:
        return found.in_state(value)


class Incidents(Endpoint):
    key_action = "monitor"
    serializer_class = IncidentSerializer

    def rows(self) -> QuerySet[Incident]:
        return Incident.objects.filter(model__in=self.models()).with_context()

    def get_incident(self) -> Incident:
        return self.about(get_object_or_404(self.rows(), public_id=self.kwargs["incident_id"]))

    def named_subject(self) -> Model | None:
        return self.rows().filter(public_id=self.kwargs.get("incident_id", "")).first()


class IncidentList(Incidents, ListAPIView):
    """Incidents of models that you may see, newest first."""

    filterset_class = IncidentFilter


class IncidentDetail(Incidents, RetrieveAPIView):
    """One incident: what was found, and who did what about it."""

    def get_object(self) -> Incident:
        return self.get_incident()


class _Act(Incidents):
    verb: ClassVar[Callable[..., Incident]]
    body: ClassVar[type[serializers.Serializer]] = NoteBody

    @extend_schema(request=NoteBody, responses=IncidentSerializer)
    def post(self, request: Request, incident_id: str) -> Response:
        return self.act()

    def act(self) -> Response:
        incident = self.get_incident()
        incidents.require_handler(incident, self.actor)
        type(self).verb(incident, **self.read(type(self).body), actor=self.actor)
        return self.answer(self.get_incident())


class IncidentAcknowledge(_Act):
    """Say that you have seen it and see to it: operators and the model's owners."""

    attempts = {"POST": Action.INCIDENT_ACKNOWLEDGED}
    verb = staticmethod(incidents.acknowledge)


class IncidentMute(_Act):
    """Be quiet about it for a time. It stays open."""

    attempts = {"POST": Action.INCIDENT_MUTED}
    verb = staticmethod(incidents.mute)
    body = MuteBody

    @extend_schema(request=MuteBody, responses=IncidentSerializer)
    def post(self, request: Request, incident_id: str) -> Response:
        return self.act()


class IncidentResolve(_Act):
    """It is over, and why."""

    attempts = {"POST": Action.INCIDENT_RESOLVED}
    verb = staticmethod(incidents.resolve)
