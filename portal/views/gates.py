"""The gates of pages: who asks, and the thing that they name; a hidden thing is a 404."""

from typing import cast

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404

from registry.gate import require_not_deleted
from registry.models import ModelVersion, RegisteredModel, ReleaseRequest, User


def person(request: HttpRequest) -> User:
    """Who asks; the middleware has shown strangers the door."""
    return cast(User, request.user)


def whole_number(text: str) -> int:
    """A small number that came as text; 0 for everything else (“²” is a digit, and no number)."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def get_model(request: HttpRequest, slug: str) -> RegisteredModel:
    found = RegisteredModel.objects.visible_to(request.user).filter(slug=slug).first()
    if found is None:
        require_not_deleted(slug, request.user)
        raise Http404
    return found


def get_version(request: HttpRequest, slug: str, number: int) -> ModelVersion:
    versions = ModelVersion.objects.select_related("model", "uploaded_by", "reference", "evaluation")
    versions = versions.prefetch_related("admissions__decided_by")
    return get_object_or_404(versions, model=get_model(request, slug), number=number)


def get_request(request: HttpRequest, public_id: str) -> ReleaseRequest:
    visible = ReleaseRequest.objects.visible_to(request.user).with_context()
    return get_object_or_404(visible, public_id=public_id)
