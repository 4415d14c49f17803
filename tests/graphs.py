"""Small ONNX graphs, made by hand or from the estimators of `trained`, and the bytes of such files."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.preprocessing import StandardScaler

from tests import trained

ML = "ai.onnx.ml"
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)]
TREE = {
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [1, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_values": [0.5, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "class_treeids": [0, 0],
    "class_nodeids": [1, 2],
    "class_ids": [0, 1],
    "class_weights": [1.0, 1.0],
    "classlabels_int64s": [0, 1],
    "post_transform": "NONE",
}


def tensor(name: str, shape: Sequence[int | str | None], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, values: Any) -> Any:
    return numpy_helper.from_array(np.asarray(values), name)


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
    constants: Sequence[Any] = (),
    opsets: Sequence[Any] = OPSETS,
    **more: Any,
) -> Any:
    graph = helper.make_graph(
        nodes,
        "graph",
        inputs or [tensor("X", [None, 2])],
        outputs or [tensor("Y", [None, 2])],
        constants,
    )
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, **more)


def data(nodes: Sequence[Any], *more: Any, **named: Any) -> bytes:
    found: bytes = model(nodes, *more, **named).SerializeToString()
    return found


def node(operator: str, inputs: str = "X", outputs: str = "Y", domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), outputs.split(), domain=domain, **attributes)


def tree(**changes: Any) -> bytes:
    """One tree of three nodes; `changes` make it worse."""
    outputs = [tensor("label", [None], TensorProto.INT64), tensor("scores", [None, 2])]
    return data(
        [node("TreeEnsembleClassifier", "X", "label scores", ML, **(TREE | changes))], outputs=outputs
    )


def chain(levels: int) -> bytes:
    """One tree that is a single branch of so many levels."""
    count = 2 * levels + 1
    branches = np.arange(count) % 2 == 0
    branches[-1] = False
    numbers = np.arange(count)
    leaves = numbers[~branches]
    return tree(
        nodes_treeids=[0] * count,
        nodes_nodeids=numbers.tolist(),
        nodes_featureids=[0] * count,
        nodes_modes=["BRANCH_LEQ" if branch else "LEAF" for branch in branches],
        nodes_values=[0.5] * count,
        nodes_truenodeids=np.where(branches, numbers + 1, 0).tolist(),
        nodes_falsenodeids=np.where(branches, numbers + 2, 0).tolist(),
        class_treeids=[0] * len(leaves),
        class_nodeids=leaves.tolist(),
        class_ids=[0] * len(leaves),
        class_weights=[1.0] * len(leaves),
    )


def external(location: str) -> bytes:
    """A matrix that is said to lie in another file."""
    matrix = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[2, 2])
    matrix.data_location = TensorProto.EXTERNAL
    matrix.external_data.add(key="location", value=location)
    return data([node("MatMul", "X W")], constants=[matrix])


def endless() -> bytes:
    """A Loop whose condition stays true."""
    body = helper.make_graph(
        [node("Identity", "go_in", "go"), node("Identity", "x_in", "x")],
        "body",
        [
            tensor("i", [], TensorProto.INT64),
            tensor("go_in", [], TensorProto.BOOL),
            tensor("x_in", [None, 2]),
        ],
        [tensor("go", [], TensorProto.BOOL), tensor("x", [None, 2])],
    )
    yes = constant("yes", np.array(True))
    return data([helper.make_node("Loop", ["", "yes", "X"], ["Y"], body=body)], constants=[yes])


@cache
def of_estimator(name: str) -> bytes:
    """An estimator of `trained` on three numbers, as skl2onnx converts it by default."""
    frame = (
        trained.people().assign(member=lambda it: it["member"] * 1.0)[["age", "income", "member"]].fillna(0)
    )
    numbers = StandardScaler().fit_transform(frame).astype(np.float32)
    target = "income_next" if name.startswith("to_") else "repaid"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter reads what scikit-learn 1.9 deprecates
        fitted = trained.ESTIMATORS[name]().fit(numbers, trained.people()[target])
        found: bytes = to_onnx(fitted, numbers[:1]).SerializeToString()
    return found


def reparsed(content: bytes) -> Any:
    return onnx.ModelProto.FromString(content)


@cache
def of_pipeline() -> bytes:
    """The pipeline of `trained.without_gaps`, one input per column."""
    kinds = {"city": StringTensorType([None, 1])}
    inputs = [(column, kinds.get(column, FloatTensorType([None, 1]))) for column in trained.INPUTS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = convert_sklearn(trained.without_gaps(), initial_types=inputs)
    found: bytes = converted.SerializeToString()
    return found


def for_the_jail() -> dict[str, bytes]:
    """Standard operators with bad numbers: such files are kept, and nothing but the jail opens them."""
    return {
        "tree_child_out_of_range": tree(nodes_truenodeids=[9, 0, 0]),
        "tree_cycle": tree(nodes_truenodeids=[0, 0, 0]),
        "tree_column_out_of_range": tree(nodes_featureids=[1 << 30, 0, 0]),
        "tree_too_deep": chain(20_000),
        "size_out_of_the_data": data([node("Cast", "X", "n", to=TensorProto.INT64), node("Expand", "X n")]),
    }
