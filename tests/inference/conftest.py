"""Model files in a folder that the supervisor may open."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.runners import RunnerSpec
from tests import trained

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
