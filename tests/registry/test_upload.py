"""Uploading: a version is what its bytes are, and bad files leave nothing but an event."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import pytest
from django.conf import LazySettings
from django.core.files.storage import default_storage
from django.utils import timezone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from registry.actions import catalog
from registry.errors import Forbidden, Invalid, Refused
from registry.models import AuditEvent, Dataset, ModelVersion, RegisteredModel, Role, User
from tests.factories import create_dataset, create_model, create_user, create_version

CSV = b"age,income,city,repaid\n30,1000.5,Delhi,yes\n40,2000,Pune,no\n50,,Pune,no\n"


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(slug="loans", owners=[author], created_by=author)


@pytest.fixture(scope="module")
def artifact() -> bytes:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(
        [[1.0], [2.0], [3.0]], ["no", "yes", "yes"]
    )
    out = io.BytesIO()
    joblib.dump(pipeline, out)
    return out.getvalue()


def stored_files() -> list[str]:
    root = Path(default_storage.path(""))
    return [str(path) for path in root.rglob("*") if path.is_file()]


def test_it_keeps_the_bytes_by_hash_takes_the_schema_and_asks_for_checks(
    model: RegisteredModel, author: User, artifact: bytes, no_checks: list[int]
) -> None:
    reference = catalog.add_dataset(
        model, file=io.BytesIO(CSV), filename="ref.csv", target="repaid", actor=author
    )

    version = catalog.upload_version(
        model,
        file=io.BytesIO(artifact),
        filename="../../etc/m.joblib",
        reference=reference,
        metrics={"auc": 0.8},
        actor=author,
    )

    assert (version.number, version.state, version.format) == (1, "checking", "joblib")
    assert [field.name for field in version.schema_object.fields] == ["age", "income", "city"]
    assert version.schema_object.target.positive == "yes"
    assert no_checks == [version.pk]
    assert all("etc" not in path for path in stored_files())
    actions = list(AuditEvent.objects.order_by("seq").values_list("action", flat=True))
    assert actions == ["dataset.added", "version.uploaded", "version.checking"]


def test_the_same_bytes_are_stored_once_and_versions_count_up(
    model: RegisteredModel, author: User, artifact: bytes, no_checks: list[int]
) -> None:
    for _ in range(2):
        catalog.upload_version(model, file=io.BytesIO(artifact), filename="m", draft=True, actor=author)

    assert list(model.versions.values_list("number", flat=True)) == [2, 1]
    assert len(stored_files()) == 1


class CallsSystem:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def plain_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("notes.txt", "hello")
    return out.getvalue()


def test_bad_files_get_one_clear_sentence_and_leave_nothing(
    model: RegisteredModel,
    author: User,
    artifact: bytes,
    tmp_path: Path,
    settings: LazySettings,
    no_checks: list[int],
) -> None:
    canary = tmp_path / "canary"
    settings.MODELGATE_MAX_ARTIFACT = 2**20
    bad = {
        "empty": b"",
        "truncated": artifact[: len(artifact) // 2],
        "not a model": b"hello, I am a letter",
        "a plain zip": plain_zip(),
        "over the limit": artifact + b"\0" * 2**20,
        "calls os.system": pickle.dumps(CallsSystem(f"touch {canary}")),
    }
    sentences = {}
    for name, content in bad.items():
        with pytest.raises(Refused) as caught:
            catalog.upload_version(model, file=io.BytesIO(content), filename="m.joblib", actor=author)
        sentences[name] = (caught.value.status, str(caught.value))

    assert {name: status for name, (status, _) in sentences.items()} == {
        "empty": 415,
        "truncated": 422,
        "not a model": 415,
        "a plain zip": 415,
        "over the limit": 413,
        "calls os.system": 422,
    }
    assert len({sentence for _, sentence in sentences.values()}) == len(bad)
    assert "system" in sentences["calls os.system"][1]
    assert not canary.exists()
    assert not stored_files()
    assert not list(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize("role", [role for role in Role if role != Role.AUTHOR])
def test_only_authors_upload(model: RegisteredModel, artifact: bytes, role: Role) -> None:
    with pytest.raises(Forbidden) as caught:
        catalog.upload_version(
            model, file=io.BytesIO(artifact), filename="m", actor=create_user(roles=[role], is_superuser=True)
        )
    assert caught.value.code == "needs_author"


def test_a_dataset_of_another_model_is_refused(model: RegisteredModel, author: User, artifact: bytes) -> None:
    with pytest.raises(Invalid):
        catalog.upload_version(
            model, file=io.BytesIO(artifact), filename="m", reference=create_dataset(), actor=author
        )
    assert not stored_files() or not ModelVersion.objects.exists()


def test_a_draft_can_be_edited_by_its_uploader_until_its_checks(
    model: RegisteredModel, author: User, artifact: bytes, no_checks: list[int]
) -> None:
    version = catalog.upload_version(model, file=io.BytesIO(artifact), filename="m", draft=True, actor=author)
    schema = {"fields": [{"name": "x", "type": "number"}], "target": {"name": "y", "task": "regression"}}

    with pytest.raises(Forbidden):
        catalog.edit_draft(version, card="mine", actor=create_user(roles=[Role.AUTHOR]))
    with pytest.raises(Invalid):
        catalog.start_checks(version, actor=author)
    catalog.edit_draft(version, schema=schema, metrics={"r2": 0.4}, actor=author)
    catalog.start_checks(version, actor=author)

    with pytest.raises(Refused) as caught:
        catalog.edit_draft(version, card="too late", actor=author)
    assert caught.value.code == "wrong_state"


@pytest.mark.parametrize("metrics", [{"auc": float("nan")}, {"auc": "good"}, {"auc": True}])
def test_declared_metrics_are_finite_numbers(
    model: RegisteredModel, author: User, artifact: bytes, metrics: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        catalog.upload_version(model, file=io.BytesIO(artifact), filename="m", metrics=metrics, actor=author)


def test_checks_are_finished_once(author: User) -> None:
    version = create_version(state="checking", uploaded_by=author)

    assert catalog.finish_checks(version, passed=True, measured={"auc": 0.8}, environment={"python": "3.11"})
    assert not catalog.finish_checks(version, passed=False, measured={}, environment={})

    version.refresh_from_db()
    assert (version.state, version.measured_metrics) == ("checked", {"auc": 0.8})


def test_a_serving_version_does_not_retire(operator: User) -> None:
    from tests.factories import create_release

    serving = create_release().version

    with pytest.raises(Refused) as caught:
        catalog.retire(serving, reason="old news", actor=operator)
    assert caught.value.code == "still_serving"
    other = create_version(model=serving.model)
    assert catalog.retire(other, reason="never used", actor=operator).state == "retired"


def test_a_slug_is_used_once_and_must_be_plain(author: User) -> None:
    catalog.create_model(slug="loans", name="Loans", task="classification", actor=author)
    with pytest.raises(Refused) as caught:
        catalog.create_model(slug="loans", name="Loans again", task="classification", actor=author)
    assert caught.value.code == "slug_in_use"
    with pytest.raises(Invalid):
        catalog.create_model(slug="../etc", name="Odd", task="classification", actor=author)


@pytest.mark.parametrize("name", ["Loans", " LOANS ", "Ｌoans"])
def test_a_name_is_used_once_however_it_is_written(author: User, name: str) -> None:
    catalog.create_model(slug="loans", name="Loans", task="classification", actor=author)
    other = catalog.create_model(slug="other", name="Other", task="classification", actor=author)
    count = AuditEvent.objects.count()

    for act in (
        lambda: catalog.create_model(slug="loans-2", name=name, task="classification", actor=author),
        lambda: catalog.change_model(other, name=name, actor=author),
    ):
        with pytest.raises(Refused) as caught:
            act()
        assert (caught.value.code, caught.value.status) == ("name_in_use", 409)

    assert sorted(RegisteredModel.objects.values_list("name", flat=True)) == ["Loans", "Other"]
    assert AuditEvent.objects.count() == count


def test_models_that_share_a_name_already_can_be_changed_otherwise(author: User) -> None:
    one, other = (create_model(name="Loans", owners=[author]) for _ in range(2))

    catalog.change_model(one, question="Will it be repaid?", name="LOANS", actor=author)
    catalog.change_model(other, name="Loans of 2027", actor=author)

    assert sorted(RegisteredModel.objects.values_list("name", flat=True)) == ["LOANS", "Loans of 2027"]


def test_who_changes_something_else_does_not_undo_a_rename(author: User) -> None:
    model = create_model(name="Loans", question="Who pays?", owners=[author])
    as_read_before = RegisteredModel.objects.get(pk=model.pk)
    catalog.change_model(model, name="Old loans", actor=author)
    other = catalog.create_model(slug="new", name="Loans", task="classification", actor=author)

    catalog.change_model(as_read_before, question="Who pays late?", actor=author)

    assert [RegisteredModel.objects.get(pk=each.pk).name for each in (model, other)] == ["Old loans", "Loans"]
    assert RegisteredModel.objects.get(pk=model.pk).question == "Who pays late?"


def test_the_name_of_a_deleted_model_is_free(author: User) -> None:
    create_model(name="Loans", deleted_at=timezone.now())

    assert catalog.create_model(slug="loans", name="Loans", task="classification", actor=author).pk


def test_a_dataset_is_read_whole_or_refused(model: RegisteredModel, author: User) -> None:
    with pytest.raises(Invalid):
        catalog.add_dataset(model, file=io.BytesIO(b"a,b\n1,2,3\n"), filename="x.csv", actor=author)
    with pytest.raises(Invalid):
        catalog.add_dataset(model, file=io.BytesIO(CSV), filename="x.csv", target="price", actor=author)
    assert not Dataset.objects.exists()
    assert not stored_files()
