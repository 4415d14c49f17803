"""Which versions of Python and its packages made the model, and which answer here."""

import platform
import re
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from inference.runners import Facts
from registry.models import ModelVersion


def here(facts: Facts | None) -> dict[str, str]:
    """The runner's own word; where it never got to say it, what is installed for it."""
    if facts is not None and facts.versions:
        return facts.versions
    found = {"python": platform.python_version()}
    for package in ("scikit-learn", "numpy", "pandas", "scipy", "joblib", "skops"):
        try:
            found[package] = installed_version(package)
        except PackageNotFoundError:
            continue
    return found


def recorded(version: ModelVersion) -> dict[str, str]:
    """What the file tells of its making, and what its uploader wrote in the requirements."""
    found = {}
    for line in version.requirements.splitlines():
        pinned = re.match(r"\s*([A-Za-z0-9._-]+)\s*==\s*([0-9][0-9A-Za-z.+-]*)", line)
        if pinned:
            found[pinned[1].lower().replace("_", "-")] = pinned[2]
    if told := version.globals.get("sklearn_version"):
        found["scikit-learn"] = str(told)
    if told := version.globals.get("python_version"):
        found["python"] = str(told)
    if "numpy" not in found and any(name.startswith("numpy.core.") for name in _names(version)):
        found["numpy"] = "1.x"  # numpy 2 calls that module numpy._core
    return found


def _names(version: ModelVersion) -> list[str]:
    return [str(name) for name in version.globals.get("names", [])]


def is_patch(one: str, other: str) -> bool:
    """Do they differ by no more than a patch?"""
    return one.split(".")[:2] == other.split(".")[:2]
