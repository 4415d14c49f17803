"""Files of older environments: let through where the answers agree, stopped where they do not, each with a sentence.

`tests/data/old_models` holds them with the script that made them, and with the answers that they gave there.
"""

import io
from pathlib import Path
from typing import Any

import pytest

from inference.checks import run, versions
from inference.models import GoldenSet
from registry import schema, tables
from registry.actions import admissions, catalog
from registry.errors import Invalid
from registry.models import Admission, AuditEvent, CheckResult, ModelVersion, Role, User
from tests.factories import create_user

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

FILES = Path(__file__).resolve().parent.parent / "data" / "old_models"
TARGETS = {"ovr": "band"}
INPUTS = {"columns": ["age", "income", "city"]}
Results = dict[str, CheckResult]


def check(author: User, name: str, *, expected: bool, **papers: Any) -> tuple[ModelVersion, Results]:
    """Upload one of the files as its maker would, and let it go through its checks."""
    kind = name.split("-", maxsplit=1)[0]
    target = TARGETS.get(kind, "repaid")
    model = catalog.create_model(slug="old", name="Old", task="classification", actor=author)
    with (FILES / "people.csv").open("rb") as file:
        reference = catalog.add_dataset(
            model, file=file, filename="people.csv", role="reference", target=target, actor=author
        )
    answers = io.BytesIO((FILES / f"{name}.csv").read_bytes()) if expected else None
    with (FILES / f"{name}.joblib").open("rb") as artifact:
        version = catalog.upload_version(
            model,
            file=artifact,
            filename=f"{name}.joblib",
            reference=reference,
            expected=answers,
            schema=schema_of(reference, target, INPUTS.get(kind, ["age", "income"])),
            actor=author,
            **papers,
        )
    if version.state == ModelVersion.State.NEEDS_REVIEW:  # names of older versions that nobody has reviewed
        names = version.names_to_review
        approver = create_user(roles=[Role.APPROVER])
        admissions.admit(version, names=names, comment="scikit-learn's own", actor=approver)
    return version, finish(version)


def schema_of(reference: Any, target: str, inputs: list[str]) -> dict[str, Any]:
    found = schema.infer(tables.read_dataset(reference), target, "classification").to_json()
    found["fields"] = [field for field in found["fields"] if field["name"] in inputs]
    return {"fields": found["fields"], "target": found["target"]}


def finish(version: ModelVersion) -> Results:
    run.run(version.pk)
    version.refresh_from_db()
    return {each.name: each for each in version.checks.all()}


def failed(results: Results) -> set[str]:
    return {name for name, each in results.items() if each.status == "failed"}


@pytest.mark.parametrize("name", ["linear-1.5.2", "linear-1.7.2", "columns-1.7.2"])
def test_one_whose_answers_agree_is_let_through(author: User, modeld: Any, name: str) -> None:
    version, results = check(author, name, expected=True)

    assert (failed(results), version.state) == (set(), "checked")
    said = results["environment"].detail
    assert f"scikit-learn {name.split('-')[1]} (here " in said
    assert said.endswith("Every answer of the training environment is the same here.")
    assert GoldenSet.objects.get(version=version).origin == "training"


@pytest.mark.parametrize("name", ["ovr-1.5.2", "ovr-1.7.2"])
def test_one_that_answers_otherwise_is_stopped(author: User, modeld: Any, name: str) -> None:
    version, results = check(author, name, expected=True)

    assert (failed(results), version.state) == ({"expected", "environment"}, "checks_failed")
    assert "rows get another answer here than where the model was trained" in results["expected"].detail
    assert f"scikit-learn {name.split('-')[1]}" in results["environment"].detail
    assert "answers otherwise here. Train it again with: scikit-learn==" in results["environment"].detail
    assert not GoldenSet.objects.exists()


@pytest.mark.parametrize(
    ("name", "where", "said"),
    [
        ("imputed-1.5.2", "predict", "_fill_dtype"),
        ("imputed-1.7.2", "predict", "_fill_dtype"),
        ("boosted-1.5.2", "load", "_loss"),
        ("boosted-1.7.2", "load", "_loss"),
        ("columns-1.5.2", "load", "_RemainderColsList"),
    ],
)
def test_one_that_does_not_work_here_is_stopped(
    author: User, modeld: Any, name: str, where: str, said: str
) -> None:
    version, results = check(author, name, expected=True)

    assert (failed(results), version.state) == ({where, "environment"}, "checks_failed")
    assert said in results[where].detail
    made = name.split("-")[1]
    assert f"made with scikit-learn {made}" in results["environment"].detail
    assert "does not work here. Train it again with: scikit-learn==" in results["environment"].detail


def test_without_answers_of_the_training_environment_an_approver_decides(
    author: User, approver: User, modeld: Any, django_capture_on_commit_callbacks: Any
) -> None:
    version, results = check(author, "linear-1.7.2", expected=False)

    assert (failed(results), version.state) == ({"environment"}, "needs_review")
    assert "nothing proves that it answers alike here" in results["environment"].detail
    assert not GoldenSet.objects.exists()
    here = version.environment["packages"]["scikit-learn"]
    assert version.names_to_review == [f"scikit-learn==1.7.2 → {here}"]
    with pytest.raises(Invalid):
        admissions.admit(version, names=["scikit-learn"], comment="fine by me", actor=approver)

    admissions.admit(version, names=version.names_to_review, comment="only a scaler", actor=approver)
    results = finish(version)

    assert (failed(results), version.state) == (set(), "checked")
    assert "An approver has admitted the difference" in results["environment"].detail
    assert GoldenSet.objects.get(version=version).origin == "here"
    assert AuditEvent.objects.filter(action="version.held_for_review").exists()


def test_an_approver_may_refuse_the_difference(author: User, approver: User, modeld: Any) -> None:
    version, _results = check(author, "linear-1.7.2", expected=False)

    admissions.refuse(version, comment="train it again", actor=approver)

    assert version.state == "checks_failed"
    assert version.checks.get(name="environment").detail == "train it again"
    assert Admission.objects.get(version=version).names == version.foreign_packages


def test_a_patch_apart_is_only_noted(author: User, modeld: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = versions.here(None)["scikit-learn"]
    patch = f"{here.rsplit('.', 1)[0]}.99"
    monkeypatch.setattr(versions, "recorded", lambda _version: {"scikit-learn": patch})

    version, results = check(author, "linear-1.7.2", expected=False)

    assert (failed(results), version.state) == (set(), "checked")
    assert "a patch apart, which is only noted" in results["environment"].detail
