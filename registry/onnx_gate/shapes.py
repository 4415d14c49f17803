"""The operators of the narrow gate, each with the shape of what it makes from the shapes of what it is given.

A side of a shape is a number, or ROWS: as many as there are rows in the question. Nothing may have ROWS twice, so
memory grows with the rows and no faster, by a factor that is known (`widest`). An operator without a function here, or
whose result cannot be foreseen, is refused; such a file is still welcome in the jail.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from django.utils.translation import gettext as _

from registry.errors import Refused

from . import kinds
from .graph import ML, Graph, check_tensor, domain_of, elements_of, place_of
from .refusals import refused, shown

ROWS = None
Side = int | None
Shape = tuple[Side, ...]
#: Stands for what ZipMap makes: an answer, and nothing that another operator may take.
MAPS: Shape = (-1,)

MAX_WIDTH = 1 << 16
MAX_CONSTANT = 1 << 26
#: Numbers made, and multiplied, for one row (and once for what is constant).
MAX_WORK = 1 << 28
MAX_KNOWN = 1 << 10
MAX_TEXT = 1_000
LEAST_OPSET = 9


class Unforeseen(Exception):
    """The shape of a result does not follow from what the file says."""


def _unforeseen(why: str) -> Unforeseen:
    return Unforeseen(why)


class Node:
    """One operator at work: what it is given, and what is known of that."""

    def __init__(self, node: Any, walk: "Walk") -> None:
        self.proto = node
        self.walk = walk
        self.inputs = [walk.shape_of(name) if name else None for name in node.input]
        self.attributes = {each.name: each for each in node.attribute}

    def shape(self, index: int = 0) -> Shape:
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None or found == MAPS:
            raise _unforeseen(_("an input is missing"))
        return found

    def given(self) -> list[Shape]:
        return [self.shape(index) for index, name in enumerate(self.proto.input) if name]

    def integer(self, name: str, default: int) -> int:
        return int(self.attributes[name].i) if name in self.attributes else default

    def integers(self, name: str, index: int) -> list[int] | None:
        """A list that is an attribute in older operator sets and a constant input in newer ones."""
        if name in self.attributes:
            return list(self.attributes[name].ints)
        return self.constant(index)

    def constant(self, index: int) -> list[int] | None:
        if index >= len(self.proto.input) or not self.proto.input[index]:
            return None
        values = self.walk.known.get(self.proto.input[index])
        if values is None:
            raise _unforeseen(_("a shape, axis or position is computed instead of constant"))
        return values

    def count(self, *names: str) -> int:
        """Members of the one list attribute that is given among these."""
        for name in names:
            each = self.attributes.get(name)
            if each is not None:
                return len(each.ints) or len(each.floats) or len(each.strings)
        return 0


class Walk:
    """The shapes along the graph, in its order."""

    def __init__(self, model: Any, found: Graph) -> None:
        self.opset = found.opsets.get("ai.onnx", 1)
        self.shapes: dict[str, Shape] = {}
        self.known: dict[str, list[int]] = {}
        self.widest = 0
        self.numbers = 0
        self.work = 0
        self.floats = kinds.of_graph(model.graph)
        self.outputs = [each.name for each in model.graph.output]
        if self.opset < LEAST_OPSET and found.opsets.get("ai.onnx", 0):
            raise refused(
                "opset",
                _("Operator set %(version)d is too old for the fast path; at least %(least)d is needed.")
                % {"version": self.opset, "least": LEAST_OPSET},
                _("Export it again with target_opset=17."),
            )
        for tensor in model.graph.initializer:
            self.keep(tensor.name, tuple(tensor.dims))
            self.learn(tensor.name, tensor)
        for each in found.inputs:
            self._begin(each.name, each.shape)

    def _begin(self, name: str, shape: Shape | None) -> None:
        if not shape or shape[0] is not ROWS or any(side is None for side in shape[1:]):
            raise refused(
                "input_shape",
                _(
                    "Input “%(name)s” is not a table whose number of columns is known and whose number of rows is free."
                )
                % {"name": shown(name)},
                _("Export it with the input shape [None, columns]."),
            )
        self.keep(name, shape)

    def shape_of(self, name: str) -> Shape:
        if name not in self.shapes:
            raise _unforeseen(_("it takes “%(name)s” before anything made it") % {"name": shown(name)})
        return self.shapes[name]

    def keep(self, name: str, shape: Shape) -> None:
        if name in self.shapes:
            raise _unforeseen(_("two operators make “%(name)s”") % {"name": shown(name)})
        if shape != MAPS:
            width = math.prod(side for side in shape if side is not ROWS)
            if shape.count(ROWS) > 1 or width > (MAX_WIDTH if ROWS in shape else MAX_CONSTANT):
                raise _unforeseen(_("it makes too many numbers for one row"))
            if ROWS in shape:
                self.widest = max(self.widest, width)
                self.numbers += width
            self.toil(width)
        self.shapes[name] = shape

    def toil(self, amount: int) -> None:
        self.work += amount
        if self.work > MAX_WORK:
            raise _unforeseen(_("it makes too much work for one row"))

    def toil_at(self, node: Any, amount: int) -> None:
        try:
            self.toil(amount)
        except Unforeseen as why:
            raise _not_here(node, str(why)) from None

    def learn(self, name: str, tensor: Any) -> None:
        """Small whole numbers may be axes or shapes of what follows."""
        import onnx
        from onnx import numpy_helper

        check_tensor(tensor, name)
        whole = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
        if tensor.data_type in whole and elements_of(tensor, name) <= MAX_KNOWN:
            self.known[name] = [int(value) for value in np.ravel(numpy_helper.to_array(tensor))]

    def step(self, proto: Any) -> None:
        operators = ML_OPERATORS if domain_of(proto.domain) == ML else OPERATORS
        operator = operators.get(proto.op_type)
        if operator is None:
            raise _not_here(proto, _("is not among those that the fast path opens"))
        if kinds.divides_whole_numbers(proto, self.floats):
            raise _not_here(proto, _("divides what may be whole numbers"))
        try:
            node = Node(proto, self)
            _check_texts(node)
            made = operator(node)
            for name, shape in zip(proto.output, made, strict=False):
                if name:
                    self.keep(name, shape)
            if len(proto.output) > len(made):
                raise _unforeseen(_("it has more outputs than it makes"))
            self.floats |= kinds.made_by(proto, self.floats)
        except Unforeseen as why:
            raise _not_here(proto, str(why)) from None
        except (IndexError, ValueError, TypeError, OverflowError):
            raise _not_here(proto, _("its parts do not fit each other")) from None

    def finish(self) -> None:
        for name in self.outputs:
            if name not in self.shapes:
                raise refused(
                    "output",
                    _("Nothing makes the output “%(name)s”.") % {"name": shown(name)},
                    _("Export it again."),
                )


def _check_texts(node: Node) -> None:
    for each in node.attributes.values():
        if len(each.s) > MAX_TEXT or any(len(text) > MAX_TEXT for text in each.strings):
            raise _unforeseen(_("a text is longer than %(limit)d characters") % {"limit": MAX_TEXT})


def _not_here(proto: Any, why: str) -> Refused:
    return refused(
        "not_narrow",
        _("Operator “%(operator)s” (%(place)s): %(why)s.")
        % {"operator": shown(proto.op_type), "place": place_of(proto), "why": why},
        _("It may still be served by the model service."),
    )


# --- shapes from shapes ---


def broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(_same_side(sides) for sides in zip(*padded, strict=True))


def _same_side(sides: Sequence[Side]) -> Side:
    wide = {side for side in sides if side != 1}
    if len(wide) > 1:
        raise _unforeseen(_("its inputs have different shapes"))
    return wide.pop() if wide else 1


def axis_of(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise _unforeseen(_("an axis is out of range"))
    return axis % rank


def product(shape: Shape) -> Side:
    """All sides multiplied: ROWS where rows are all that there is."""
    width = math.prod(side for side in shape if side is not ROWS)
    if ROWS not in shape:
        return width
    if width != 1:
        raise _unforeseen(_("it mixes rows and columns"))
    return ROWS


def _same(node: Node) -> list[Shape]:
    return [node.shape()]


def _elementwise(node: Node) -> list[Shape]:
    return [broadcast(node.given())]


def _matmul(node: Node) -> list[Shape]:
    left, right = node.shape(0), node.shape(1)
    is_row, is_column = len(left) == 1, len(right) == 1
    left, right = (1, *left) if is_row else left, (*right, 1) if is_column else right
    if len(left) < 2 or len(right) < 2 or left[-1] != right[-2] or left[-1] is ROWS:
        raise _unforeseen(_("its inputs have different shapes"))
    stacked = broadcast([left[:-2], right[:-2]])
    made = (*stacked, *(() if is_row else (left[-2],)), *(() if is_column else (right[-1],)))
    _count_products(node, made, left[-1])
    return [made]


def _gemm(node: Node) -> list[Shape]:
    left, right = node.shape(0), node.shape(1)
    left = left[::-1] if node.integer("transA", 0) else left
    right = right[::-1] if node.integer("transB", 0) else right
    if len(left) != 2 or len(right) != 2 or left[1] != right[0] or left[1] is ROWS:
        raise _unforeseen(_("its inputs have different shapes"))
    made = (left[0], right[1])
    if len(node.given()) > 2 and broadcast([made, node.shape(2)]) != made:
        raise _unforeseen(_("its inputs have different shapes"))
    _count_products(node, made, left[1])
    return [made]


def _count_products(node: Node, made: Shape, inner: int) -> None:
    node.walk.toil(inner * math.prod(side for side in made if side is not ROWS))


def _reduce(node: Node) -> list[Shape]:
    shape, keep = node.shape(), node.integer("keepdims", 1)
    axes = node.integers("axes", 1)
    if not axes and node.integer("noop_with_empty_axes", 0):
        return [shape]
    gone = {axis_of(axis, len(shape)) for axis in (axes or range(len(shape)))}
    return [
        tuple(1 if place in gone else side for place, side in enumerate(shape) if keep or place not in gone)
    ]


def _arg(node: Node) -> list[Shape]:
    shape = node.shape()
    axis = axis_of(node.integer("axis", 0), len(shape))
    kept = (1,) if node.integer("keepdims", 1) else ()
    return [(*shape[:axis], *kept, *shape[axis + 1 :])]


def _concat(node: Node) -> list[Shape]:
    given = node.given()
    axis = axis_of(node.integer("axis", 1), len(given[0]))
    for shape in given:
        if (*shape[:axis], *shape[axis + 1 :]) != (*given[0][:axis], *given[0][axis + 1 :]):
            raise _unforeseen(_("its inputs have different shapes"))
    sides = [shape[axis] for shape in given]
    if ROWS in sides:
        if len(sides) > 1:
            raise _unforeseen(_("it puts rows below rows"))
        return [given[0]]
    return [(*given[0][:axis], sum(side for side in sides if side is not None), *given[0][axis + 1 :])]


def _reshape(node: Node) -> list[Shape]:
    shape, wanted = node.shape(), node.constant(1) if "shape" not in node.attributes else None
    wanted = list(node.attributes["shape"].ints) if wanted is None else wanted
    if node.integer("allowzero", 0):
        raise _unforeseen(_("it uses allowzero"))
    made: list[Side] = [shape[place] if side == 0 else side for place, side in enumerate(wanted)]
    if made.count(-1) > 1 or any(side is not None and side < -1 for side in made):
        raise _unforeseen(_("an axis is out of range"))
    if -1 in made:
        made[made.index(-1)] = _rest(shape, [side for side in made if side != -1])
    if _content(tuple(made)) != _content(shape):
        raise _unforeseen(_("it mixes rows and columns"))
    return [tuple(made)]


def _rest(shape: Shape, others: Sequence[Side]) -> Side:
    """What remains for the side written as -1."""
    rows, width = _content(shape)
    other_rows, other_width = _content(tuple(others))
    if other_width == 0 or width % other_width:
        raise _unforeseen(_("it mixes rows and columns"))
    if rows == other_rows:
        return width // other_width
    if width == other_width:
        return ROWS
    raise _unforeseen(_("it mixes rows and columns"))


def _content(shape: Shape) -> tuple[int, int]:
    return shape.count(ROWS), math.prod(side for side in shape if side is not ROWS)


def _flatten(node: Node) -> list[Shape]:
    shape = node.shape()
    axis = node.integer("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [(product(shape[:axis]), product(shape[axis:]))]


def _squeeze(node: Node) -> list[Shape]:
    shape, axes = node.shape(), node.integers("axes", 1)
    if axes is None:
        raise _unforeseen(_("it does not say which axes"))
    gone = {axis_of(axis, len(shape)) for axis in axes}
    if any(shape[axis] != 1 for axis in gone):
        raise _unforeseen(_("an axis is out of range"))
    return [tuple(side for place, side in enumerate(shape) if place not in gone)]


def _unsqueeze(node: Node) -> list[Shape]:
    shape, axes = node.shape(), node.integers("axes", 1) or []
    rank = len(shape) + len(axes)
    new = {axis_of(axis, rank) for axis in axes}
    if len(new) != len(axes) or rank > 16:
        raise _unforeseen(_("an axis is out of range"))
    rest = iter(shape)
    return [tuple(1 if place in new else next(rest) for place in range(rank))]


def _transpose(node: Node) -> list[Shape]:
    shape = node.shape()
    order = list(node.attributes["perm"].ints) if "perm" in node.attributes else list(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise _unforeseen(_("an axis is out of range"))
    return [tuple(shape[place] for place in order)]


def _gather(node: Node) -> list[Shape]:
    shape, indices = node.shape(0), node.shape(1)
    axis = axis_of(node.integer("axis", 0), len(shape))
    return [(*shape[:axis], *indices, *shape[axis + 1 :])]


def _gather_elements(node: Node) -> list[Shape]:
    return [node.shape(1)]


def _slice(node: Node) -> list[Shape]:
    shape = node.shape()
    starts, ends = node.integers("starts", 1), node.integers("ends", 2)
    if starts is None or ends is None or len(starts) != len(ends):
        raise _unforeseen(_("a shape, axis or position is computed instead of constant"))
    axes = node.integers("axes", 3) or list(range(len(starts)))
    steps = node.constant(4) or [1] * len(starts)
    made = list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis_of(axis, len(shape))
        side = made[place]
        if side is ROWS:
            raise _unforeseen(_("it takes some of the rows"))
        made[place] = len(range(side)[slice(start, end, step)])
    return [tuple(made)]


def _split(node: Node) -> list[Shape]:
    shape = node.shape()
    axis = axis_of(node.integer("axis", 0), len(shape))
    sizes = node.integers("split", 1)
    side, parts = shape[axis], len(node.proto.output)
    if side is ROWS:
        raise _unforeseen(_("it takes some of the rows"))
    if sizes is None:
        if side % parts:
            raise _unforeseen(_("its parts do not fit each other"))
        sizes = [side // parts] * parts
    if sum(sizes) != side or min(sizes) < 0:
        raise _unforeseen(_("its parts do not fit each other"))
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _topk(node: Node) -> list[Shape]:
    shape, many = node.shape(), node.constant(1) if node.walk.opset >= 10 else [node.integer("k", 0)]
    axis = axis_of(node.integer("axis", -1), len(shape))
    side = shape[axis]
    if not many or side is ROWS or not 0 < many[0] <= side:
        raise _unforeseen(_("it takes some of the rows"))
    made = (*shape[:axis], many[0], *shape[axis + 1 :])
    return [made, made]


def _constant(node: Node) -> list[Shape]:
    name, each = node.proto.output[0], next(iter(node.attributes.values()))
    if each.name == "value":
        node.walk.learn(name, each.t)
        return [tuple(each.t.dims)]
    if each.name == "value_ints":
        if len(each.ints) <= MAX_KNOWN:
            node.walk.known[name] = list(each.ints)
        return [(len(each.ints),)]
    if each.name == "value_int":
        node.walk.known[name] = [each.i]
        return [()]
    lists = {"value_floats": each.floats, "value_strings": each.strings}
    return [(len(lists[each.name]),)] if each.name in lists else [()]


# --- ai.onnx.ml ---


def _table(node: Node) -> tuple[Side, int]:
    shape = node.shape()
    if len(shape) != 2 or shape[1] is ROWS:
        raise _unforeseen(_("it expects rows and columns"))
    return shape[0], shape[1]


def _classifier(node: Node) -> list[Shape]:
    rows, _columns = _table(node)
    return [
        (rows,),
        (rows, max(node.count("classlabels_strings", "classlabels_int64s", "classlabels_ints"), 2)),
    ]


def _svm_classifier(node: Node) -> list[Shape]:
    rows, _columns = _table(node)
    classes = node.count("classlabels_strings", "classlabels_ints")
    pairs = classes * (classes - 1) // 2
    is_linear = not node.count("vectors_per_class")
    wide = classes if node.count("prob_a") or is_linear else pairs
    return [(rows,), (rows, max(wide, 2))]


def _regressor(node: Node) -> list[Shape]:
    rows, _columns = _table(node)
    targets = node.integer("n_targets", node.integer("targets", 1))
    if not 1 <= targets <= MAX_WIDTH:
        raise _unforeseen(_("its parts do not fit each other"))
    return [(rows, targets)]


def _extract(node: Node) -> list[Shape]:
    shape, positions = node.shape(0), node.shape(1)
    return [(*(shape[:-1] or (1,)), product(positions))]


def _one_hot(node: Node) -> list[Shape]:
    return [(*node.shape(), node.count("cats_strings", "cats_int64s"))]


def _join(node: Node) -> list[Shape]:
    sides = list(node.attributes["inputdimensions"].ints) if "inputdimensions" in node.attributes else []
    tables = [shape if len(shape) == 2 else (shape[0], 1) for shape in node.given()]
    if [side for _rows, side in tables] != sides or len({rows for rows, _side in tables}) != 1:
        raise _unforeseen(_("its inputs have different shapes"))
    return [(tables[0][0], sum(sides))]


def _zip_map(node: Node) -> list[Shape]:
    _table(node)
    return [MAPS]


Operator = Callable[[Node], list[Shape]]

OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(
        "Abs Cast Ceil Cos Elu Erf Exp Floor Gelu HardSigmoid Hardmax HardSwish Identity IsInf IsNaN LeakyRelu Log"
        " LogSoftmax Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Tanh"
        " ThresholdedRelu Dropout".split(),
        _same,
    ),
    **dict.fromkeys(
        "Add And Clip Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum"
        " Where Xor".split(),
        _elementwise,
    ),
    **dict.fromkeys(
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum"
        " ReduceSumSquare".split(),
        _reduce,
    ),
    "ArgMax": _arg,
    "ArgMin": _arg,
    "Concat": _concat,
    "Constant": _constant,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "TopK": _topk,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

ML_OPERATORS: dict[str, Operator] = {
    **dict.fromkeys("Binarizer CategoryMapper Imputer LabelEncoder Normalizer Scaler".split(), _same),
    "ArrayFeatureExtractor": _extract,
    "FeatureVectorizer": _join,
    "LinearClassifier": _classifier,
    "LinearRegressor": _regressor,
    "OneHotEncoder": _one_hot,
    "SVMClassifier": _svm_classifier,
    "SVMRegressor": _regressor,
    "TreeEnsembleClassifier": _classifier,
    "TreeEnsembleRegressor": _regressor,
    "ZipMap": _zip_map,
}
