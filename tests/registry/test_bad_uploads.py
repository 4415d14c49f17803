"""Files that must not be kept: one clear sentence each, nothing stored, and nothing of theirs runs in our processes."""

import ast
import hashlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from registry import audit
from registry.actions import catalog
from registry.audit import Action
from registry.errors import Refused
from registry.models import AuditEvent, ModelVersion, RegisteredModel, User
from tests import hostile, trained
from tests.registry.test_formats import OTHERS

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return catalog.create_model(slug="repay", name="Repay", task="classification", actor=author)


def stored_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "files").rglob("*") if path.is_file()]


def refuse(author: User, model: RegisteredModel, data: bytes) -> Refused:
    with pytest.raises(Refused) as refusal:
        catalog.upload_version(model, file=io.BytesIO(data), filename="model.joblib", actor=author)
    return refusal.value


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_model_is_refused_and_not_stored(
    author: User, model: RegisteredModel, tmp_path: Path, name: str
) -> None:
    refusal = refuse(author, model, OTHERS[name][0])

    assert str(refusal).endswith(".")
    assert "\n" not in str(refusal)
    assert not ModelVersion.objects.exists()
    assert stored_files(tmp_path) == []


def test_a_file_over_the_limit_is_refused_with_the_limit(
    author: User, model: RegisteredModel, tmp_path: Path, settings: Any
) -> None:
    settings.MODELGATE_MAX_ARTIFACT = 1 << 20

    refusal = refuse(author, model, trained.joblib_bytes(trained.forest()) + bytes(2 << 20))

    assert refusal.status == 413
    assert "1 MiB" in str(refusal)
    assert stored_files(tmp_path) == []


def test_the_refusal_of_a_dangerous_file_can_be_audited(
    author: User, model: RegisteredModel, tmp_path: Path
) -> None:
    refusal = refuse(author, model, hostile.corpus(tmp_path / "canary")["system"])

    audit.record_refusal(Action.VERSION_UPLOADED, target=model, actor=author, error=refusal)

    event = AuditEvent.objects.get(result="refused")
    data = hostile.corpus(tmp_path / "canary")["system"]
    assert event.details["code"] == "dangerous_file"
    assert event.details["sha256"] == hashlib.sha256(data).hexdigest()
    assert event.details["names"] == ["posix.system"]
    assert event.details["size"] == len(data)


#: Functions that run what a file says. `inference/runner/` alone may use them.
LOADERS = {
    "pickle": {"load", "loads", "Unpickler"},
    "joblib": {"load"},
    "skops.io": {"load", "loads"},
    "sio": {"load", "loads"},
    "dill": {"load", "loads"},
    "cloudpickle": {"load", "loads"},
    "marshal": {"load", "loads"},
    "shelve": {"open"},
    "pd": {"read_pickle"},
    "pandas": {"read_pickle"},
    "np": {"load"},
    "numpy": {"load"},
    "yaml": {"load", "unsafe_load"},
}


def loads_in(source: str) -> list[str]:
    """Every use of a loader in a module, by its usual name or imported by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if node.attr in LOADERS.get(owner, ()):
                found.append(f"{owner}.{node.attr}")
        if isinstance(node, ast.ImportFrom):
            found += [
                f"{node.module}.{each.name}"
                for each in node.names
                if each.name in LOADERS.get(str(node.module), ())
            ]
    return found


def test_the_search_for_loaders_finds_them() -> None:
    assert loads_in("import joblib\njoblib.load('x')") == ["joblib.load"]
    assert loads_in("from pickle import loads") == ["pickle.loads"]
    assert loads_in("import skops.io\nskops.io.load('x')") == ["skops.io.load"]


def test_no_process_of_ours_loads_what_people_upload() -> None:
    runner = ROOT / "inference" / "runner"
    offenders = {
        str(file.relative_to(ROOT)): loads
        for app in ("portal", "monitoring", "inference", "registry")
        for file in (ROOT / app).rglob("*.py")
        if not file.is_relative_to(runner) and (loads := loads_in(file.read_text()))
    }

    assert offenders == {}


def test_looking_at_a_file_imports_no_machine_learning(tmp_path: Path) -> None:
    """The web process must not pay for scikit-learn, nor carry its code."""
    program = (
        "import django; django.setup(); import sys; from registry import inspection; from inference import checks;"
        "print([name for name in ('sklearn', 'joblib', 'skops') if name in sys.modules])"
    )
    environment = {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "MODELGATE_DATA_DIR": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.stdout.strip() == "[]", found.stderr[-500:]
