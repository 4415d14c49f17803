"""What answers here, in one hash: as long as it is the same, what agreed agrees."""

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

from inference.models import stored_form
from inference.runner import wire
from registry.models import ModelVersion

#: Whatever computes an answer. A new version of any of them may compute another one.
PACKAGES = ("scikit-learn", "numpy", "scipy", "pandas", "pyarrow", "joblib", "skops", "onnxruntime")


def environment(version: ModelVersion) -> dict[str, str]:
    """Everything that an answer of this version depends on, besides its file and the rows."""
    form = stored_form(version)
    return {**_machine(), "engine": version.engine, **({"form": form.sha256} if form else {})}


def fingerprint(version: ModelVersion) -> str:
    return hashlib.sha256(json.dumps(environment(version), sort_keys=True).encode()).hexdigest()


def strangers(told: Mapping[str, str]) -> list[str]:
    """Packages that the model service says it runs in other versions than are installed: it is older than they are."""
    ours = _machine()
    return [name for name, version in told.items() if name in ours and ours[name] != version]


@cache
def _machine() -> dict[str, str]:
    """Read once a process: what was installed after its start is not what computes in it."""
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "runner": _code_of(Path(wire.__file__).parent),
    }
    for package in PACKAGES:
        try:
            found[package] = installed_version(package)
        except PackageNotFoundError:
            continue
    return found


def _code_of(folder: Path) -> str:
    """SHA-256 of the runner's own code, in the order of its file names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
