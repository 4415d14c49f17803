"""The file of a compiled form: a plan as JSON, then plain arrays, then graphs; no code and no pickle.

`MAGIC`, u32 length of the head, the head as JSON, then the bytes of every array and graph in the order of the head.
"""

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"MGFORM1\n"
LENGTH = struct.Struct("<I")
ITEM_SIZES = {"<f8": 8, "<i4": 4, "|u1": 1}
MAX_FORM = 128 << 20
MAX_HEAD = 16 << 20


def pack(
    plan: dict[str, Any], arrays: list[npt.NDArray[Any]], graphs: list[bytes], made_with: dict[str, str]
) -> bytes:
    head = json.dumps(
        {
            "plan": plan,
            "arrays": [[values.dtype.newbyteorder("<").str, list(values.shape)] for values in arrays],
            "graphs": [len(graph) for graph in graphs],
            "made_with": made_with,
        },
        allow_nan=False,
    ).encode()
    body = [np.ascontiguousarray(values).tobytes() for values in arrays]
    return b"".join([MAGIC, LENGTH.pack(len(head)), head, *body, *graphs])
