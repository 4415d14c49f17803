"""What a web process may open, what the jail may serve, and that hostile bytes end in a sentence."""

import random
import threading

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from registry import onnx_gate
from registry.errors import Invalid
from registry.onnx_gate import estimators, wire
from tests import graphs
from tests.graphs import constant, data, node, tensor


@pytest.mark.parametrize(
    "name", ["logistic", "forest", "boosted", "network", "vectors", "to_boosted", "to_ridge"]
)
def test_an_estimator_as_skl2onnx_converts_it_passes_both(name):
    found = onnx_gate.narrow(graphs.of_estimator(name))

    assert found.widest >= 3
    assert [(each.type, each.shape) for each in found.inputs] == [("float", (None, 3))]
    assert onnx_gate.wide(graphs.of_estimator(name)).operators == found.operators


def test_it_describes_the_file():
    found = onnx_gate.wide(graphs.of_estimator("logistic"))

    assert found.opsets.keys() == {"ai.onnx", "ai.onnx.ml"}
    assert found.operators["ai.onnx.ml.LinearClassifier"] == 1
    label, scores = found.outputs
    assert (label.type, label.shape) == ("string", (None,))
    assert (scores.is_maps, scores.type, scores.keys) == (True, "float", "string")
    assert found.producer.startswith("skl2onnx")
    assert found.to_json()["size"] == len(graphs.of_estimator("logistic"))


FUNCTION = helper.make_function(
    "mine", "Hidden", ["a"], ["b"], [node("Identity", "a", "b")], [helper.make_opsetid("", 17)]
)
EVERYWHERE = {
    "external data above": (lambda: graphs.external("../../etc/passwd"), "onnx_external_data", "“W”"),
    "external data by absolute path": (lambda: graphs.external("/etc/passwd"), "onnx_external_data", "another file"),
    "endless loop": (graphs.endless, "onnx_control_flow", "“Loop”"),
    "custom domain": (
        lambda: data([node("Run", domain="evil")], opsets=[*graphs.OPSETS, helper.make_opsetid("evil", 1)]),
        "onnx_custom_operator",
        "“evil”",
    ),
    "unknown operator": (lambda: data([node("Evil")]), "onnx_operator", "“Evil”"),
    "functions": (lambda: data([node("Identity")], functions=[FUNCTION]), "onnx_functions", "functions"),
    "random": (lambda: data([node("RandomNormalLike")]), "onnx_operator", "RandomNormalLike"),
    "newer operator set": (
        lambda: data([node("Identity")], opsets=[helper.make_opsetid("", 999)]), "onnx_opset", "999"
    ),
    "fewer numbers than the shape": (
        lambda: data(
            [node("MatMul", "X W")],
            constants=[TensorProto(name="W", data_type=1, dims=[1 << 20, 1 << 20], raw_data=b"1234")],
        ),
        "onnx_damaged",
        "“W”",
    ),
    "no graph": (lambda: b"", "onnx_damaged", "no operators"),
}  # fmt: skip


@pytest.mark.parametrize("gate", [onnx_gate.narrow, onnx_gate.wide])
@pytest.mark.parametrize(("made", "code", "word"), EVERYWHERE.values(), ids=EVERYWHERE)
def test_it_is_opened_nowhere(gate, made, code, word):
    with pytest.raises(Invalid) as refusal:
        gate(made())

    assert refusal.value.code == code
    assert word in str(refusal.value)
    assert refusal.value.fix


FOUR = constant("four", np.array([4, 4], "int64"))
ROWS_TIMES_ROWS = [
    node("Transpose", "X", "T", perm=[1, 0]),
    node("MatMul", "X T", "Y"),
]
DOUBLED = [node("Concat", "X X", "a0", axis=1)] + [
    node("Concat", f"a{index} a{index}", f"a{index + 1}", axis=1) for index in range(40)
]
JAIL_ONLY = {
    "a convolution": (
        lambda: data(
            [node("Conv", "X W")],
            [tensor("X", [None, 1, 8, 8])],
            [tensor("Y", [None, 1, 6, 6])],
            [constant("W", np.ones((1, 1, 3, 3), "f4"))],
        ),
        "“Conv”",
    ),
    "a recurrent cell": (
        lambda: data(
            [node("GRU", "X W R", hidden_size=2)],
            [tensor("X", [None, 1, 2])],
            constants=[constant("W", np.ones((1, 6, 2), "f4")), constant("R", np.ones((1, 6, 2), "f4"))],
        ),
        "“GRU”",
    ),
    "a size out of the data": (
        lambda: data([node("Cast", "X", "n", to=TensorProto.INT64), node("Expand", "X n")]), "“Expand”"
    ),
    "a shape out of the data": (
        lambda: data([node("Cast", "X", "n", to=TensorProto.INT64), node("Reshape", "X n")]), "“Reshape”"
    ),
    "rows times rows": (lambda: data(ROWS_TIMES_ROWS), "“MatMul”"),
    "rows against rows": (
        lambda: data([node("Transpose", "X", "T", perm=[1, 0]), node("Add", "X T")]), "“Add”"
    ),
    "doubled forty times": (lambda: data(DOUBLED, outputs=[tensor("a40", [None, None])]), "“Concat”"),
    "an input of unknown width": (lambda: data([node("Relu")], [tensor("X", [None, None])]), "“X”"),
    "a fixed number of rows": (lambda: data([node("Relu")], [tensor("X", [1, 2])]), "“X”"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "word"), JAIL_ONLY.values(), ids=JAIL_ONLY)
def test_the_jail_serves_what_a_web_process_does_not_open(made, word):
    assert onnx_gate.wide(made()).operators

    with pytest.raises(Invalid) as refusal:
        onnx_gate.narrow(made())

    assert word in str(refusal.value)


BAD_TREES = {
    "child out of range": {"nodes_truenodeids": [9, 0, 0]},
    "negative child": {"nodes_truenodeids": [-1, 0, 0]},
    "a cycle": {"nodes_truenodeids": [0, 0, 0]},
    "one child twice": {"nodes_truenodeids": [2, 0, 0]},
    "column out of range": {"nodes_featureids": [2, 0, 0]},
    "negative column": {"nodes_featureids": [-1, 0, 0]},
    "short list": {"nodes_values": [0.5]},
    "class out of range": {"class_ids": [0, 2]},
    "leaf that is a branch": {"class_nodeids": [0, 2]},
    "leaf that is not there": {"class_nodeids": [1, 7]},
    "two nodes of one number": {"nodes_nodeids": [0, 1, 1]},
}


@pytest.mark.parametrize("changes", BAD_TREES.values(), ids=BAD_TREES)
def test_a_tree_that_does_not_end_is_not_opened_here(changes):
    with pytest.raises(Invalid) as refusal:
        onnx_gate.narrow(graphs.tree(**changes))

    assert "TreeEnsembleClassifier" in str(refusal.value)


def test_a_good_tree_is_opened():
    assert onnx_gate.narrow(graphs.tree()).widest == 2


def test_a_tree_as_deep_as_the_gate_allows_is_read_on_a_small_stack():
    content = graphs.chain(estimators.MAX_LEVELS - 1)
    onnx_gate.narrow(content)
    answers: list[object] = []

    def ask() -> None:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        answers.append(session.run(None, {"X": np.zeros((1, 2), "f4")}))

    before = threading.stack_size(1 << 20)
    try:
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()
    finally:
        threading.stack_size(before)

    assert answers


def test_a_deeper_tree_is_not():
    with pytest.raises(Invalid, match="deeper"):
        onnx_gate.narrow(graphs.chain(estimators.MAX_LEVELS + 1))


def test_vectors_that_lack_numbers_are_not_opened():
    changed = graphs.reparsed(graphs.of_estimator("vectors"))
    machine = next(each for each in changed.graph.node if each.op_type == "SVMClassifier")
    vectors = next(each for each in machine.attribute if each.name == "support_vectors")
    del vectors.floats[-3:]

    with pytest.raises(Invalid, match="vectors do not fit"):
        onnx_gate.narrow(changed.SerializeToString())


def test_empty_messages_are_counted_before_they_are_made(monkeypatch):
    monkeypatch.setattr(wire, "MAX_FIELDS", 50_000)
    empty_nodes = b"\x0a\x00" * (wire.MAX_FIELDS + 1)
    content = b"\x08\x0a\x3a" + _varint(len(empty_nodes)) + empty_nodes

    with pytest.raises(Invalid) as refusal:
        onnx_gate.wide(content)

    assert refusal.value.code == "onnx_too_large"


def test_messages_inside_messages_end():
    inner = b""
    for _level in range(200):  # graph > node > attribute > graph …
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            inner = tag + _varint(len(inner)) + inner
    content = b"\x3a" + _varint(len(inner)) + inner

    with pytest.raises(Invalid) as refusal:
        onnx_gate.wide(content)

    assert refusal.value.code == "onnx_nested"


def test_a_field_that_onnx_does_not_know_is_refused():
    with pytest.raises(Invalid) as refusal:
        onnx_gate.wide(data([node("Identity")]) + b"\xfa\x07\x01x")

    assert refusal.value.code == "onnx_unknown_field"


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


@pytest.mark.parametrize("name", ["logistic", "forest", "vectors"])
def test_bytes_changed_at_random_pass_or_are_refused(name):
    chance = random.Random(name)
    content = graphs.of_estimator(name)
    refused = 0
    for _round in range(400):
        changed = bytearray(content)
        for _change in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        if chance.random() < 0.3:
            del changed[chance.randrange(len(changed)) :]
        for gate in (onnx_gate.narrow, onnx_gate.wide):
            try:
                gate(bytes(changed))
            except Invalid:
                refused += 1

    assert refused > 50


def test_what_it_says_of_itself_can_be_kept_and_shown():
    made = graphs.model([graphs.node("Relu")])
    made.metadata_props.add(key="a\0", value="b\x1b[31m")

    assert onnx_gate.wide(made.SerializeToString()).metadata == {"a�": "b�[31m"}


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(Invalid):
        onnx_gate.wide(graphs.data([graphs.node("Relu", name="a\0")]))


WHOLE = [node("Cast", "X", "N", to=TensorProto.INT64), node("Cast", "D", "Y", to=TensorProto.FLOAT)]
MINUS_ONE = constant("minus", np.array([-1, -1], "int64"))


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_whole_numbers_are_divided_in_the_jail_only(operator):
    """The smallest whole number divided by -1 ends the process that asks."""
    made = data([WHOLE[0], node(operator, "N minus", "D"), WHOLE[1]], constants=[MINUS_ONE])

    with pytest.raises(Invalid, match="divides what may be whole numbers"):
        onnx_gate.narrow(made)
    onnx_gate.wide(made)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Div", "X X")],
        [node("Abs", "X", "A"), node("Div", "A A")],
        [node("Cast", "X", "A", to=TensorProto.DOUBLE), node("Div", "A A")],
        [node("Scaler", "X", "A", graphs.ML, offset=[0.0], scale=[1.0]), node("Div", "A A")],
        [node("Greater", "X X", "G"), node("Where", "G X X", "A"), node("Div", "A A")],
    ],
)
def test_other_numbers_are_divided_here(nodes):
    onnx_gate.narrow(data(nodes))


@pytest.mark.parametrize(
    "nodes",
    [
        [node("ArgMax", "X", "A", axis=1), node("Div", "A A")],
        [node("Greater", "X X", "A"), node("Cast", "A", "B", to=TensorProto.INT32), node("Mod", "B B")],
        [node("TopK", "X K", "V A", axis=1), node("Div", "A A")],
    ],
)
def test_places_and_counts_are_whole_numbers(nodes):
    made = data(nodes, constants=[constant("K", np.array([1], "int64"))])

    with pytest.raises(Invalid):
        onnx_gate.narrow(made)


def _two_trees(order):
    """Two trees of three nodes each, in this order of (tree, node)."""
    parts = {
        "nodes_treeids": [tree for tree, _node in order],
        "nodes_nodeids": [number for _tree, number in order],
        "nodes_featureids": [0] * 6,
        "nodes_modes": ["LEAF" if number else "BRANCH_LEQ" for _tree, number in order],
        "nodes_values": [0.5] * 6,
        "nodes_truenodeids": [0 if number else 1 for _tree, number in order],
        "nodes_falsenodeids": [0 if number else 2 for _tree, number in order],
        "class_treeids": [0, 0, 1, 1],
        "class_nodeids": [1, 2, 1, 2],
        "class_ids": [0, 1, 0, 1],
        "class_weights": [1.0] * 4,
    }
    return graphs.tree(**parts)


TOGETHER = [(tree, number) for tree in (0, 1) for number in (0, 1, 2)]


def test_the_nodes_of_a_tree_stand_together_its_root_first():
    """The engine begins another tree wherever the number changes: it would walk each node as a tree."""
    onnx_gate.narrow(_two_trees(TOGETHER))

    for order in (
        [(tree, number) for number in (0, 1, 2) for tree in (0, 1)],
        [(0, 1), (0, 0), (0, 2), *TOGETHER[3:]],
    ):
        with pytest.raises(Invalid, match="do not stand together"):
            onnx_gate.narrow(_two_trees(order))


@pytest.mark.parametrize(
    "changes",
    [{"nodes_modes": [1, 2, 3]}, {"nodes_featureids": [0.5, 0.5, 0.5]}, {"nodes_treeids": ["a", "b", "c"]}],
)
def test_lists_of_another_kind_are_refused(changes):
    with pytest.raises(Invalid):
        onnx_gate.narrow(graphs.tree(**changes))
