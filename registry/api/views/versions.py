"""Versions: uploaded, checked, downloaded, retired."""

from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from registry import artifacts, audit, permissions
from registry.actions import admissions, catalog, endings, quarantine
from registry.api.base import Endpoint
from registry.api.bodies import (
    AdmitBody,
    ArchivedQuery,
    CommentBody,
    ReasonBody,
    UploadQuery,
    VersionBody,
    VersionChanges,
)
from registry.api.serializers import VersionSerializer
from registry.audit import Action
from registry.errors import Refused
from registry.models import ModelVersion, Role


class Versions(Endpoint):
    serializer_class = VersionSerializer

    def rows(self) -> QuerySet[ModelVersion]:
        versions = ModelVersion.objects.select_related("model", "uploaded_by", "reference", "evaluation")
        return (
            versions.prefetch_related("checks", "admissions__decided_by")
            .filter(model=self.get_model())
            .order_by("-number")
        )


@extend_schema(parameters=[ArchivedQuery])
class VersionList(Versions, ListAPIView):
    """The versions of a model, newest first; the archived ones when asked for."""

    key_action = {"GET": "read", "POST": "upload"}
    attempts = {"POST": Action.VERSION_UPLOADED}
    max_upload = "MODELGATE_MAX_ARTIFACT"

    def rows(self) -> QuerySet[ModelVersion]:
        versions = super().rows()
        return versions if self.read_query(ArchivedQuery)["archived"] else versions.filter(archived_at=None)

    def is_worth_recording(self, error: Refused) -> bool:
        return True  # every refused file is something that an auditor may ask about

    @extend_schema(
        request={"multipart/form-data": VersionBody},
        parameters=[UploadQuery],
        responses={201: VersionSerializer},
    )
    def post(self, request: Request, slug: str) -> Response:
        """Upload a model file as the next version. It is looked into and never loaded; its checks start at once."""
        model = self.get_model()
        body = self.read(VersionBody, model=model)
        file = body.pop("artifact")
        draft = self.read_query(UploadQuery)["draft"]
        version = catalog.upload_version(
            model, file=file, filename=file.name, draft=draft, **body, actor=self.actor
        )
        return self.answer(version, 201)


class VersionDetail(Versions):
    key_action = {"GET": "read", "PATCH": "upload"}
    attempts = {"PATCH": Action.VERSION_EDITED}

    def get(self, request: Request, slug: str, number: int) -> Response:
        """One version with its schema, its checks and what was measured."""
        return self.answer(self.get_version())

    @extend_schema(request=VersionChanges, responses=VersionSerializer)
    def patch(self, request: Request, slug: str, number: int) -> Response:
        """Correct the papers of your own draft, or of a version whose checks failed: it is a draft again then."""
        version = self.get_version()
        changes = self.read(VersionChanges, model=version.model)
        return self.answer(catalog.edit_draft(version, **changes, actor=self.actor))


class VersionChecks(Versions):
    key_action = "upload"
    attempts = {"POST": Action.VERSION_CHECKING}

    @extend_schema(request=None, responses={202: VersionSerializer})
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Start the checks of a draft, or again of a version whose checks failed."""
        version = self.get_version()
        return self.answer(catalog.start_checks(version, actor=self.actor), 202)


class VersionAdmit(Versions):
    key_action = "approve"
    attempts = {"POST": Action.VERSION_ADMITTED}

    def is_worth_recording(self, error: Refused) -> bool:
        return True  # an approver who names other things than the file needs is worth a line, too

    @extend_schema(request=AdmitBody, responses=VersionSerializer)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Admit exactly the unknown names that this version's file needs; its checks start. Not by its uploader."""
        version = self.get_version()
        return self.answer(admissions.admit(version, **self.read(AdmitBody), actor=self.actor))


class VersionRefuse(Versions):
    key_action = "approve"
    attempts = {"POST": Action.VERSION_NOT_ADMITTED}

    def is_worth_recording(self, error: Refused) -> bool:
        return True

    @extend_schema(request=CommentBody, responses=VersionSerializer)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Keep out the unknown names that this version's file needs. The version ends here, unloaded."""
        version = self.get_version()
        return self.answer(admissions.refuse(version, **self.read(CommentBody), actor=self.actor))


class VersionRetire(Versions):
    key_action = ("release", "upload")  # an operator, or an author who owns the model
    attempts = {"POST": Action.VERSION_RETIRED}

    @extend_schema(request=ReasonBody, responses=VersionSerializer)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """This version shall not answer any more. Refused while it serves."""
        version = self.get_version()
        return self.answer(catalog.retire(version, **self.read(ReasonBody), actor=self.actor))


class VersionArchive(Versions):
    key_action = ("release", "upload")
    attempts = {"POST": Action.VERSION_ARCHIVED}

    @extend_schema(request=ReasonBody, responses=VersionSerializer)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Leave a version that has ended out of lists. Nothing of it is removed."""
        version = self.get_version()
        return self.answer(endings.archive(version, **self.read(ReasonBody), actor=self.actor))


class VersionUnarchive(Versions):
    key_action = ("release", "upload")
    attempts = {"POST": Action.VERSION_UNARCHIVED}

    @extend_schema(request=ReasonBody, responses=VersionSerializer)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Show an archived version in lists again."""
        version = self.get_version()
        return self.answer(endings.unarchive(version, **self.read(ReasonBody), actor=self.actor))


class VersionLift(Versions):
    key_action = "approve"
    attempts = {"POST": Action.VERSION_QUARANTINE_LIFTED}

    @extend_schema(request=ReasonBody, responses=VersionSerializer)
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Let a quarantined version answer again, once it has given every one of its golden answers anew."""
        version = self.get_version()
        return self.answer(quarantine.lift_quarantine(version, **self.read(ReasonBody), actor=self.actor))


class VersionArtifact(Versions):
    key_action = "read"
    attempts = {"GET": Action.VERSION_DOWNLOADED}

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, slug: str, number: int) -> FileResponse:
        """The bytes as they were uploaded. Each download is in the audit log."""
        version = self.get_version()
        permissions.require_role(permissions.can_download(self.actor, version), Role.AUTHOR)
        file = artifacts.open_artifact(version.sha256)
        with transaction.atomic():
            audit.record(Action.VERSION_DOWNLOADED, target=version, actor=self.actor, sha256=version.sha256)
        answer = FileResponse(
            file, as_attachment=True, filename=version.filename, content_type="application/octet-stream"
        )
        answer["Content-Security-Policy"] = "sandbox"
        return answer
