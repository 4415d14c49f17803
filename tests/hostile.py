"""Files that do harm when they are opened. Each leaves a canary, so that a test can prove that none of it ran."""

import builtins
import bz2
import gzip
import io
import lzma
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np


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


def corpus(canary: Path) -> dict[str, bytes]:
    """Every file runs `touch canary` (or the like) when a careless program loads it."""
    call = touch(canary)
    plain = pickle.dumps(call)
    command = f"touch {canary}".encode()
    python = f"open({str(canary)!r}, 'w')"
    numbers = np.arange(1000.0)
    return {
        "system": plain,
        "system_protocol_0": pickle.dumps(call, protocol=0),
        "system_protocol_2": pickle.dumps(call, protocol=2),
        "inst": b"(S'" + command + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + command + b"'\no.",
        "eval": pickle.dumps(Calls(eval, python)),
        "exec": pickle.dumps(Calls(exec, python)),
        "getattr": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
        "builtins_open": pickle.dumps(Calls(builtins.open, str(canary), "w")),
        "truncated_after_the_call": plain[:-1],
        "in_an_object_array": _joblib({"a": numbers, "b": np.array([call, 1], dtype=object)}),
        "after_a_raw_array": _joblib([numbers, call]),
        "nested_in_lists": pickle.dumps([[[[call]]]]),
        "joblib_zlib": _joblib([numbers, call], compress=3),
        "joblib_gzip": _joblib([numbers, call], compress=("gzip", 3)),
        "joblib_bz2": _joblib([numbers, call], compress=("bz2", 3)),
        "joblib_lzma": _joblib([numbers, call], compress=("lzma", 3)),
        "joblib_xz": _joblib([numbers, call], compress=("xz", 3)),
        "gzip": gzip.compress(plain),
        "bz2": bz2.compress(plain),
        "xz": lzma.compress(plain),
        "zlib": zlib.compress(plain),
        "two_streams": pickle.dumps({"a": 1}) + plain,
        "dotted": b"\x80\x04\x8c\x06joblib\x8c\x10logger.os.system\x93\x8c"
        + bytes([len(command)])
        + command
        + b"\x85R.",
        "joblib_load": pickle.dumps(Calls(joblib.load, "/etc/hostname")),
        "memoised_names": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c"
        + bytes([len(command)])
        + command
        + b"\x85R.",
        "ndarray_over_bytes": pickle.dumps(Calls(np.ndarray, (1,), "O", b"A" * 8)),
        "persistent_id": b"\x80\x04\x8c\x01xQ.",
        "extension": b"\x80\x04\x82\x01.",
    }


def with_code(source: str, model: Any) -> bytes:
    """A model file that first executes Python: only a runner that admits `exec` loads it."""
    text = source.encode()
    prelude = b"\x80\x04cbuiltins\nexec\nX" + len(text).to_bytes(4, "little") + text + b"\x85R0"
    return prelude + pickle.dumps(model, protocol=4)[2:]


EXEC = (("builtins", "exec"),)
