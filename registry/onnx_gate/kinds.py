"""Which values of a graph are certainly floating-point numbers.

Dividing whole numbers ends the process that asks: the smallest one by -1 is a fault of the processor (SIGFPE), which
nobody can catch. What is not known to be floating-point is taken for whole.
"""

from collections.abc import Collection
from typing import Any

#: TensorProto.DataType: FLOAT, FLOAT16, DOUBLE, BFLOAT16.
FLOATS = frozenset({1, 10, 11, 16})
DIVISIONS = frozenset({"Div", "Mod"})

_ALWAYS = frozenset(
    "FeatureVectorizer LinearRegressor Normalizer OneHotEncoder SVMRegressor Scaler TreeEnsemble"
    " TreeEnsembleRegressor".split()
)
_CLASSIFIERS = frozenset("LinearClassifier SVMClassifier TreeEnsembleClassifier".split())
_NEVER = frozenset(
    "And ArgMax ArgMin Binarizer CategoryMapper Equal Greater GreaterOrEqual IsInf IsNaN LabelEncoder Less LessOrEqual"
    " NonZero Not Or Shape Size Xor ZipMap".split()
)


def of_graph(graph: Any) -> set[str]:
    """Inputs and initializers that are floating-point."""
    given = {each.name for each in graph.input if each.type.tensor_type.elem_type in FLOATS}
    return given | {tensor.name for tensor in graph.initializer if tensor.data_type in FLOATS}


def made_by(node: Any, floats: Collection[str]) -> set[str]:
    """Those outputs of a node that are floating-point, when so many of the values before it are."""
    if node.op_type in _NEVER:
        return set()
    if node.op_type in _ALWAYS or node.op_type == "Constant":
        return set(node.output) if node.op_type in _ALWAYS or _is_float_constant(node) else set()
    if node.op_type in _CLASSIFIERS:
        return set(node.output[1:])
    if node.op_type == "Cast":
        return (
            set(node.output)
            if any(each.i in FLOATS for each in node.attribute if each.name == "to")
            else set()
        )
    kind_of = node.input[1:2] if node.op_type == "Where" else node.input[:1]
    if not set(kind_of).intersection(floats):
        return set()
    return set(node.output[:1]) if node.op_type == "TopK" else set(node.output)


def divides_whole_numbers(node: Any, floats: Collection[str]) -> bool:
    """Both operands are of one kind, so one that is known tells the other."""
    return node.op_type in DIVISIONS and not set(node.input).intersection(floats)


def _is_float_constant(node: Any) -> bool:
    return any(
        each.name in ("value_float", "value_floats") or (each.name == "value" and each.t.data_type in FLOATS)
        for each in node.attribute
    )
