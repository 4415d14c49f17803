"""MLflow model folders and archives, written by hand: honest ones, and those that try something."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from typing import Any

from tests import graphs, trained

MANIFEST = """\
artifact_path: model
flavors:
  python_function:
    env: {{conda: conda.yaml, virtualenv: python_env.yaml}}
    loader_module: {loader}
    model_path: {payload}
    python_version: 3.11.9
  {flavor}:
    {key}: {payload}
    serialization_format: {form}
    sklearn_version: 1.9.1
mlflow_version: 3.18.0
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  type: dataframe
signature:
  inputs: '{inputs}'
  outputs: '[{{"type": "double", "required": true}}]'
{more}"""
INPUTS = [
    {"type": "double", "name": "age", "required": True},
    {"type": "double", "name": "income", "required": False},
    {"type": "string", "name": "city", "required": False},
    {"type": "boolean", "name": "member", "required": True},
]


def manifest(**changes: str) -> bytes:
    facts = {
        "loader": "mlflow.sklearn",
        "flavor": "sklearn",
        "key": "pickled_model",
        "payload": "model.pkl",
        "form": "cloudpickle",
        "inputs": json.dumps(INPUTS),
        "more": "",
    }
    return MANIFEST.format(**(facts | changes)).encode()


def members(model: bytes = b"", changes: Mapping[str, Any] | None = None, **more: bytes) -> dict[str, bytes]:
    """The files of a folder called `model`; `changes` go into MLmodel."""
    changes = dict(changes or {})
    rows = trained.people()[trained.INPUTS].dropna().head(3)
    return {
        "model/MLmodel": manifest(**changes),
        f"model/{changes.get('payload', 'model.pkl')}": model or trained.joblib_bytes(trained.regression()),
        "model/requirements.txt": b"scikit-learn==1.9.1\n",
        "model/input_example.json": rows.to_json(orient="split", index=False).encode(),
        **more,
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w:gz", *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for each in more:
            archive.addfile(each)
    return buffer.getvalue()


def special(kind: bytes, name: str = "model/extra", target: str = "/etc/passwd") -> tarfile.TarInfo:
    """A link, a device or a pipe."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def with_link(files: Mapping[str, bytes]) -> bytes:
    """A zip with a symbolic link, as `zip -y` writes one."""
    buffer = io.BytesIO(zipped(files))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("model/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def of_members(count: int) -> bytes:
    """A zip that is all directory: so many members without a name or content."""
    member = b"PK\1\2" + bytes(42)
    directory = member * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    return directory + end


def onnx_members() -> dict[str, bytes]:
    changes = {
        "loader": "mlflow.onnx",
        "flavor": "onnx",
        "key": "data",
        "payload": "model.onnx",
        "form": "onnx",
    }
    return members(graphs.of_pipeline(), changes)


@cache
def hostile() -> dict[str, bytes]:
    """Folders and archives that are never accepted, by what they try."""
    good = members()
    text = good["model/MLmodel"].decode()
    return {
        "mlflow_other_loader": zipped(members(changes={"loader": "code.evil"})),
        "mlflow_code": zipped(members(changes={"more": ""}, **{"model/code/evil.py": b"import os"})),
        "mlflow_names_code": zipped(
            {**good, "model/MLmodel": text.replace("env:", "code: code\n    env:").encode()}
        ),
        "mlflow_payload_above": zipped(
            {
                **good,
                "model/MLmodel": text.replace("pickled_model: model.pkl", "pickled_model: ../x").encode(),
            }
        ),
        "mlflow_payload_absolute": zipped(
            {
                **good,
                "model/MLmodel": text.replace(
                    "pickled_model: model.pkl", "pickled_model: /etc/passwd"
                ).encode(),
            }
        ),
        "mlflow_tag": zipped(
            {**good, "model/MLmodel": b"a: !!python/object/apply:os.system [id]\n" + text.encode()}
        ),
        "mlflow_anchors": zipped({**good, "model/MLmodel": b"a: &a [1]\nb: *a\n" + text.encode()}),
        "mlflow_deep": zipped({**good, "model/MLmodel": b"a: " + b"[" * 5000 + b"]" * 5000}),
        "mlflow_long_number": zipped(
            {**good, "model/MLmodel": b"a: 1" + b":1" * 100_000 + b"\n" + text.encode()}
        ),
        "mlflow_huge_number": zipped(
            {**good, "model/MLmodel": b"a: 1" + b":1" * 400 + b":1.5\n" + text.encode()}
        ),
        "mlflow_nested": zipped(members(zipped(good))),
        "mlflow_two": zipped({**good, "other/MLmodel": manifest()}),
        "zip_slip": zipped({**good, "model/../../evil": b"x"}),
        "zip_absolute": zipped({**good, "/etc/evil": b"x"}),
        "zip_link": with_link(good),
        "zip_same_name": zipped({**good, "model/MLMODEL": b"x"}),
        "zip_control": zipped({**good, "model/a\nb": b"x"}),
        "zip_bomb": zipped({**good, "model/zeros": bytes(64 << 20)}),
        "zip_of_many": of_members(100_000),
        "zip_cut": zipped(good)[:-200],
        "tar_slip": tarred({**good, "model/../../evil": b"x"}),
        "tar_absolute": tarred({**good, "/etc/evil": b"x"}),
        "tar_symlink": tarred(good, "w:gz", special(tarfile.SYMTYPE)),
        "tar_hardlink": tarred(good, "w:gz", special(tarfile.LNKTYPE, target="model/MLmodel")),
        "tar_device": tarred(good, "w:gz", special(tarfile.CHRTYPE)),
        "tar_pipe": tarred(good, "w:gz", special(tarfile.FIFOTYPE)),
        "tar_same_name": tarred({**good, "./model/MLmodel": b"x"}),
        "tar_cut": tarred(good)[:-400],
        "tar_bomb": tarred({**good, "model/zeros": bytes(64 << 20)}),
    }


@cache
def hostile_graphs() -> dict[str, bytes]:
    """Graphs that reach out, never end, or hide code."""
    whole = graphs.of_estimator("forest")
    middle = len(whole) // 2
    return {
        "onnx_external_above": graphs.external("../../../etc/passwd"),
        "onnx_external_absolute": graphs.external("/etc/passwd"),
        "onnx_endless": graphs.endless(),
        "onnx_custom": graphs.data(
            [graphs.node("Run", domain="evil")],
            opsets=[*graphs.OPSETS, graphs.helper.make_opsetid("evil", 1)],
        ),
        "onnx_cut": whole[:middle],
        "onnx_lengths": whole[:middle] + bytes(8) + whole[middle + 8 :],
    }
