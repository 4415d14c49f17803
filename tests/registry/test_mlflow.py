"""Folders of MLflow: what is taken from them, what is refused, and that archives follow the same rules."""

import io
import json
import tarfile
import zipfile

import pytest

from registry import archives, artifacts, inspection, onnx_gate
from registry.actions import catalog
from registry.errors import Refused
from registry.models import AuditEvent, ModelVersion
from tests import folders, trained
from tests.factories import create_model


def look(data: bytes) -> inspection.Inspection:
    return inspection.inspect(io.BytesIO(data))


@pytest.mark.parametrize("packed", [folders.zipped, folders.tarred, lambda files: folders.tarred(files, "w")])
def test_the_model_and_its_papers_are_found(packed):
    found = look(packed(folders.members()))

    assert (found.format, found.payload.format, found.payload.name) == ("mlflow", "joblib", "model/model.pkl")
    assert "sklearn.linear_model._ridge.Ridge" in found.globals
    assert found.folder.requirements == "scikit-learn==1.9.1\n"
    assert [each["name"] for each in found.folder.inputs] == trained.INPUTS
    assert found.folder.example[0].keys() == set(trained.INPUTS)
    assert len(found.folder.example) == 3


def test_a_graph_inside_is_looked_through():
    found = look(folders.zipped(folders.onnx_members()))

    assert (found.payload.format, found.engine) == ("onnx", "onnx")
    assert isinstance(found.graph, onnx_gate.Graph)


def test_long_names_in_a_tar_are_read():
    files = folders.members(**{"model/" + "a" * 180: b"x"})

    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=form) as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        assert look(buffer.getvalue()).format == "mlflow"


@pytest.mark.parametrize("name", folders.hostile())
def test_a_folder_that_tries_something_is_refused_with_a_sentence(name, db, author):
    data = folders.hostile()[name]

    with pytest.raises(Refused) as refusal:
        catalog.upload_version(
            create_model(owners=[author]), file=io.BytesIO(data), filename=name, draft=True, actor=author
        )

    assert refusal.value.status in (413, 415, 422)
    assert (str(refusal.value) and refusal.value.fix) or refusal.value.code == "expands_too_much"
    assert not ModelVersion.objects.exists()
    assert not AuditEvent.objects.filter(action="version.uploaded").exists()


@pytest.mark.parametrize("name", folders.hostile_graphs())
def test_a_graph_that_tries_something_is_refused(name):
    with pytest.raises(Refused) as refusal:
        look(folders.hostile_graphs()[name])

    assert refusal.value.fix


def test_archive_and_model_are_both_kept_under_their_hashes(db, author):
    data = folders.zipped(folders.members())

    version = catalog.upload_version(
        create_model(owners=[author], task="regression"), file=io.BytesIO(data), filename="m.zip", draft=True,
        actor=author,
    )  # fmt: skip

    sha256, form = version.opened
    assert (version.format, form) == ("mlflow", "joblib")
    assert sha256 != version.sha256
    assert artifacts.is_intact(version.sha256) and artifacts.is_intact(sha256)
    assert version.requirements == "scikit-learn==1.9.1"
    assert [each["name"] for each in version.schema["fields"]] == trained.INPUTS
    assert len(version.globals["mlflow"]["example"]) == 3


def test_another_format_than_mlflow_is_refused_with_both_names():
    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(folders.zipped(folders.members())), declared_format="joblib")

    assert "mlflow" in str(refusal.value) and "joblib" in str(refusal.value)


def test_a_list_of_members_that_is_too_long_is_never_read(monkeypatch):
    read = []
    monkeypatch.setattr(zipfile, "ZipInfo", lambda *given: read.append(given))

    with pytest.raises(Refused, match="too many members"):
        archives.open_zip(io.BytesIO(folders.of_members(100_000)))

    assert not read


@pytest.mark.parametrize(
    "cells", ['["\\ud800"]', '["a\\u0000"]', "[NaN]", "[1e999]", "[" + "9" * 400 + "]", "[[1]]", '[{"a": 1}]']
)
def test_an_example_that_is_no_table_of_plain_values_is_left_out(cells):
    example = '{"columns": ["a"], "data": [' + cells + "]}"

    found = look(folders.zipped(folders.members() | {"model/input_example.json": example.encode()}))

    assert found.folder.example == []


CONDA = b"""\
channels: [conda-forge]
dependencies:
- python=3.10.14
- pip<=23.2
- pip:
  - mlflow==3.18.0
  - scikit-learn==1.8.2
name: mlflow-env
"""


def without_requirements(**more: bytes) -> dict[str, bytes]:
    files = folders.members(**{f"model/{name.replace('__', '.')}": data for name, data in more.items()})
    del files["model/requirements.txt"]
    return files


def test_what_conda_leaves_to_pip_stands_in_for_the_requirements():
    found = look(folders.zipped(without_requirements(conda__yaml=CONDA)))

    assert found.folder.requirements == "mlflow==3.18.0\nscikit-learn==1.8.2\n"
    assert found.environment()["packages"]["python"] == "3.10.14"
    both = folders.members(**{"model/conda.yaml": CONDA})
    assert look(folders.zipped(both)).folder.requirements == "scikit-learn==1.9.1\n"


def test_the_python_of_a_virtual_environment_counts_first():
    files = without_requirements(conda__yaml=CONDA, python_env__yaml=b"python: 3.12.4\ndependencies: []\n")

    assert look(folders.zipped(files)).python_version == "3.12.4"


@pytest.mark.parametrize(
    "paper",
    [
        b"dependencies: [python>=3.9, {pip: numpy}, 7, [pip]]",
        b"dependencies: {python: 3.11}",
        b'dependencies: [python=3.11; rm, {pip: [1, [a], {b: c}, "a\\nb"]}]',
        b"name: nothing",
    ],
)
def test_an_environment_that_names_no_versions_tells_nothing(paper):
    found = look(folders.zipped(without_requirements(conda__yaml=paper)))

    assert (found.folder.requirements, found.python_version) == ("", None)


@pytest.mark.parametrize("name", ["conda.yaml", "python_env.yaml"])
@pytest.mark.parametrize(
    "paper",
    [
        b"a: !!python/object/apply:os.system [id]",
        b"a: &a [1]\nb: *a",
        b"a: " + b"[" * 5000 + b"]" * 5000,
        b"a: 1" + b":1" * 100_000,
        b"\xff\xfe\x00",
        b"[]",
    ],
)
def test_an_environment_that_tries_something_is_refused_by_its_name(name, paper):
    with pytest.raises(Refused, match=name):
        look(folders.zipped(folders.members(**{f"model/{name}": paper})))


def test_a_column_whose_name_is_no_text_tells_no_schema():
    inputs = json.dumps([{"type": "double", "name": "a\ud800", "required": True}])

    assert look(folders.zipped(folders.members(changes={"inputs": inputs}))).folder.inputs == []


def test_a_file_inside_is_no_larger_than_one_that_comes_alone(settings):
    settings.MODELGATE_MAX_ARTIFACT = 1 << 20

    with pytest.raises(Refused, match="more than 1 MiB") as refusal:
        look(folders.zipped(folders.members(bytes(range(256)) * (5 << 10))))

    assert refusal.value.code == "expands_too_much"
