"""Uploads in ONNX, served by the jailed runner as estimators are."""

import contextlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from inference.runners import ModelError
from tests import graphs, trained
from tests.graphs import ML, constant, data, node, tensor

pytestmark = pytest.mark.slow

NUMBERS = (("age", "number"), ("income", "number"))
TWO = pa.table({"age": [0.2, 2.0], "income": [1.0, 3.0]})
LABEL = tensor("label", [None], TensorProto.INT64)
TEXT_LABEL = tensor("label", [None], TensorProto.STRING)
CHANCES = tensor("chances", [None, 2])
SOFTMAX = [node("Softmax", "X", "chances", axis=1)]


@pytest.fixture
def opened(supervisor, make_spec):
    """What a runner says of a graph, and its answers to two rows."""

    def ask(content, table=TWO, columns=NUMBERS, **fields):
        spec = make_spec(content, form="onnx", columns=columns, **fields)
        return supervisor.client.describe(spec), supervisor.client.predict(spec, table, 20)

    return ask


def test_a_whole_pipeline_answers_as_it_did_in_scikit_learn(opened):
    rows = trained.people().dropna().head(50)
    table = pa.Table.from_pandas(rows[trained.INPUTS], preserve_index=False)
    columns = (("age", "number"), ("income", "number"), ("city", "category"), ("member", "number"))

    facts, answer = opened(graphs.of_pipeline(), table, columns)

    expected = trained.without_gaps().predict_proba(rows[trained.INPUTS])
    assert (facts.kind, facts.features) == ("classifier", tuple(trained.INPUTS))
    assert facts.versions.keys() == {"python", "onnxruntime", "numpy"}
    assert facts.encoded["city"] == "text"
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
    assert answer.labels == trained.without_gaps().predict(rows[trained.INPUTS]).tolist()


def test_a_regression_gives_its_values(opened):
    facts, answer = opened(
        graphs.of_estimator("to_ridge"),
        pa.table({name: [0.0, 1.0] for name in "abc"}),
        tuple((name, "number") for name in "abc"),
    )

    assert (facts.kind, facts.feature_count, facts.features) == ("regressor", 3, None)
    assert answer.values.shape == (2,)


def test_columns_have_the_order_of_the_names_in_the_file(opened):
    made = graphs.model([node("Gemm", "X W")], constants=[constant("W", np.array([[1], [10]], "f4"))],
                        outputs=[tensor("Y", [None, 1])])  # fmt: skip
    helper.set_model_props(made, {"feature_names": '["income", "age"]'})

    facts, answer = opened(made.SerializeToString())

    assert facts.features == ("income", "age")
    assert answer.values.tolist() == pytest.approx([1 + 2.0, 3 + 20.0])


def test_chances_without_a_label_use_the_classes_of_the_schema(opened):
    facts, answer = opened(data(SOFTMAX, outputs=[CHANCES]), classes=("low", "high"))

    assert facts.classes == ("low", "high")
    assert answer.labels == ["high", "high"]
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1, atol=1e-6)


def test_one_chance_is_that_of_the_second_class(opened):
    nodes = [node("ReduceL1", "X", "s", axes=[1], keepdims=1), node("Sigmoid", "s", "chances")]

    _facts, answer = opened(data(nodes, outputs=[tensor("chances", [None, 1])]), classes=("no", "yes"))

    np.testing.assert_allclose(answer.probabilities[:, 1], 1 / (1 + np.exp([-1.2, -5.0])), rtol=1e-5)


def test_a_label_by_number_stands_for_the_class_at_that_place(opened):
    nodes = [*SOFTMAX, node("ArgMax", "chances", "label", axis=1, keepdims=0)]

    _facts, answer = opened(data(nodes, outputs=[LABEL, CHANCES]), classes=("low", "high"))

    assert answer.labels == ["high", "high"]


def test_missing_numbers_arrive_as_nan(opened):
    nodes = [node("Imputer", "X", "Y", ML, imputed_value_floats=[7.0], replaced_value_float=float("nan")),
             node("ReduceL1", "Y", "s", axes=[1], keepdims=1)]  # fmt: skip

    _facts, answer = opened(
        data(nodes, outputs=[tensor("s", [None, 1])]), pa.table({"age": [None, 1.0], "income": [1.0, 1.0]})
    )

    assert answer.values.tolist() == [8.0, 2.0]


def test_scores_beside_a_label_are_not_taken_for_probabilities(opened):
    nodes = [node("Identity", "X", "chances"), node("ArgMax", "X", "label", axis=1, keepdims=0)]

    facts, answer = opened(data(nodes, outputs=[LABEL, CHANCES]), classes=("low", "high"))

    assert not facts.has_probabilities
    assert answer.probabilities is None
    assert any("no probabilities" in line for line in facts.warnings)


UNUSUAL = {
    "scores alone": (data([node("Identity", "X", "chances")], outputs=[CHANCES]), "Softmax", ("low", "high")),
    "three outputs": (
        data(
            [node("Relu", "X", "a"), node("Neg", "X", "b"), node("Abs", "X", "c")],
            outputs=[tensor(name, [None, 2]) for name in "abc"],
        ),
        "a (tensor(float)), b (tensor(float))",
        (),
    ),
    "a label of unknown classes": (
        data([node("ArgMax", "X", "label", axis=1, keepdims=0)], outputs=[LABEL]), "schema's target", ()
    ),
    "two numbers a row": (data([node("Relu")]), "shape (2, 2)", ()),
    "a fixed number of rows": (
        data([node("Relu")], [tensor("X", [1, 2])], [tensor("Y", [1, 2])]), "free first dimension", ()
    ),
    "tables beside columns": (
        data(
            [node("Concat", "X Z", "c", axis=1), node("ReduceSum", "c", "Y")],
            [tensor("X", [None, 2]), tensor("Z", [None, 1])],
            [tensor("Y", [None, 1])],
        ),
        "one input per column",
        (),
    ),
    "damaged": (graphs.of_estimator("logistic")[:-40], "cannot open the graph", ()),
    "a matrix in another file": (graphs.external("/etc/hostname"), "cannot open the graph", ()),
}  # fmt: skip


@pytest.mark.parametrize(("content", "word", "classes"), UNUSUAL.values(), ids=UNUSUAL)
def test_what_cannot_be_read_as_an_answer_gets_a_sentence(opened, content, word, classes):
    with pytest.raises(ModelError) as error:
        opened(content, classes=classes)

    assert word in f"{error.value} {error.value.detail}"


def test_a_file_beside_the_graph_cannot_be_read(opened, tmp_path):
    (tmp_path / "weights.bin").write_bytes(np.eye(2, dtype="f4").tobytes())

    with pytest.raises(ModelError):
        opened(graphs.external(str(tmp_path / "weights.bin")))


def test_a_graph_without_an_end_is_stopped_at_the_deadline(supervisor, make_spec):
    spec = make_spec(graphs.endless(), form="onnx", columns=NUMBERS)

    with pytest.raises(ModelError):
        supervisor.client.predict(spec, TWO, 1)


def test_text_goes_in_as_text(opened):
    table = pa.table({"city": pd.Series(["Pune", None]).astype(object)})
    nodes = [
        node("LabelEncoder", "city", "Y", ML, keys_strings=["Pune"], values_floats=[1.0], default_float=-1.0)
    ]

    _facts, answer = opened(
        data(nodes, [tensor("city", [None, 1], TensorProto.STRING)], [tensor("Y", [None, 1])]),
        table,
        (("city", "category"),),
    )

    assert answer.values.tolist() == [1.0, -1.0]


@pytest.mark.parametrize("name", graphs.for_the_jail())
def test_what_only_the_jail_may_open_is_borne_by_it(supervisor, make_spec, name):
    spec = make_spec(graphs.for_the_jail()[name], form="onnx", columns=NUMBERS, classes=(0, 1))
    huge = pa.table({"age": [1e9, 2.0], "income": [1e9, 3.0]})

    with contextlib.suppress(ModelError):
        supervisor.client.predict(spec, huge, 20)

    assert supervisor.client.status()["ready"]
