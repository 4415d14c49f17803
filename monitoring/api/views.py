"""Monitoring over HTTP: what was seen, judged from stored counts; and a file judged at once."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import actions, reference, windows
from monitoring.api.bodies import CheckBody, EvaluateBody, MonitoringBody, WindowQuery
from monitoring.api.serializers import (
    EvaluationSerializer,
    MonitoringSerializer,
    PerformanceSerializer,
    ServiceSerializer,
    VerdictSerializer,
    dataset_of,
)
from monitoring.models import Verdict
from monitoring.windows import Window
from registry import gate, permissions, tables
from registry.api.base import Endpoint
from registry.audit import Action
from registry.models import Role

DAY = timedelta(days=1)
LONGEST = timedelta(days=3660)


class Verdicts(Endpoint, ListAPIView):
    """Stored verdicts, newest first, of windows that end within the asked time."""

    key_action = "monitor"

    def rows(self) -> QuerySet[Verdict]:
        model = self.get_model()
        query = self.read_query(WindowQuery)
        environment = gate.environment_named(query["environment"])
        found = Verdict.objects.of(model, environment.slug).select_related("version", "version__model")
        if query["segment"]:
            return found.none()  # no segment has been named for this model
        if "from" in query:
            found = found.filter(window_end__gt=query["from"])
        if "to" in query:
            found = found.filter(window_start__lt=query["to"])
        return found.order_by("-window_end", "-pk")


@extend_schema(parameters=[WindowQuery])
class DriftList(Verdicts):
    """Is the traffic still like the reference? The verdicts of the stored windows."""

    serializer_class = VerdictSerializer


@extend_schema(parameters=[WindowQuery])
class PerformanceList(Verdicts):
    """How well the answers came true, window by window."""

    serializer_class = PerformanceSerializer


class DriftCheck(Endpoint):
    """Judge the current window now."""

    key_action = "monitor"
    attempts = {"POST": Action.CHECK_RUN}
    serializer_class = VerdictSerializer

    @extend_schema(request=CheckBody, responses=VerdictSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Check now instead of waiting for the schedule: operators and the model's owners."""
        model = self.get_model()
        permissions.require_role(permissions.can_set_monitoring(self.actor, model), Role.OPERATOR)
        environment = gate.environment_named(self.read(CheckBody)["environment"])
        return self.answer(actions.run_check(model, environment.slug, actor=self.actor))


class DriftEvaluate(Endpoint):
    """Judge a file before anybody scores it."""

    key_action = "monitor"
    serializer_class = EvaluationSerializer
    is_idempotent = False
    max_upload = "MODELGATE_MAX_DATASET"

    @extend_schema(request={"multipart/form-data": EvaluateBody}, responses=EvaluationSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Compare a CSV or Parquet file with a version's reference data. Nothing is scored, nothing is stored."""
        model = self.get_model()
        body = self.read(EvaluateBody, model=model)
        version = body.get("version") or gate.answering_release(model).version
        table = tables.read_table(body["file"])
        verdicts, state = actions.evaluate_table(version, table, body.get("columns"))
        known = reference.of(version)
        return self.answer(
            {
                "state": state,
                "version": version.number,
                "dataset": dataset_of(verdicts, len(table), known.rows if known else 0),
                "columns": [verdict.to_json() for verdict in verdicts],
            }
        )


class ServiceDetail(Endpoint):
    """Requests, errors and speed."""

    key_action = "monitor"
    serializer_class = ServiceSerializer

    @extend_schema(parameters=[WindowQuery], responses=ServiceSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Calls of a stretch of time (the last 24 hours unless given), in all and in at most 60 steps."""
        model = self.get_model()
        query = self.read_query(WindowQuery)
        environment = gate.environment_named(query["environment"]).slug
        window = _window(query)
        steps = windows.service_over_time(model, environment, window)
        return self.answer(
            {
                **_figures(windows.service(model, environment, window)),
                "environment": environment,
                "window_start": window.start,
                "window_end": window.end,
                "steps": [{"at": at, **_figures(each)} for at, each in steps],
            }
        )


class MonitoringDetail(Endpoint):
    """How a model is watched."""

    key_action = "monitor"
    attempts = {"PUT": Action.MONITORING_CHANGED}
    serializer_class = MonitoringSerializer

    def get(self, request: Request, slug: str) -> Response:
        """Window, schedule and thresholds."""
        return self.answer(actions.settings_of(self.get_model()).to_json())

    @extend_schema(request=MonitoringBody, responses=MonitoringSerializer)
    def put(self, request: Request, slug: str) -> Response:
        """Change them: operators and the model's owners. What is left out stays."""
        model = self.get_model()
        changed = actions.set_monitoring(model, **self.read(MonitoringBody), actor=self.actor)
        return self.answer(changed.to_json())


def _figures(service: windows.Service) -> dict[str, Any]:
    facts = service.to_json()
    return facts | {"errors": service.failed + service.refused, "by_status": facts["errors"]}


def _window(query: dict[str, Any]) -> Window:
    """The asked stretch in whole hours; never longer than ten years, never backwards."""
    end = windows.hour_after(query.get("to") or timezone.now())
    start = windows.hour_of(query["from"]) if "from" in query else end - DAY
    return Window(max(min(start, end - timedelta(hours=1)), end - LONGEST), end)
