"""Requests and their decisions: asked by one, decided by another."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from registry.actions import approvals
from registry.api.base import Endpoint
from registry.api.bodies import CommentBody, RequestBody
from registry.api.filters import RequestFilter
from registry.api.serializers import RequestSerializer
from registry.audit import Action
from registry.models import ReleaseRequest


class Requests(Endpoint):
    serializer_class = RequestSerializer

    def rows(self) -> QuerySet[ReleaseRequest]:
        requests = ReleaseRequest.objects.filter(version__model__in=self.models()).with_context()
        return requests.prefetch_related("decisions__decided_by").order_by("-requested_at", "-pk")

    def get_request(self) -> ReleaseRequest:
        return self.about(get_object_or_404(self.rows(), public_id=self.kwargs["request_id"]))

    def named_subject(self) -> Model | None:
        if "request_id" not in self.kwargs:
            return super().named_subject()
        return self.rows().filter(public_id=self.kwargs["request_id"]).first()


class RequestCreate(Requests):
    key_action = "request"
    attempts = {"POST": Action.REQUEST_MADE}

    @extend_schema(request=RequestBody, responses={201: RequestSerializer})
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Ask that a checked version may be released to an environment."""
        version = self.get_version()
        return self.answer(approvals.ask(version, **self.read(RequestBody), actor=self.actor), 201)


class RequestList(Requests, ListAPIView):
    """Requests about models that you may see, newest first."""

    key_action = "read"
    filterset_class = RequestFilter


class RequestDetail(Requests, RetrieveAPIView):
    """One request, what it is bound to, and who decided what."""

    key_action = "read"

    def get_object(self) -> ReleaseRequest:
        return self.get_request()


class _Decide(Requests):
    verb: ClassVar[Callable[..., ReleaseRequest]]

    @extend_schema(request=CommentBody, responses=RequestSerializer)
    def post(self, request: Request, request_id: str) -> Response:
        asked = self.get_request()
        body: dict[str, Any] = self.read(CommentBody)
        type(self).verb(asked, **body, actor=self.actor)
        return self.answer(self.get_request())


class RequestApprove(_Decide):
    """Say yes. Never for what you uploaded or asked for yourself; approving does not release."""

    key_action = "approve"
    attempts = {"POST": Action.REQUEST_APPROVED}
    verb = staticmethod(approvals.approve)


class RequestReject(_Decide):
    """Say no, and why."""

    key_action = "approve"
    attempts = {"POST": Action.REQUEST_REJECTED}
    verb = staticmethod(approvals.reject)


class RequestChanges(_Decide):
    """Say what must change first."""

    key_action = "approve"
    attempts = {"POST": Action.REQUEST_CHANGES_ASKED}
    verb = staticmethod(approvals.ask_changes)


class RequestWithdraw(_Decide):
    """Take back what you asked for."""

    key_action = "request"
    attempts = {"POST": Action.REQUEST_WITHDRAWN}
    verb = staticmethod(approvals.withdraw)
