"""What an ONNX file says of itself, and the rules that hold wherever it is opened.

The bytes are never handed to `onnx.load` with a path, so nothing can be looked up beside them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from registry.errors import Refused

from . import wire
from .refusals import damaged, refused, shown, too_large

STANDARD, ML = "", "ai.onnx.ml"
DOMAINS = {"": STANDARD, "ai.onnx": STANDARD, ML: ML}
MAX_NODES = 50_000
MAX_VALUES = 10_000
MAX_NAME = 1_000
MAX_TEXT = 1_000
MAX_METADATA = 100
MAX_ELEMENTS = 1 << 31
MAX_RANK = 16
LEAST_OPSET = 7
#: Operators with a graph inside that always end: once, or once for each member of a list.
ENDING = frozenset({"If", "Scan"})


@dataclass(frozen=True)
class Value:
    """An input or output: a tensor, or what ZipMap makes (one map from class to probability for each row)."""

    name: str
    type: str
    shape: tuple[int | None, ...] | None = None
    is_maps: bool = False
    keys: str = ""


@dataclass(frozen=True)
class Graph:
    """A small description of a file that has passed a gate."""

    size: int
    ir_version: int
    opsets: dict[str, int]
    producer: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operators: dict[str, int]
    metadata: dict[str, str] = field(default_factory=dict)
    #: What its classifier answers, where the file says so.
    classes: tuple[str | int, ...] = ()
    #: For one row, known only to the narrow gate: numbers in the widest tensor, numbers made in all, and work.
    widest: int = 0
    numbers: int = 0
    work: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def parse(data: bytes) -> Any:
    """The ModelProto of bytes that `wire` has bounded; Invalid for all others."""
    import onnx
    from google.protobuf.message import DecodeError

    wire.walk(data)
    try:
        return onnx.ModelProto.FromString(data)
    except DecodeError:
        raise damaged() from None


def describe(model: Any, size: int) -> Graph:
    graph = model.graph
    own = {each.name for each in graph.initializer}
    return Graph(
        size=size,
        ir_version=model.ir_version,
        opsets={domain_of(each.domain) or "ai.onnx": each.version for each in model.opset_import},
        producer=shown(f"{model.producer_name} {model.producer_version}".strip()),
        inputs=tuple(_value(each) for each in graph.input if each.name not in own),
        outputs=tuple(_value(each) for each in graph.output),
        operators=dict(sorted(Counter(operator_of(node) for node in graph.node).items())),
        metadata={
            shown(each.key, MAX_NAME): shown(each.value, MAX_TEXT)
            for each in model.metadata_props[:MAX_METADATA]
        },
        classes=_classes(graph),
    )


def _classes(graph: Any) -> tuple[str | int, ...]:
    """The labels of the last operator that names some: ZipMap, or the classifier itself."""
    for node in reversed(graph.node):
        if not node.op_type.endswith(("Classifier", "ZipMap")):
            continue
        for attribute in node.attribute:
            if attribute.name.startswith("classlabels_") and len(attribute.strings) <= MAX_VALUES:
                texts = [shown(text.decode("utf-8", "replace"), MAX_TEXT) for text in attribute.strings]
                return (*texts, *attribute.ints[:MAX_VALUES])
    return ()


def domain_of(name: str) -> str:
    domain = DOMAINS.get(name)
    if domain is None:
        raise refused(
            "custom_operator",
            _("The ONNX file uses operators of “%(domain)s”, which are not part of ONNX.")
            % {"domain": shown(name)},
            _("Export the model with standard operators only (ai.onnx and ai.onnx.ml)."),
        )
    return domain


def operator_of(node: Any) -> str:
    """The operator's name, with its domain where that is not the usual one."""
    domain = domain_of(node.domain)
    return f"{domain}.{node.op_type}" if domain else str(node.op_type)


def place_of(node: Any) -> str:
    """A node as a person can find it: its name where it has one, else what it makes."""
    return shown(node.name or next(iter(node.output), "") or node.op_type)


def check(model: Any) -> None:
    """What holds for every file: no code, no files, nothing endless, and lists of a length that can be read."""
    graph = model.graph
    if not graph.node or not graph.output:
        raise damaged(_("it has no operators or no outputs"))
    _check_heads(model)
    if len(graph.input) > MAX_VALUES or len(graph.output) > MAX_VALUES:
        raise too_large(_("inputs or outputs"), max(len(graph.input), len(graph.output)), MAX_VALUES)
    count = 0
    for body in bodies(graph):
        count += len(body.node)
        if count > MAX_NODES:
            raise too_large(_("operators"), count, MAX_NODES)
        _check_body(body)


def bodies(graph: Any) -> Iterator[Any]:
    """A graph, and those inside its operators; `wire` has bounded how deep they lie."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inside in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from bodies(inside)


def _check_body(graph: Any) -> None:
    if graph.sparse_initializer:
        raise _sparse()
    for name in _names(graph):
        if len(name) > MAX_NAME:
            raise too_large(_("characters in a name"), len(name), MAX_NAME)
        if not name.isprintable():
            raise damaged(_("a name is not text"))
    for tensor in graph.initializer:
        check_tensor(tensor, tensor.name)
    for node in graph.node:
        domain_of(node.domain)
        _check_node(node)


def _check_heads(model: Any) -> None:
    versions: dict[str, int] = {}
    for each in model.opset_import:
        domain = domain_of(each.domain)
        if versions.setdefault(domain, each.version) != each.version:
            raise damaged(_("it names two versions of one operator set"))
    _check_opset(versions.get(STANDARD, 1 if ML in versions else 0))
    if model.functions:
        raise _no_functions()
    if model.training_info:
        raise refused(
            "training",
            _("The ONNX file carries instructions for training."),
            _("Export the model for inference only."),
        )


def _check_opset(version: int) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if version == 1 or LEAST_OPSET <= version <= newest:
        return
    raise refused(
        "opset",
        _("The ONNX file uses operator set %(version)d; %(least)d to %(newest)d are understood here.")
        % {"version": version, "least": LEAST_OPSET, "newest": newest},
        _("Export it again with target_opset=%(opset)d.") % {"opset": min(newest, 21)},
    )


def _sparse() -> Refused:
    return refused(
        "sparse",
        _("The ONNX file keeps its numbers in sparse tensors."),
        _("Export it with dense tensors."),
    )


def _no_functions() -> Refused:
    return refused(
        "functions",
        _("The ONNX file defines functions of its own, which can hide other operators."),
        _("Export it with functions inlined (onnx.inliner.inline_local_functions)."),
    )


def _names(graph: Any) -> Iterator[str]:
    for each in (*graph.input, *graph.output, *graph.initializer):
        yield each.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)


def _check_node(node: Any) -> None:
    import onnx

    kinds = onnx.AttributeProto
    if len({attribute.name for attribute in node.attribute}) < len(node.attribute):
        raise damaged(_("an operator has two attributes of one name"))
    for attribute in node.attribute:
        has_body = attribute.HasField("g") or attribute.graphs
        if (has_body or attribute.type in (kinds.GRAPH, kinds.GRAPHS)) and node.op_type not in ENDING:
            raise refused(
                "control_flow",
                _(
                    "Operator “%(operator)s” (%(place)s) contains a graph of its own, which may repeat without an end."
                )
                % {"operator": shown(node.op_type), "place": place_of(node)},
                _("Export the model without Loop: unroll it, or use LSTM, GRU or RNN operators."),
            )
        if attribute.ref_attr_name:
            raise _no_functions()
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise _sparse()
        for tensor in _tensors(attribute):
            check_tensor(tensor, place_of(node))


def _tensors(attribute: Any) -> Iterable[Any]:
    return [attribute.t, *attribute.tensors] if attribute.HasField("t") else attribute.tensors


def check_tensor(tensor: Any, place: str) -> None:
    """Its numbers are in the file, and as many as its shape says."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise refused(
            "external_data",
            _("Tensor “%(name)s” keeps its numbers in another file.") % {"name": shown(place)},
            _("Save the model as one file: onnx.save_model(model, path, save_as_external_data=False)."),
        )
    if tensor.HasField("segment"):
        raise damaged(_("tensor “%(name)s” is in segments") % {"name": shown(place)})
    expected = elements_of(tensor, place)
    found = _held(tensor)
    if found != expected:
        raise damaged(
            _("tensor “%(name)s” should have %(expected)d numbers, and has %(found)d")
            % {"name": shown(place), "expected": expected, "found": found}
        )


def elements_of(tensor: Any, place: str) -> int:
    if len(tensor.dims) > MAX_RANK or any(side < 0 or side > MAX_ELEMENTS for side in tensor.dims):
        raise damaged(_("tensor “%(name)s” has an impossible shape") % {"name": shown(place)})
    return math.prod(tensor.dims)


def _held(tensor: Any) -> int:
    """How many numbers a tensor holds. Those smaller than a byte fill its last byte only in part."""
    import onnx

    names = onnx.TensorProto.DataType
    if tensor.data_type not in names.values() or tensor.data_type == onnx.TensorProto.UNDEFINED:
        raise damaged(_("a tensor is of an unknown type"))
    kind = names.Name(tensor.data_type)
    bits = _BITS.get(kind)
    if bits is None:
        return len(tensor.string_data)
    if tensor.HasField("raw_data"):
        held = len(tensor.raw_data) * 8
        wanted = math.prod(tensor.dims) * bits
        return math.prod(tensor.dims) if held == -(-wanted // 8) * 8 else held // bits
    listed = getattr(tensor, _LISTS.get(kind, "int32_data"))
    packed = 8 // bits if bits < 8 else 1
    count = len(listed) // (2 if kind.startswith("COMPLEX") else 1)
    if packed > 1:
        return math.prod(tensor.dims) if count == -(-math.prod(tensor.dims) // packed) else count
    return count


_BITS = {
    "FLOAT": 32, "DOUBLE": 64, "FLOAT16": 16, "BFLOAT16": 16, "INT8": 8, "UINT8": 8, "INT16": 16, "UINT16": 16,
    "INT32": 32, "UINT32": 32, "INT64": 64, "UINT64": 64, "BOOL": 8, "COMPLEX64": 64, "COMPLEX128": 128,
    "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8,
    "INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2,
}  # fmt: skip
_LISTS = {
    "FLOAT": "float_data", "COMPLEX64": "float_data", "DOUBLE": "double_data", "COMPLEX128": "double_data",
    "INT64": "int64_data", "UINT64": "uint64_data", "UINT32": "uint64_data",
}  # fmt: skip


def _value(info: Any) -> Value:
    kind = info.type.WhichOneof("value")
    if kind == "tensor_type":
        return Value(info.name, *_tensor_type(info.type.tensor_type))
    if kind == "sequence_type" and info.type.sequence_type.elem_type.WhichOneof("value") == "map_type":
        inside = info.type.sequence_type.elem_type.map_type
        return Value(
            info.name,
            _type_name(inside.value_type.tensor_type.elem_type),
            is_maps=True,
            keys=_type_name(inside.key_type),
        )
    return Value(info.name, kind or "")


def _tensor_type(kind: Any) -> tuple[str, tuple[int | None, ...] | None]:
    shape = None
    if kind.HasField("shape"):
        sides = kind.shape.dim[:MAX_RANK]
        shape = tuple(side.dim_value if side.dim_value > 0 else None for side in sides)
    return _type_name(kind.elem_type), shape


def _type_name(number: int) -> str:
    import onnx

    names = onnx.TensorProto.DataType
    return str(names.Name(number)).lower() if number in names.values() else "unknown"
