"""What answers where: releases, rollbacks, and what answered when."""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from registry import ports
from registry.actions import releases
from registry.api.base import Endpoint
from registry.api.bodies import AtQuery, EnvironmentQuery, ReleaseBody, RollbackBody, UnfreezeBody
from registry.api.serializers import (
    FreezeSerializer,
    ReleaseSerializer,
    RollbackPreviewSerializer,
    ServedAtSerializer,
)
from registry.audit import Action
from registry.errors import NotFound
from registry.gate import environment_named
from registry.history import answered_at
from registry.models import Release
from registry.serving import Approvers, approvers_of


@extend_schema(parameters=[EnvironmentQuery])
class ReleaseList(Endpoint, ListAPIView):
    """The releases of a model in one environment, newest first."""

    key_action = {"GET": "read", "POST": "release"}
    attempts = {"POST": Action.RELEASE_MADE}
    serializer_class = ReleaseSerializer
    approvers: Approvers = {}

    def rows(self) -> QuerySet[Release]:
        environment = environment_named(self.read_query(EnvironmentQuery)["environment"])
        found = Release.objects.of(self.get_model(), environment.slug)
        return found.select_related("request", "restores").order_by("-number")

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "approvers": self.approvers}

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        self.approvers = approvers_of(page or [])
        return page

    @extend_schema(request=ReleaseBody, responses={201: ReleaseSerializer}, parameters=[])
    def post(self, request: Request, slug: str) -> Response:
        """Let an approved version answer in an environment."""
        model = self.get_model()
        body = self.read(ReleaseBody, model=model)
        self.about(body["version"])
        return self.answer(releases.release(model, **body, actor=self.actor), 201)


class Rollback(Endpoint):
    key_action = {"GET": "read", "POST": "rollback"}
    attempts = {"POST": Action.RELEASE_ROLLED_BACK}
    serializer_class = ReleaseSerializer

    @extend_schema(parameters=[EnvironmentQuery], responses=RollbackPreviewSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Where one could go back to, and what that would change."""
        environment = self.read_query(EnvironmentQuery)["environment"]
        preview = releases.rollback_preview(self.get_model(), environment=environment)
        serializer = RollbackPreviewSerializer(_in_words(preview), context=self.get_serializer_context())
        return Response(serializer.data)

    @extend_schema(request=RollbackBody, responses={201: ReleaseSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Answer again with an earlier version that was approved and has served here."""
        model = self.get_model()
        return self.answer(releases.roll_back(model, **self.read(RollbackBody), actor=self.actor), 201)


class Unfreeze(Endpoint):
    key_action = "release"
    attempts = {"POST": Action.FREEZE_LIFTED}
    serializer_class = FreezeSerializer

    @extend_schema(request=UnfreezeBody, responses=FreezeSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Allow new releases again after a rollback."""
        model = self.get_model()
        freeze = releases.unfreeze(model, **self.read(UnfreezeBody), actor=self.actor)
        freeze.refresh_from_db()
        return self.answer(freeze)


class ServedAt(Endpoint):
    key_action = "read"
    serializer_class = ServedAtSerializer

    @extend_schema(parameters=[AtQuery])
    def get(self, request: Request, slug: str) -> Response:
        """Which version answered at that instant, approved by whom; 404 when none did."""
        model = self.get_model()
        asked = self.read_query(AtQuery)
        environment = environment_named(asked["environment"])
        answered = answered_at(model, asked["time"], environment.slug)
        if answered is None:
            raise Http404
        if answered.silence:
            raise NotFound(
                _("%(version)s was released then, and in quarantine since %(since)s: nothing answered.")
                % {"version": answered.release.version, "since": answered.silence.start.isoformat()},
                code="quarantined_then",
            )
        return self.answer(answered)


def _in_words(preview: releases.Preview) -> dict[str, object]:
    current, target = preview.current, preview.target
    warnings = []
    if preview.new_fields:
        warnings.append(
            _("The earlier version needs fields that clients may not send: %(names)s.")
            % {"names": ", ".join(preview.new_fields)}
        )
    if preview.missing_fields:
        warnings.append(
            _("The earlier version refuses fields that clients send now: %(names)s.")
            % {"names": ", ".join(preview.missing_fields)}
        )
    changes = (
        [
            _("New requests are answered by %(then)s instead of %(now)s, within 2 s.")
            % {"then": target.version.label, "now": current.version.label},
            _("Further releases are frozen until somebody lifts the freeze."),
        ]
        if target
        else []
    )
    stays = [
        _("Running requests and batches finish with the version that they began with."),
        _("API keys, past predictions and batch files stay as they are."),
    ]
    return {
        "current": current,
        "target": target,
        "targets": preview.targets,
        "never_served": [version.number for version in preview.never_served],
        "changes": changes,
        "stays": stays,
        "warnings": warnings,
        "unused": [
            {"field": name, "predictions": predictions, "clients": clients}
            for name, predictions, clients in ports.senders.count(current, preview.missing_fields)
        ],
    }
