"""An upload in ONNX, from its first byte to its last check."""

import io

import pytest

from inference import engines, runners
from inference.compiled import sessions
from registry import artifacts
from registry.actions import catalog
from registry.errors import Invalid
from registry.models import ModelVersion
from tests import folders, graphs, trained
from tests.inference.test_checks import add_data, create_model, failed, finish, upload

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def test_it_passes_every_check(author, modeld):
    model = create_model(author)
    frame = trained.people()[[*trained.INPUTS, "repaid"]].dropna()
    reference = add_data(author, model, "repaid", frame)
    version = upload(author, graphs.of_pipeline(), model=model, reference=reference)

    results = finish(version)

    assert failed(results) == {}
    assert version.format == "onnx"
    assert version.globals["graph"]["classes"] == ["no", "yes"]
    assert version.measured_metrics["accuracy"] > 0.8
    assert "onnxruntime" in results["environment"].log
    assert version.environment["packages"]["onnxruntime"]
    assert results["compiled"].detail.startswith("ONNX: the portal opens the graph")
    assert version.engine == "onnx"
    some = trained.table(20).set_column(3, "member", trained.table(20).column("member").cast("double"))
    assert engines.choose(version, 20).answer_table(some).labels == runners.predict(version, some).labels


def test_its_engine_says_whether_a_web_process_may_open_it(author):
    assert upload(author, graphs.of_pipeline()).engine == "onnx"
    recurrent = graphs.data([graphs.node("CumSum", "X axis")], constants=[graphs.constant("axis", 1)])
    version = upload(author, recurrent, model=create_model(author, slug="second", name="Second"))

    assert version.engine == "runner"
    assert "CumSum" in version.globals["graph"]["kept_out"]


def test_what_only_the_jail_may_open_is_answered_there_and_says_why(author, modeld, monkeypatch):
    monkeypatch.setattr(sessions, "Session", None)  # whoever opens it here would call this
    chances = graphs.data(
        [graphs.node("CumSum", "X axis", "sums"), graphs.node("Softmax", "sums", "chances", axis=1)],
        outputs=[graphs.tensor("chances", [None, 2])],
        constants=[graphs.constant("axis", 1)],
    )
    frame = trained.people()[["age", "income", "repaid"]].dropna()
    model = create_model(author)
    version = upload(author, chances, model=model, reference=add_data(author, model, "repaid", frame))

    results = finish(version)

    assert failed(results) == {}
    assert version.engine == "runner"
    assert "by the model service alone: Operator “CumSum”" in results["compiled"].detail


def test_its_inputs_become_the_schema_where_none_is_given(author):
    model = create_model(author)

    version = catalog.upload_version(
        model, file=io.BytesIO(graphs.of_pipeline()), filename="m.onnx", draft=True, actor=author
    )

    assert [(each["name"], each["type"]) for each in version.schema["fields"]] == [
        ("age", "number"),
        ("income", "number"),
        ("city", "text"),
        ("member", "number"),
    ]
    assert version.schema["target"]["classes"] == ["no", "yes"]


def test_another_format_than_the_one_asked_for_is_refused_with_both_names(author):
    with pytest.raises(Invalid) as refusal:
        upload(author, graphs.of_pipeline(), format="skops")

    assert refusal.value.code == "other_format"
    assert "onnx" in str(refusal.value) and "skops" in str(refusal.value)
    assert not ModelVersion.objects.exists()


def test_what_the_gate_refuses_is_not_kept(author):
    with pytest.raises(Invalid) as refusal:
        upload(author, graphs.endless())

    assert refusal.value.code == "onnx_control_flow"
    assert not ModelVersion.objects.exists()


def test_a_folder_of_mlflow_passes_every_check(author, modeld):
    version = upload(author, folders.zipped(folders.members()), "income_next", "regression")

    assert failed(finish(version)) == {}
    assert version.format == "mlflow"


def test_a_model_changed_inside_its_folder_is_found(author, modeld):
    version = upload(author, folders.zipped(folders.members()), "income_next", "regression")
    artifacts.local_path(version.opened[0]).write_bytes(b"something else")

    assert "differs" in failed(finish(version))["hash"]
