"""Outcomes that come as a file: on the page, or as a dataset; late, corrected, all or none."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference import outcome_files, receivers
from inference.models import Feedback
from inference.outcome_files import record_file
from inference.predictions import predict
from registry.actions import catalog
from registry.errors import Invalid, TooLarge
from registry.models import AuditEvent, Dataset, Release, Role, User
from tests import factories
from tests.inference import answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


@pytest.fixture
def asked(release: Release, business: User) -> list[str]:
    rows = [answers.row(), answers.row(age=70)]
    return [row.id for row in predict(release.model, rows, actor=business, channel="api").rows]


def csv(*lines: str, header: str = "prediction,actual,at") -> io.BytesIO:
    return io.BytesIO("\n".join([header, *lines]).encode())


def test_it_records_what_the_file_says(release: Release, business: User, asked: list[str]) -> None:
    file = csv(f"{asked[0]},yes,2026-01-31T12:00:00Z", f"{asked[1]},no,", "p_nobody,no,")

    receipt = record_file(file, model=release.model, actor=business)

    assert receipt.to_json() == {"accepted": 2, "corrected": 0, "unknown": ["p_nobody"]}
    assert {each.prediction_id: each.actual for each in Feedback.objects.all()} == {
        asked[0]: "yes",
        asked[1]: "no",
    }
    assert Feedback.objects.get(prediction_id=asked[0]).at.year == 2026


def test_a_second_file_corrects(release: Release, business: User, asked: list[str]) -> None:
    record_file(csv(f"{asked[0]},yes,"), model=release.model, actor=business)

    receipt = record_file(csv(f"{asked[0]};no", header="id;outcome"), model=release.model, actor=business)

    assert (receipt.accepted, receipt.corrected) == (0, 1)
    assert [each.actual for each in Feedback.objects.current()] == ["no"]


def test_parquet_does_as_well(release: Release, business: User, asked: list[str]) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"prediction": asked, "actual": ["yes", "no"]}), file)
    file.seek(0)

    assert record_file(file, model=release.model, actor=business).accepted == 2


def test_mistakes_name_their_lines_and_nothing_is_recorded(
    release: Release, business: User, asked: list[str]
) -> None:
    with pytest.raises(Invalid) as error:
        record_file(csv(f"{asked[0]},yes,", f"{asked[1]},perhaps,"), model=release.model, actor=business)

    assert [each["field"] for each in error.value.errors] == ["line 3, actual"]
    assert not Feedback.objects.exists()


def test_a_missing_column_is_named(release: Release, business: User) -> None:
    with pytest.raises(Invalid, match="actual") as error:
        record_file(csv("p_1,x", header="prediction,truth"), model=release.model, actor=business)

    assert error.value.code == "missing_column"


def test_too_many_rows_are_sent_elsewhere(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_files, "MAX_ITEMS", 1)

    with pytest.raises(TooLarge, match="2 rows"):
        record_file(csv("p_1,yes,", "p_2,yes,"), model=release.model, actor=business)


def test_predictions_of_another_model_are_unknown(business: User, asked: list[str]) -> None:
    other = factories.create_release().model

    receipt = record_file(csv(f"{asked[0]},yes,"), model=other, actor=business)

    assert receipt.unknown == [asked[0]]


@pytest.fixture
def author(release: Release) -> User:
    author = factories.create_user(email="author@example.com", roles=[Role.AUTHOR])
    release.model.owners.add(author)
    return author


def add_dataset(release: Release, author: User, file: io.BytesIO, target: str = "") -> Dataset:
    return catalog.add_dataset(
        release.model, file=file, filename="outcomes.csv", role="feedback", target=target, actor=author
    )


def test_a_dataset_of_outcomes_is_taken_in_block_by_block(
    release: Release, author: User, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_files, "MAX_ITEMS", 1)
    lines = [f"{asked[0]},yes", f"{asked[1]},no"]
    dataset = add_dataset(release, author, csv(*lines, header="prediction,truth"), target="truth")

    receipt = outcome_files.take_in(dataset.pk)
    again = outcome_files.take_in(dataset.pk)

    assert receipt is not None and receipt.accepted == 2
    assert again is not None and Feedback.objects.count() == 2


def test_a_dataset_that_cannot_be_taken_in_says_so_in_the_audit_log(release: Release, author: User) -> None:
    dataset = add_dataset(release, author, csv("1,2", header="a,b"))

    outcome_files.take_in(dataset.pk)

    refused = AuditEvent.objects.get(action="feedback.given")
    assert (refused.result, refused.actor_name) == ("refused", str(author))


def test_a_new_dataset_of_outcomes_is_handed_to_a_worker(
    release: Release, author: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Any] = []
    monkeypatch.setattr(receivers.dispatch, "enqueue", lambda task, *ids: handed.append((task, *ids)))
    outcomes = add_dataset(release, author, csv("p_1,yes", header="prediction,actual"))
    reference = factories.create_dataset(model=release.model)

    for dataset in (outcomes, reference):
        receivers.take_in_outcomes(Dataset, dataset.pk)

    assert handed == [("inference.tasks.take_in_outcomes", outcomes.pk)]
