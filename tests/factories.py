"""Rows that tests need: keyword-only, all optional, always valid."""

import hashlib
import itertools
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from registry import artifacts
from registry.actions import approvals
from registry.models import (
    AuditHead,
    Dataset,
    Decision,
    Environment,
    ModelVersion,
    RegisteredModel,
    Release,
    ReleaseRequest,
    Role,
    RoleGrant,
    User,
)

_numbers = itertools.count(1)

SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "age", "type": "integer", "min": 0, "max": 120, "training": {"min": 18, "max": 90}},
        {"name": "income", "type": "number", "required": False},
        {"name": "city", "type": "category", "categories": ["Delhi", "Pune"]},
    ],
    "target": {"name": "repaid", "task": "classification", "classes": ["no", "yes"], "positive": "yes"},
    "examples": [{"name": "Young in Pune", "inputs": {"age": 24, "income": 1200.5, "city": "Pune"}}],
}


def create_user(
    *, email: str = "", roles: Iterable[str] = (), password: str | None = None, **fields: Any
) -> User:
    user = User.objects.create_user(email or f"person{next(_numbers)}@example.com", password, **fields)
    RoleGrant.objects.bulk_create(RoleGrant(user=user, role=role) for role in roles)
    if set(roles) & {Role.ADMIN, Role.APPROVER}:
        user.is_staff = True
        user.save(update_fields=["is_staff"])
    return user


def create_model(
    *, slug: str = "", owners: Iterable[User] = (), created_by: User | None = None, **fields: Any
) -> RegisteredModel:
    slug = slug or f"model-{next(_numbers)}"
    creator = created_by or next(iter(owners), None) or create_user(roles=[Role.AUTHOR])
    model = RegisteredModel.objects.create(
        slug=slug,
        name=fields.pop("name", slug.title()),
        task=fields.pop("task", "classification"),
        created_by=creator,
        **fields,
    )
    model.owners.set(list(owners) or [creator])
    return model


def create_dataset(*, model: RegisteredModel | None = None, content: bytes = b"", **fields: Any) -> Dataset:
    model = model or create_model()
    content = content or b"age,income,city,repaid\n30,1000,Delhi,yes\n40,2000,Pune,no\n"
    return Dataset.objects.create(
        model=model,
        name=fields.pop("name", "reference.csv"),
        role=fields.pop("role", "reference"),
        sha256=store(content),
        size=len(content),
        format="csv",
        rows=fields.pop("rows", content.count(b"\n") - 1),
        columns=fields.pop("columns", content.split(b"\n", 1)[0].decode().split(",")),
        target=fields.pop("target", "repaid"),
        created_by=fields.pop("created_by", model.created_by),
        **fields,
    )


def create_version(
    *, model: RegisteredModel | None = None, content: bytes = b"", **fields: Any
) -> ModelVersion:
    model = model or create_model()
    number = fields.pop("number", model.versions.count() + 1)
    content = content or f"artifact {model.slug} {number}".encode()
    return ModelVersion.objects.create(
        model=model,
        number=number,
        state=fields.pop("state", ModelVersion.State.CHECKED),
        sha256=fields.pop("sha256", "") or store(content),
        size=len(content),
        filename=fields.pop("filename", "model.joblib"),
        format=fields.pop("format", "joblib"),
        schema=fields.pop("schema", SCHEMA),
        uploaded_by=fields.pop("uploaded_by", model.created_by),
        **fields,
    )


def create_version_to_review(*, names: Iterable[str] = ("numpy.nan_to_num",), **fields: Any) -> ModelVersion:
    """Its file needs names that nobody has reviewed yet."""
    found = {"format": "joblib", "names": [*names, "numpy.dtype"], "dangerous": [], "unknown": list(names)}
    return create_version(state=ModelVersion.State.NEEDS_REVIEW, globals=found, **fields)


def create_request(
    *, version: ModelVersion | None = None, environment: str = "production", **fields: Any
) -> ReleaseRequest:
    version = version or create_version()
    return ReleaseRequest.objects.create(
        version=version,
        environment=Environment.objects.get(slug=environment),
        reason=fields.pop("reason", "better on every slice"),
        bound=fields.pop("bound", None) or approvals.binding(version, environment),
        requested_by=fields.pop("requested_by", version.uploaded_by),
        expires_at=fields.pop("expires_at", timezone.now() + timedelta(days=14)),
        **fields,
    )


def create_approval(
    *, version: ModelVersion | None = None, approver: User | None = None, **fields: Any
) -> ReleaseRequest:
    """A request that somebody else has approved."""
    request = create_request(version=version, state=ReleaseRequest.State.APPROVED, **fields)
    approver = approver or create_user(roles=[Role.APPROVER])
    Decision.objects.create(request=request, verdict=Decision.Verdict.APPROVED, decided_by=approver)
    return request


def create_release(
    *, version: ModelVersion | None = None, environment: str = "production", **fields: Any
) -> Release:
    """`version` answers in `environment` from now on, properly approved."""
    version = version or create_version()
    current = Release.objects.current(version.model, environment)
    request = fields.pop("request", None) or create_approval(version=version, environment=environment)
    return Release.objects.create(
        model=version.model,
        environment=request.environment,
        number=current.number + 1 if current else 1,
        version=version,
        reason=fields.pop("reason", "first release"),
        request=request,
        released_by=fields.pop("released_by", None) or create_user(roles=[Role.OPERATOR]),
        **fields,
    )


def create_environments() -> None:
    """What the migrations put there, again after a test that committed has been cleaned up."""
    for position, slug in enumerate(("staging", "production"), start=1):
        Environment.objects.get_or_create(slug=slug, defaults={"name": slug.title(), "position": position})
    AuditHead.objects.get_or_create(pk=1)


def store(content: bytes) -> str:
    """Keep bytes as an artifact and return their SHA-256."""
    sha256 = hashlib.sha256(content).hexdigest()
    if not artifacts.exists(sha256):
        default_storage.save(artifacts.key_of(sha256), ContentFile(content))
    return sha256
