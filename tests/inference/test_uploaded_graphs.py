"""An ONNX upload that passes the narrow gate, answered here as the runner answers it; others never open here."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from inference.compiled import BadForm, CompiledForm, Declined, form_of, sessions
from inference.compiled.container import Parts
from inference.models import VersionForm
from inference.runner import compiling, forms
from inference.runner.graphs import GraphScorer, open_graph
from registry import artifacts, onnx_gate
from registry.errors import Refused
from registry.models import ModelVersion
from tests import factories, graphs, trained
from tests.graphs import constant, data, node, tensor

AB = [("a", "number"), ("b", "number")]
LABEL = tensor("label", [None], TensorProto.INT64)
CHANCES = tensor("chances", [None, 2])
SOFTMAX = node("Softmax", "X", "chances", axis=1)
TWO = pa.table({"a": [0.2, 2.0, -1.0], "b": [1.0, 3.0, None]})
WIDE_ONLY = {
    **graphs.for_the_jail(),
    "cumulative": data([node("CumSum", "X axis")], constants=[constant("axis", 1)]),
}


def twice(name: str, value: Any) -> bytes:
    """A sound tree with a second list of the same name, or of the same meaning."""
    made = graphs.reparsed(graphs.tree())
    made.graph.node[0].attribute.append(helper.make_attribute(name, value))
    found: bytes = made.SerializeToString()
    return found


def claimed(graph: bytes, columns: list[tuple[str, str]], classes: tuple[Any, ...] = ()) -> tuple[Any, bytes]:
    """The runner's own answers, and the claims that it makes of the graph."""
    scorer = GraphScorer(open_graph(io.BytesIO(graph)), classes)
    return scorer, compiling.compile_upload(scorer, columns)


def require_alike(
    graph: bytes, columns: list[tuple[str, str]], table: pa.Table, *classes: Any
) -> CompiledForm:
    scorer, form = claimed(graph, columns, classes)
    opened = CompiledForm(form, None, graph)
    expected = scorer.outputs.read(scorer._run(scorer._feed(table)), table.num_rows)
    lists = {name: table.column(name).to_pylist() for name in table.column_names}
    ways = (
        opened.answer_table(table),
        opened.answer_rows(table.to_pylist()),
        opened.answer_lists(lists, table.num_rows),
    )
    for found in ways:
        if expected.get("labels") is None:
            np.testing.assert_array_equal(found.values, expected["values"])
            continue
        assert found.indices.tolist() == expected["labels"].tolist()
        assert found.classes == tuple(scorer.describe()["classes"])
        assert (found.probabilities is None) == (expected["probabilities"] is None)
        if found.probabilities is not None:
            np.testing.assert_array_equal(found.probabilities, expected["probabilities"])
    return opened


@pytest.mark.parametrize("name", sorted(trained.ESTIMATORS))
def test_it_answers_as_the_runner_does(name: str) -> None:
    try:
        graph = graphs.of_estimator(name)
        onnx_gate.narrow(graph)
    except (Refused, RuntimeError):
        pytest.skip("no graph of it, or none that may be opened here")
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    table = pa.table({column: rows[:, place].astype(float) for place, column in enumerate("abc")})

    require_alike(graph, [(column, "number") for column in "abc"], table)


def test_a_pipeline_with_words_and_one_input_a_column() -> None:
    frame = trained.people()[trained.INPUTS].head(60)
    table = pa.Table.from_pandas(frame.assign(member=frame["member"] * 1.0), preserve_index=False)
    kinds = [("age", "number"), ("income", "number"), ("city", "category"), ("member", "number")]

    form = require_alike(graphs.of_pipeline(), kinds, table)

    assert form.kind == "onnx"
    assert form.classes == ("no", "yes")


def test_chances_without_a_label() -> None:
    require_alike(data([SOFTMAX], outputs=[CHANCES]), AB, TWO, "low", "high")


def test_a_label_alone() -> None:
    highest = node("ArgMax", "X", "label", axis=1, keepdims=0)
    require_alike(data([highest], outputs=[LABEL]), AB, TWO, "low", "high")


def test_columns_in_the_order_of_the_file() -> None:
    made = graphs.model([node("Gemm", "X W")], constants=[constant("W", np.array([[1], [10]], "f4"))],
                        outputs=[tensor("Y", [None, 1])])  # fmt: skip
    helper.set_model_props(made, {"feature_names": '["b", "a"]'})

    form = require_alike(made.SerializeToString(), AB, TWO)

    assert form.answer_rows([{"a": 1.0, "b": 2.0}]).values.tolist() == [12.0]


@pytest.mark.parametrize("value", [1.5, None, 2**63, -(2**63), 2**53 + 1])
def test_whole_numbers_stay_whole(value: Any) -> None:
    """What the type of an input cannot hold goes to the runner; what it holds is not rounded."""
    graph = data(
        [node("Identity", "X", "label")],
        inputs=[tensor("X", [None, 1], TensorProto.INT64)],
        outputs=[tensor("label", [None, 1], TensorProto.INT64)],
    )
    _scorer, form = claimed(graph, [("a", "integer")], (0, 2**53 + 1, 2**53))
    opened = CompiledForm(form, None, graph)

    for ask in (lambda: opened.answer_rows([{"a": value}]), lambda: opened.answer_lists({"a": [value]}, 1)):
        if value == 2**53 + 1:
            assert ask().labels == [value]
            continue
        with pytest.raises(Declined):
            ask()


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1])
def test_a_whole_number_that_no_fraction_holds_goes_to_the_runner(value: int) -> None:
    graph = data([SOFTMAX], outputs=[CHANCES])
    opened = CompiledForm(claimed(graph, AB, (0, 1))[1], None, graph)

    with pytest.raises(Declined):
        opened.answer_rows([{"a": value, "b": 0}])
    with pytest.raises(Declined):
        opened.answer_lists({"a": [value], "b": [0]}, 1)
    with pytest.raises(Declined):
        opened.answer_table(pa.table({"a": [value], "b": [0]}))


def test_a_column_of_another_type_is_for_the_runner() -> None:
    with pytest.raises(compiling.NotCompiled, match="as another type"):
        claimed(data([SOFTMAX], outputs=[CHANCES]), [("a", "number"), ("b", "category")], (0, 1))


# --- what never opens here ---


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_arguments: Any) -> None:
        raise AssertionError("the engine was given the graph")

    monkeypatch.setattr(sessions, "Session", opened)


def claims(*inputs: str) -> bytes:
    """What a hostile runner may say of any graph."""
    model = {
        "kind": "onnx",
        "feeds": [[name, [0, 1]] for name in inputs or ("X",)],
        "label": "label",
        "scores": None,
        "classes": [0, 1],
        "probabilities": False,
    }
    return forms.pack({"inputs": [["a", "number"], ["b", "number"]], "nodes": [], "model": model}, [], [], {})


@pytest.mark.parametrize("name", WIDE_ONLY)
def test_what_passes_the_wide_gate_alone_never_reaches_the_engine(name: str, no_engine: None) -> None:
    onnx_gate.wide(WIDE_ONLY[name])

    with pytest.raises(BadForm):
        CompiledForm(claims(), None, WIDE_ONLY[name])


@pytest.mark.parametrize(
    ("name", "value"),
    [("nodes_truenodeids", [9, 0, 0]), ("nodes_values_as_tensor", constant("v", np.zeros(9)))],
)
def test_what_is_said_twice_never_reaches_the_engine(name: str, value: Any, no_engine: None) -> None:
    with pytest.raises(BadForm):
        CompiledForm(claims(), None, twice(name, value))


def test_too_much_work_for_a_row_never_reaches_an_answer(no_engine: None) -> None:
    """Within the gate, but a call of a few rows would hold a thread for too long."""
    many = 6_000
    square = constant("W", np.zeros((many, many), "f4"))
    graph = data(
        [node("MatMul", "X W", "Y")],
        [tensor("X", [None, many])],
        [tensor("Y", [None, many])],
        [square],
    )
    onnx_gate.narrow(graph)
    form = forms.pack(
        {
            "inputs": [[f"c{place}", "number"] for place in range(many)],
            "nodes": [],
            "model": {
                "kind": "onnx",
                "feeds": [["X", list(range(many))]],
                "label": None,
                "scores": "Y",
                "classes": None,
                "probabilities": False,
            },
        },
        [],
        [],
        {},
    )

    with pytest.raises(BadForm, match="too much work"):
        CompiledForm(form, None, graph)


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    plan = Parts(claims()).plan
    change(plan["model"])
    return forms.pack(plan, [], [], {})


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.update(feeds=[]),
        lambda model: model.update(feeds=[["Y", [0, 1]]]),
        lambda model: model.update(feeds=[["X", [0]]]),
        lambda model: model.update(feeds=[["X", [0, 2]]]),
        lambda model: model.update(feeds=[["X", [0, -1]]]),
        lambda model: model.update(feeds=[["X", [0, True]]]),
        lambda model: model.update(feeds="X"),
        lambda model: model.update(label="nobody"),
        lambda model: model.update(label=None),
        lambda model: model.update(label=["label"]),
        lambda model: model.update(probabilities=True),
        lambda model: model.update(scores="scores"),
        lambda model: model.update(classes=None),
        lambda model: model.update(classes=[0]),
        lambda model: model.update(kind="trees"),
    ],
)
def test_claims_that_do_not_fit_the_graph_are_refused(change: Any) -> None:
    with pytest.raises(BadForm):
        CompiledForm(edited(change), None, graphs.tree())


def test_a_form_of_a_graph_needs_the_graph_and_no_other_form_takes_one() -> None:
    with pytest.raises(BadForm, match="another file"):
        CompiledForm(claims())
    with pytest.raises(BadForm, match="another file"):
        CompiledForm(edited(lambda model: model.update(kind="linear")), None, graphs.tree())


# --- as a version ---


def released(graph: bytes) -> ModelVersion:
    """A version that the database calls an open graph, with claims as a hostile runner would make them."""
    version = factories.create_version(engine="onnx", format="onnx", content=graph)
    VersionForm.objects.create(version=version, sha256=factories.store(claims()), size=len(claims()))
    return ModelVersion.objects.get(pk=version.pk)


@pytest.mark.django_db
def test_a_version_answers_by_its_own_file() -> None:
    highest = node("ArgMax", "X", "label", axis=1, keepdims=0)
    form = form_of(released(data([highest], outputs=[LABEL])))

    assert form is not None
    assert form.answer_rows([{"a": 0, "b": 0}, {"a": 0, "b": 1}]).labels == [0, 1]


@pytest.mark.django_db
def test_a_version_whose_graph_is_for_the_jail_is_left_to_it(no_engine: None) -> None:
    assert form_of(released(WIDE_ONLY["cumulative"])) is None


@pytest.mark.django_db
def test_a_version_whose_file_was_changed_is_left_to_the_runner(no_engine: None) -> None:
    version = released(graphs.tree(nodes_values=[0.25, 0.0, 0.0]))
    artifacts.local_path(version.sha256).write_bytes(graphs.tree(nodes_values=[0.75, 0.0, 0.0]))

    assert form_of(version) is None
