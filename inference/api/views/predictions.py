"""Ask, read again, say what came true, compare two versions."""

from contextlib import suppress
from typing import Any

from django.db import DatabaseError
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference import calls, comparing, erasing, explanations, feedback, predictions, records, reports
from inference.api import refusals
from inference.api.rendering import AnswerRenderer
from inference.api.serializers import (
    AnswerSerializer,
    CompareQuery,
    ComparisonSerializer,
    EraseBody,
    ErasedSerializer,
    FeedbackBody,
    PredictBody,
    PredictionSerializer,
    ReceiptSerializer,
    ReportBody,
    ReportSerializer,
)
from inference.models import Prediction
from inference.ports import PredictionRecord
from registry import audit, permissions
from registry.api.access import key_of
from registry.api.base import Endpoint
from registry.audit import Action
from registry.errors import Refused
from registry.models import ModelVersion, RegisteredModel


class Predict(Endpoint):
    key_action = "predict"
    attempts = {"POST": Action.PREDICTION_MADE}
    is_throttled = False
    renderer_classes = [AnswerRenderer]
    serializer_class = AnswerSerializer
    _is_asked = False
    _refused_as = ""

    @extend_schema(request=PredictBody, responses=AnswerSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Answer one row or many, all or nothing, with the version that serves. Each answer has a record."""
        model = self.get_model()
        body = self.read(PredictBody)
        self._is_asked = True
        answer = predictions.predict(
            model,
            body["rows"] if "rows" in body else [body["inputs"]],
            actor=self.actor,
            channel=Prediction.Channel.API,
            environment=body["environment"],
            version_number=body.get("version"),
            request_id=audit.current_context().request_id,
            key=key_of(request),
            explain=body["explain"],
        )
        return Response(answer.to_json())

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Whoever is known and was refused before the verb was asked has a line in the request log too."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if request.method == "POST" and final.status_code >= 400 and not self._is_asked:
            with suppress(DatabaseError):  # where it is away, nobody can say who asked
                self._keep_refused(request, final.status_code)
        return final

    def _keep_refused(self, request: Any, status: int) -> None:
        actor = getattr(request, "user", None)
        if actor and actor.pk:
            calls.record_refused(
                actor=actor,
                key=key_of(request),
                slug=self.kwargs["slug"],
                status=status,
                code=self._refused_as,
                request_id=audit.current_context().request_id,
            )

    def handle_exception(self, exc: Exception) -> Response:
        self._refused_as = refusals.code_of(exc)
        return super().handle_exception(exc)

    def is_worth_recording(self, error: Refused) -> bool:
        model = self.subject if isinstance(self.subject, RegisteredModel) else None
        return refusals.is_worth_recording(error, actor=self.actor, model=model)


class PredictionDetail(Endpoint):
    key_action = ("predict", "read")
    serializer_class = PredictionSerializer

    def get(self, request: Request, prediction: str) -> Response:
        """One answered question. Reading somebody else's needs the right to, and is audited."""
        found = records.find(prediction, whole=False)
        model = found and self.models().filter(pk=found.model_id).first()
        if not model:
            raise Http404
        record = records.read(prediction, actor=self.actor)
        return self.answer(_told(record, model))


class PredictionReport(Endpoint):
    key_action = ("predict", "feedback", "audit")
    attempts = {"POST": Action.PREDICTION_REPORTED}
    serializer_class = ReportSerializer

    @extend_schema(request=ReportBody, responses={201: ReportSerializer})
    def post(self, request: Request, prediction: str) -> Response:
        """Say that a prediction is wrong, surprising or unfair. Its model's owners and operators are told."""
        found = records.find(prediction, whole=False)
        if not found or not self.models().filter(pk=found.model_id).exists():
            raise Http404
        if not records.can_read(self.actor, found):
            raise Http404
        body = self.read(ReportBody)
        return self.answer(reports.report_problem(prediction, **body, actor=self.actor), 201)


class PredictionErase(Endpoint):
    key_action = ("upload", "audit")
    attempts = {"POST": Action.PREDICTION_ERASED}
    serializer_class = ErasedSerializer

    @extend_schema(request=EraseBody, responses=ErasedSerializer)
    def post(self, request: Request, prediction: str) -> Response:
        """Erase what was asked about a person: owners of the model, and administrators. Counts stay."""
        reason = self.read(EraseBody)["reason"]
        erased = erasing.erase([prediction], actor=self.actor, reason=reason, among=self.models())
        if erased.unknown:
            raise Http404
        return Response(erased.to_json())


class Feedback(Endpoint):
    key_action = "feedback"
    attempts = {"POST": Action.FEEDBACK_GIVEN}
    serializer_class = ReceiptSerializer

    @extend_schema(request=FeedbackBody, responses=ReceiptSerializer)
    def post(self, request: Request) -> Response:
        """Say what came true of predictions. A second word on the same one is a correction."""
        items = self.read(FeedbackBody)["items"]
        receipt = feedback.give_feedback(items, actor=self.actor, among=self.models())
        return Response(receipt.to_json())


class Compare(Endpoint):
    key_action = "read"
    serializer_class = ComparisonSerializer

    @extend_schema(parameters=[CompareQuery], responses=ComparisonSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Two versions side by side: metrics, schema, and how often they agree on the reference rows."""
        model = self.get_model()
        asked = self.read_query(CompareQuery)
        a, b = (self._version(model, asked[name]) for name in ("a", "b"))
        found = comparing.compare(a, b, first_look=True)
        return self.answer(
            found if permissions.can_see_data(self.actor, model) else comparing.without_rows(found)
        )

    def _version(self, model: RegisteredModel, number: int) -> ModelVersion:
        versions = ModelVersion.objects.select_related("model", "reference", "evaluation")
        return get_object_or_404(versions, model=model, number=number)


def _told(record: PredictionRecord, model: RegisteredModel) -> dict[str, Any]:
    version = ModelVersion.objects.only("number").get(pk=record.version_id)
    fields = {name: getattr(record, name) for name in record.__dataclass_fields__}
    why = record.why or explanations.UNASKED
    return {**fields, **why, "model": model.slug, "version": version.number}
