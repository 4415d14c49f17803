"""Files scored in the background."""

from collections.abc import Callable
from typing import Any, ClassVar

import django_filters
from django.db.models import QuerySet
from django.http import FileResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from inference.api.serializers import (
    BatchBody,
    BatchSerializer,
    BatchStartBody,
    FileCheckSerializer,
    RerunBody,
    ResultQuery,
)
from inference.batches import again, downloads, verbs
from inference.batches.downloads import Download
from inference.models import BatchJob
from registry.api.base import Endpoint
from registry.audit import Action

READ = ("batch", "read")


class BatchFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=BatchJob.State.choices)
    model = django_filters.CharFilter("model__slug")

    class Meta:
        model = BatchJob
        fields: list[str] = []


class Batches(Endpoint):
    serializer_class = BatchSerializer

    def rows(self) -> QuerySet[BatchJob]:
        jobs = BatchJob.objects.visible_to(self.actor).filter(model__in=self.models())
        return jobs.select_related("model", "version", "release", "created_by").order_by("-created_at", "-pk")

    def get_job(self) -> BatchJob:
        return self.about(get_object_or_404(self.rows(), public_id=self.kwargs["batch"]))


class BatchCreate(Batches):
    key_action = "batch"
    attempts = {"POST": Action.BATCH_STARTED}
    max_upload = "MODELGATE_MAX_BATCH"

    @extend_schema(request={"multipart/form-data": BatchStartBody}, responses={202: BatchSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Score a file with the version that answers now, in the background."""
        model = self.get_model()
        body = self.read(BatchStartBody)
        file = body.pop("file")
        return self.answer(verbs.start_batch(model, file, file.name, **body, actor=self.actor), 202)


class FileCheck(Endpoint):
    key_action = "batch"
    attempts = {"POST": Action.BATCH_STARTED}
    max_upload = "MODELGATE_MAX_BATCH"
    is_idempotent = False
    serializer_class = FileCheckSerializer

    @extend_schema(request={"multipart/form-data": BatchBody}, responses=FileCheckSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """Try a file: rows counted, problems grouped by cause, the first rows scored. Nothing is kept."""
        model = self.get_model()
        body = self.read(BatchBody)
        return self.answer(again.check_file(model, body.pop("file"), **body, actor=self.actor))


class BatchList(Batches, ListAPIView):
    """Jobs that you may know of, newest first."""

    key_action = READ
    filterset_class = BatchFilter


class BatchDetail(Batches, RetrieveAPIView):
    """One job and how far it is."""

    key_action = READ

    def get_object(self) -> BatchJob:
        return self.get_job()


class _Act(Batches):
    key_action = "batch"
    verb: ClassVar[Callable[..., BatchJob]]

    @extend_schema(request=None, responses=BatchSerializer)
    def post(self, request: Request, batch: str) -> Response:
        return self.answer(type(self).verb(self.get_job(), actor=self.actor))


class BatchRun(_Act):
    """Score a job that was held after its check."""

    attempts = {"POST": Action.BATCH_STARTED}
    verb = staticmethod(verbs.run)


class BatchCancel(_Act):
    """Stop; what is scored is kept."""

    attempts = {"POST": Action.BATCH_CANCELLED}
    verb = staticmethod(verbs.cancel)


class BatchRetry(_Act):
    """Go on with a job that failed or was stopped: its unscored rows only."""

    attempts = {"POST": Action.BATCH_RETRIED}
    verb = staticmethod(verbs.retry)


class BatchRerun(Batches):
    key_action = "batch"
    attempts = {"POST": Action.BATCH_STARTED}

    @extend_schema(request=RerunBody, responses={202: BatchSerializer})
    def post(self, request: Request, batch: str) -> Response:
        """The same file once more, as a new job, on another version."""
        job = self.get_job()
        body: dict[str, Any] = self.read(RerunBody)
        return self.answer(again.rerun(job, **body, actor=self.actor), 202)


class BatchResult(Batches):
    key_action = READ
    attempts = {"GET": Action.BATCH_DOWNLOADED}

    @extend_schema(
        parameters=[ResultQuery],
        responses={
            (200, "text/csv"): OpenApiTypes.BINARY,
            (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request, batch: str) -> FileResponse:
        """The scored rows. 409 before the end; a stopped job gives its part; 410 after its time."""
        form = self.read_query(ResultQuery)["as"]
        return _sent(downloads.open_result(self.get_job(), actor=self.actor, form=form))


class BatchProblems(Batches):
    key_action = READ
    attempts = {"GET": Action.BATCH_DOWNLOADED}

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.BINARY})
    def get(self, request: Request, batch: str) -> FileResponse:
        """The rows that could not be scored, with what is wrong and how to mend it."""
        return _sent(downloads.open_problems(self.get_job(), actor=self.actor))


def _sent(download: Download) -> FileResponse:
    return FileResponse(
        download.file, as_attachment=True, filename=download.name, content_type=download.content_type
    )
