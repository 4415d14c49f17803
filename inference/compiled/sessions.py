"""onnxruntime, as a form uses it: graphs from memory, one thread, nothing optimised away, nothing printed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from inference.compiled.container import Array, BadForm
from inference.compiled.errors import Declined
from inference.compiled.forests import Forest, at_most

ML = "ai.onnx.ml"
LEQ = 0  # of TreeEnsemble's node modes: a feature at most its split goes left


class Session:
    """One graph. Safe for many threads."""

    def __init__(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes share no ancestor but this one
            raise BadForm(f"a graph that does not open: {type(error).__name__}") from None
        self._input = self._session.get_inputs()[0].name
        self.outputs = [output.name for output in self._session.get_outputs()]

    def run_one(self, given: Array) -> Array:
        found: Array = self.run(given, self.outputs[:1])[0]
        return found

    def run(self, given: Array, names: Sequence[str]) -> list[Any]:
        """Ask a graph of one input."""
        return self.ask({self._input: given}, names)

    def ask(self, given: Mapping[str, Array], names: Sequence[str]) -> list[Any]:
        try:
            found: list[Any] = self._session.run(names, given)
        except Exception:  # its own classes again: whatever it is, the runner can say what these rows are
            raise Declined from None
        return found


def of_forest(forest: Forest, width: int, dtype: Any) -> Session:
    """For each row and tree the number of its leaf."""
    graph = GraphProto(name="forest")
    kind = TensorProto.FLOAT if dtype == np.float32 else TensorProto.DOUBLE
    graph.input.append(helper.make_tensor_value_info("x", kind, [None, width]))
    graph.output.append(helper.make_tensor_value_info("leaves", kind, [None, forest.trees]))
    node = graph.node.add(op_type="TreeEnsemble", domain=ML, input=["x"], output=["leaves"])
    for attribute in _attributes(forest, dtype):
        node.attribute.append(attribute)
    model = ModelProto(ir_version=10, graph=graph)
    model.opset_import.append(helper.make_opsetid(ML, 5))
    model.opset_import.append(helper.make_opsetid("", 18))
    return Session(model.SerializeToString())


def _attributes(forest: Forest, dtype: Any) -> list[AttributeProto]:
    split = _with_stumps(forest)
    leaf = np.flatnonzero(forest.is_leaf)
    threshold = at_most(split["threshold"], dtype)
    return [
        _integer("n_targets", forest.trees),
        _integer("aggregate_function", 1),  # a sum, of one leaf for each target
        _integer("post_transform", 0),
        _integers("tree_roots", split["roots"]),
        _integers("nodes_featureids", split["feature"]),
        _tensor("nodes_splits", threshold),
        _tensor("nodes_modes", np.full(len(threshold), LEQ, np.uint8)),
        _integers("nodes_truenodeids", split["left"]),
        _integers("nodes_trueleafs", split["left_is_leaf"]),
        _integers("nodes_falsenodeids", split["right"]),
        _integers("nodes_falseleafs", split["right_is_leaf"]),
        _integers("nodes_missing_value_tracks_true", split["missing_left"]),
        _integers("leaf_targetids", np.append(forest.tree[leaf], split["stump_trees"])),
        _tensor(
            "leaf_weights",
            np.append(forest.leaf_number[leaf], np.zeros(len(split["stump_trees"]))).astype(dtype),
        ),
    ]


def _with_stumps(forest: Forest) -> dict[str, Array]:
    """Splits and leaves numbered apart, as the operator wants them; a tree of one leaf splits into two alike."""
    split = np.flatnonzero(~forest.is_leaf)
    number = np.where(forest.is_leaf, np.cumsum(forest.is_leaf) - 1, np.cumsum(~forest.is_leaf) - 1)
    stumps = np.flatnonzero(forest.is_leaf[forest.roots])
    extra = np.arange(len(stumps))
    roots = number[forest.roots]
    roots[stumps] = len(split) + extra
    left, right = forest.left[split], forest.right[split]
    ones, zeros = np.ones(len(stumps), np.int64), np.zeros(len(stumps), np.int64)
    return {
        "roots": roots,
        "feature": np.append(forest.feature[split], zeros),
        "threshold": np.append(forest.threshold[split], zeros),
        "missing_left": np.append(forest.missing_left[split], zeros),
        "left": np.append(number[left], number[forest.roots[stumps]]),
        "left_is_leaf": np.append(forest.is_leaf[left], ones),
        "right": np.append(number[right], forest.leaves + extra),
        "right_is_leaf": np.append(forest.is_leaf[right], ones),
        "stump_trees": stumps,
    }


def _integer(name: str, value: int) -> AttributeProto:
    return AttributeProto(name=name, type=AttributeProto.INT, i=value)


def _integers(name: str, values: Array) -> AttributeProto:
    attribute = AttributeProto(name=name, type=AttributeProto.INTS)
    attribute.ints.extend(values.astype(np.int64).tolist())
    return attribute


def _tensor(name: str, values: Array) -> AttributeProto:
    return AttributeProto(name=name, type=AttributeProto.TENSOR, t=numpy_helper.from_array(values, name))
