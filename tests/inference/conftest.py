"""Model files in a folder that the supervisor may open."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference import erasing
from inference.runners import RunnerSpec
from registry.models import Release, Role, User
from tests import factories, trained

COLUMNS = (("age", "integer"), ("income", "number"), ("city", "category"), ("member", "boolean"))

MakeSpec = Callable[..., RunnerSpec]


@pytest.fixture
def make_spec(tmp_path: Path) -> MakeSpec:
    """Write a model file and say how to ask for it: `make_spec(model_or_bytes, columns=…, admitted=…)`."""

    def make(model: Any, *, columns: Any = COLUMNS, form: str = "joblib", **fields: Any) -> RunnerSpec:
        data = model if isinstance(model, bytes) else trained.joblib_bytes(model)
        digest = hashlib.sha256(data).hexdigest()
        path = tmp_path / digest
        path.write_bytes(data)
        fields = {"key": f"{tmp_path.name}-{digest[:8]}", "sha256": digest, "path": path, **fields}
        return RunnerSpec(format=form, columns=columns, **fields)

    return make


@pytest.fixture
def owner(release: Release) -> User:
    """An author who owns the model of the test's release."""
    owner = factories.create_user(email="owner@example.com", roles=[Role.AUTHOR])
    release.model.owners.add(owner)
    return owner


@pytest.fixture
def erase(owner: User, django_capture_on_commit_callbacks: Any) -> Callable[..., erasing.Erased]:
    """The owner erases predictions by their ids, in a transaction that is committed."""

    def act(*ids: str) -> erasing.Erased:
        with django_capture_on_commit_callbacks(execute=True):
            return erasing.erase(ids, actor=owner, reason="asked by the person")

    return act
