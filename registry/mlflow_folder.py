"""An MLflow model folder, as zip or tar.gz: which file in it is the model, and what its papers say.

From `MLmodel` come a name and plain facts, never code: a loader other than MLflow's own for scikit-learn and ONNX, a
folder of code, or a path that leads out of the folder is refused. The named file goes through the same look as one
that was uploaded alone.
"""

import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.conf import settings
from django.utils.translation import gettext as _

from registry import archives
from registry.errors import Invalid, Refused
from registry.unreadable import cut_off

MARK = "MLmodel"
MAX_MANIFEST = 256 << 10
MAX_PAPERS = 4 << 20
MAX_EVENTS = 20_000
MAX_DEPTH = 20
MAX_PLAIN = 1_000  # characters of a value without quotes, which may be a number
MAX_EXAMPLE = 100
MAX_REQUIREMENTS = 20_000
MAX_PACKAGES = 500
LOADERS = ("mlflow.sklearn", "mlflow.onnx")
PAYLOADS = {"sklearn": "pickled_model", "onnx": "data"}
LARGEST = 2**63
TYPES = {
    "double": "number", "float": "number", "integer": "integer", "long": "integer", "boolean": "boolean",
    "string": "text",
}  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """What is taken from a folder."""

    payload: str
    flavor: str
    requirements: str = ""
    python: str = ""
    inputs: list[dict[str, Any]] = field(default_factory=list)
    example: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def is_folder(archive: archives.Archive) -> bool:
    return any(posixpath.basename(name) == MARK for name in archive.sizes)


def read(archive: archives.Archive) -> Folder:
    """The papers of a folder; Invalid, with one sentence, where it asks for more than its model file."""
    marks = [name for name in archive.sizes if posixpath.basename(name) == MARK]
    if len(marks) != 1:
        raise _bad(_("it holds %(count)d files called MLmodel") % {"count": len(marks)})
    root = posixpath.dirname(marks[0])
    manifest = _manifest(archives.read(archive, marks[0], MAX_MANIFEST))
    flavors = manifest.get("flavors")
    if not isinstance(flavors, dict):
        raise _bad(_("MLmodel names no flavors"))
    _refuse_code(archive, root, flavors)
    flavor = next((name for name in PAYLOADS if isinstance(flavors.get(name), dict)), "")
    if not flavor:
        raise _bad(
            _("it holds a model of %(names)s; scikit-learn and ONNX are served")
            % {"names": ", ".join(str(name)[:40] for name in list(flavors)[:5])}
        )
    facts = flavors[flavor]
    conda, virtualenv = (_environment(archive, root, name) for name in ("conda.yaml", "python_env.yaml"))
    return Folder(
        payload=_inside(archive, root, facts.get(PAYLOADS[flavor]), PAYLOADS[flavor]),
        flavor=flavor,
        requirements=_requirements(archive, root) or "".join(f"{line}\n" for line in _for_pip(conda)),
        python=_python(virtualenv.get("python")) or _python_of_conda(conda),
        inputs=_inputs(manifest.get("signature")),
        example=_example(archive, root, manifest.get("saved_input_example_info")),
        versions=_versions(facts),
    )


def _bad(reason: str, fix: str = "") -> Invalid:
    return Invalid(
        _("The MLflow folder is not acceptable: %(reason)s.") % {"reason": reason},
        code="bad_mlflow",
        fix=fix
        or _("Save it with mlflow.sklearn.save_model or mlflow.onnx.save_model, without code of your own."),
    )


def _manifest(data: bytes, name: str = MARK) -> dict[str, Any]:
    """YAML of plain values: no anchors, no tags, bounded before anything is built of it."""
    named = {"name": name}
    depth = count = 0
    try:
        for event in yaml.parse(data, Loader=yaml.SafeLoader):
            count += 1
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
                raise _bad(_("%(name)s uses anchors or tags") % named)
            if count > MAX_EVENTS or depth > MAX_DEPTH or _is_long_and_plain(event):
                raise _bad(_("%(name)s is too complex") % named)
        found = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        raise _bad(_("%(name)s cannot be read") % named) from None
    if not isinstance(found, dict):
        raise _bad(_("%(name)s cannot be read") % named)
    return found


def _is_long_and_plain(event: yaml.Event) -> bool:
    """YAML's numbers to the base 60 (`1:30:00`) take the square of their length to read."""
    return isinstance(event, yaml.ScalarEvent) and event.implicit[0] and len(event.value) > MAX_PLAIN


def _refuse_code(archive: archives.Archive, root: str, flavors: dict[Any, Any]) -> None:
    for facts in flavors.values():
        facts = facts if isinstance(facts, dict) else {}
        loader = facts.get("loader_module")
        if loader is not None and loader not in LOADERS:
            raise _bad(_("MLmodel asks for the loader %(name)s") % {"name": repr(loader)[:60]})
        if facts.get("code") or facts.get("code_path") or facts.get("code_paths"):
            raise _bad(_("MLmodel names code to run"))
    if any(name.startswith(posixpath.join(root, "code") + "/") for name in archive.sizes):
        raise _bad(_("it has a folder of code"))


def _inside(archive: archives.Archive, root: str, name: Any, key: str) -> str:
    """A file of the folder that MLmodel names."""
    path = posixpath.join(root, name) if isinstance(name, str) else ""
    is_plain = (
        bool(path) and posixpath.normpath(name) == name and ".." not in name.split("/") and name[0] != "/"
    )
    if not is_plain or path not in archive.sizes:
        raise _bad(
            _("%(key)s in MLmodel names no file of the folder (%(name)s)")
            % {"key": key, "name": repr(name)[:60]}
        )
    return path


def _requirements(archive: archives.Archive, root: str) -> str:
    path = posixpath.join(root, "requirements.txt")
    if path not in archive.sizes:
        return ""
    text = archives.read(archive, path, MAX_PAPERS).decode("utf-8", "replace")
    return "".join(mark for mark in text if mark.isprintable() or mark == "\n")[:MAX_REQUIREMENTS]


def _environment(archive: archives.Archive, root: str, name: str) -> dict[str, Any]:
    """conda.yaml or python_env.yaml, read as carefully as MLmodel; nothing where there is none."""
    path = posixpath.join(root, name)
    if path not in archive.sizes:
        return {}
    return _manifest(archives.read(archive, path, MAX_MANIFEST), name)


def _for_pip(conda: dict[str, Any]) -> list[str]:
    """What conda leaves to pip: the one place where MLflow writes the packages of a model without requirements.txt."""
    parts = [each["pip"] for each in _dependencies(conda) if isinstance(each, dict) and "pip" in each]
    lines = [line for part in parts if isinstance(part, list) for line in part]
    kept = [line for line in lines if _is_name(line) and len(line) <= MAX_PLAIN]
    return kept[:MAX_PACKAGES]


def _python_of_conda(conda: dict[str, Any]) -> str:
    """`python=3.11.9`, as MLflow writes it; a range names no version."""
    named = [
        re.fullmatch(r"python\s*={1,2}\s*(\S+)", each) for each in _dependencies(conda) if _is_name(each)
    ]
    return next((_python(found[1]) for found in named if found), "")


def _dependencies(conda: dict[str, Any]) -> list[Any]:
    found = conda.get("dependencies")
    return found if isinstance(found, list) else []


def _python(told: Any) -> str:
    return told if isinstance(told, str) and re.fullmatch(r"3\.[0-9]{1,2}(\.[0-9]{1,2})?", told) else ""


def _inputs(signature: Any) -> list[dict[str, Any]]:
    """Named columns of the signature; a tensor without names tells nothing that a schema could use."""
    try:
        columns = json.loads(signature["inputs"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    columns = columns if isinstance(columns, list) else []
    fields = [
        {"name": each["name"], "type": TYPES[each["type"]], "required": each.get("required") is not False}
        for each in columns
        if isinstance(each, dict) and _is_name(each.get("name")) and each.get("type") in list(TYPES)
    ]
    return fields if len(fields) == len(columns) else []


def _example(archive: archives.Archive, root: str, info: Any) -> list[dict[str, Any]]:
    """Rows of the input example: the only ones of which we know that the model's author looked at them."""
    if not isinstance(info, dict) or info.get("type") != "dataframe":
        return []
    try:
        path = _inside(archive, root, info.get("artifact_path"), "artifact_path")
        data = json.loads(archives.read(archive, path, MAX_PAPERS))
        columns, rows = data["columns"], data["data"][:MAX_EXAMPLE]
        found = [dict(zip(map(str, columns), row, strict=True)) for row in rows]
    except Refused:
        raise
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    is_plain = all(_is_name(name) and _is_value(value) for row in found for name, value in row.items())
    return found if is_plain else []


def _is_name(value: Any) -> bool:
    """Text that every database keeps and every page can show; JSON may escape what is no character at all."""
    return isinstance(value, str) and value.isprintable()


def _is_value(value: Any) -> bool:
    """One cell of a table. NaN is what Python writes for a gap, and no JSON."""
    if isinstance(value, str):
        return all(mark.isprintable() or mark.isspace() for mark in value)
    return value is None or (isinstance(value, int | float) and -LARGEST < value < LARGEST)


def _versions(facts: dict[Any, Any]) -> dict[str, str]:
    names = {"sklearn_version": "scikit-learn", "onnx_version": "onnx", "skops_version": "skops"}
    return {
        package: facts[key]
        for key, package in names.items()
        if isinstance(facts.get(key), str) and re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,20}", facts[key])
    }


def open_payload(archive: archives.Archive, folder: Folder) -> Any:
    """The model file itself, as a private temporary file; the caller closes it. No larger than one that comes alone."""
    if not archive.sizes[folder.payload]:
        raise cut_off()
    return archives.extract(archive, folder.payload, settings.MODELGATE_MAX_ARTIFACT)
