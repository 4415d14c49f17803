"""What every endpoint shares: who may see what, refusals in the audit log, and calls that may be sent twice."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeVar, cast

from django.core.files.uploadedfile import UploadedFile
from django.db import DatabaseError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from registry import audit, gate, idempotency
from registry.api.access import key_of, visible_models
from registry.audit import Action
from registry.errors import Invalid, Refused
from registry.models import IdempotencyRecord, ModelVersion, RegisteredModel

LONGEST_IDEMPOTENCY_KEY = 200
Row = TypeVar("Row", bound=Model)

#: One action of a key, or several of which one is enough.
KeyAction = str | tuple[str, ...]


class _Replayed(Exception):
    """This call was answered before."""

    def __init__(self, record: IdempotencyRecord) -> None:
        super().__init__(record.key)
        self.record = record


class Endpoint(GenericAPIView):
    """A view of the API.

    `key_action` names what a call needs (an action that a key carries and that roles allow), for all methods or by
    method; without it nobody gets in.
    `attempts` names, by method, the act that a refusal is recorded as.
    """

    key_action: ClassVar[KeyAction | Mapping[str, KeyAction]] = ()
    attempts: ClassVar[Mapping[str, Action]] = {}
    #: POST takes an Idempotency-Key. Not where nothing is created.
    is_idempotent: ClassVar[bool] = True
    #: Counted by the throttle of writes.
    is_throttled: ClassVar[bool] = True
    #: Fields of an answer that are shown once and never stored.
    shown_once: ClassVar[frozenset[str]] = frozenset()
    #: The setting that says how many bytes an upload may have; more is refused before it is read.
    max_upload: ClassVar[str] = ""
    filter_backends = [DjangoFilterBackend]

    subject: Model | None = None
    _claim: IdempotencyRecord | None = None

    # --- what one may see ---

    def models(self) -> QuerySet[RegisteredModel]:
        return visible_models(self.request)

    def rows(self) -> QuerySet[Any]:
        """The rows that this view is about, as far as the caller may see them."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # the document is made without a caller
            return cast(Any, self.serializer_class).Meta.model._base_manager.none()  # type: ignore[no-any-return]
        return self.rows()

    def get_model(self) -> RegisteredModel:
        """The model that the path names; 404 when this person or this key may not see it."""
        found = self.models().filter(slug=self.kwargs["slug"]).first()
        if found is None:
            gate.require_not_deleted(self.kwargs["slug"], self.request.user)
            raise Http404
        return self.about(found)

    def get_version(self) -> ModelVersion:
        versions = ModelVersion.objects.select_related("model", "uploaded_by", "reference", "evaluation")
        found = get_object_or_404(versions, model=self.get_model(), number=self.kwargs["number"])
        return self.about(found)

    def about(self, row: Row) -> Row:
        """Remember what this call is about, for the audit log, should it be refused."""
        self.subject = row
        return row

    @property
    def actor(self) -> Any:
        return self.request.user

    # --- what was sent, what is answered ---

    def read(self, body: type[BaseSerializer], **context: Any) -> dict[str, Any]:
        """The body as `body` describes it; 422 with one entry per mistake."""
        serializer = body(data=self.request.data, context={**self.get_serializer_context(), **context})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def read_query(self, query: type[BaseSerializer]) -> dict[str, Any]:
        serializer = query(data=self.request.query_params, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def answer(self, row: Any, status: int = 200, **kwargs: Any) -> Response:
        return Response(self.get_serializer(row, **kwargs).data, status=status)

    # --- refusals, and calls sent twice ---

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        key = request.headers.get("Idempotency-Key", "")
        if key and request.method == "POST" and self.is_idempotent:
            self._claim_call(request, key)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, _Replayed):
            headers = {"Idempotency-Replayed": "true"}
            return Response(exc.record.response, status=exc.record.status, headers=headers)
        action = self.attempts.get(str(self.request.method))
        if isinstance(exc, Refused) and action is not None and self.is_worth_recording(exc):
            target = self.subject or self.named_subject()
            audit.record_refusal(action, target=target, actor=self.request.user, error=exc)
        return super().handle_exception(exc)

    def named_subject(self) -> Model | None:
        """What the address names, when the call was refused before anything was looked up."""
        return self.models().filter(slug=self.kwargs.get("slug", "")).first()

    def is_worth_recording(self, error: Refused) -> bool:
        """Does this refusal belong into the audit log? A mistake in a form or a missing thing does not."""
        return error.status not in (404, 422)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        if self._claim is not None:
            self._settle(self._claim, response)
        return final

    def _claim_call(self, request: Request, key: str) -> None:
        if len(key) > LONGEST_IDEMPOTENCY_KEY:
            message = _("An Idempotency-Key has at most %(count)d characters.") % {
                "count": LONGEST_IDEMPOTENCY_KEY
            }
            raise Invalid(message, code="idempotency_key_too_long")
        api_key = key_of(request)
        record = idempotency.claim(
            credential=f"key:{api_key.pk}" if api_key else f"user:{request.user.pk}",
            method=str(request.method),
            path=request.get_full_path(),
            key=key,
            body=_fingerprint(request.data),
        )
        if record.status is not None:
            raise _Replayed(record)
        self._claim = record

    def _settle(self, claim: IdempotencyRecord, response: HttpResponseBase) -> None:
        data = getattr(response, "data", None)
        if response.status_code >= 300 or data is None:
            with suppress(DatabaseError):  # where it is away, the claim ends by itself
                idempotency.drop(claim)
            return
        kept = json.loads(JSONRenderer().render(data))
        for name in self.shown_once & set(kept):
            kept[name] = None
        idempotency.finish(claim, status=response.status_code, response=kept)


def _fingerprint(data: Any) -> str:
    """SHA-256 of what was sent, whatever the boundary or the order of its fields."""
    if not hasattr(data, "lists"):
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    parts = [[name, [_part(value) for value in values]] for name, values in sorted(data.lists())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _part(value: Any) -> str:
    if not isinstance(value, UploadedFile):
        return str(value)
    digest = hashlib.sha256()
    for chunk in value.chunks():
        digest.update(chunk)
    value.seek(0)
    return f"{value.name} {digest.hexdigest()}"
