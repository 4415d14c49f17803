"""Number arrays inside a frame. What a runner claims is checked to the byte before numpy looks at it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .wire import BadFrame

ITEM_SIZES = {"<f8": 8, "<f4": 4, "<i8": 8, "<i4": 4, "|b1": 1, "|u1": 1}
MAX_SIDE = 50_000_000


def pack(values: npt.NDArray[Any]) -> dict[str, Any]:
    kind = values.dtype.newbyteorder("<").str
    if kind not in ITEM_SIZES:
        raise TypeError(f"arrays of {values.dtype} do not travel")
    data = np.ascontiguousarray(values, kind)
    return {"dtype": kind, "shape": list(values.shape), "data": data.tobytes()}


def unpack(claim: object, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """The array, if it is exactly what was asked for: this dtype, this shape, this many bytes."""
    if not isinstance(claim, dict) or set(claim) != {"dtype", "shape", "data"}:
        raise BadFrame("not an array")
    if dtype not in ITEM_SIZES or claim["dtype"] != dtype:
        raise BadFrame(f"array of {str(claim['dtype'])[:20]!r} where {dtype} was expected")
    sides = claim["shape"]
    if not isinstance(sides, list) or not all(type(side) is int and 0 <= side <= MAX_SIDE for side in sides):
        raise BadFrame("array shape")
    if tuple(sides) != shape:
        raise BadFrame(f"array of shape {sides[:4]} where {list(shape)} was expected")
    count = 1
    for side in shape:
        count *= side
    data = claim["data"]
    if not isinstance(data, bytes) or len(data) != count * ITEM_SIZES[dtype]:
        raise BadFrame("array data does not fill its shape")
    return np.frombuffer(data, dtype).reshape(shape)
