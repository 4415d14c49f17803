"""A row of a batch is erased like any prediction: out of the parts, the result and the upload; every count stays."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.utils import timezone

from inference import batches, cold, erasing, leftovers, log, records
from inference.batches import again, downloads, files, parts, preparing, results, rewriting, working
from inference.feedback import give_feedback
from inference.models import BatchChunk, BatchJob, Feedback, Leftover, Prediction
from inference.predictions import predict
from registry import storage
from registry.errors import Gone, Refused, Unavailable
from registry.models import AuditEvent, Release, User
from tests import factories
from tests.inference import answers
from tests.inference.batch_tools import finish, result_text, rows_csv, start, use_runner

State = BatchJob.State
ROWS = 2000  # more than one chunk

pytestmark = pytest.mark.django_db
Erase = Callable[..., erasing.Erased]


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, business: User) -> Release:
    use_runner(monkeypatch)
    return factories.create_release()


@pytest.fixture
def job(release: Release, business: User) -> BatchJob:
    return finish(start(release, business, rows_csv(ROWS, bad=3)))


def row_of(job: BatchJob, name: str) -> str:
    """The id of the row of this person."""
    for chunk in results.done_chunks(job):
        table = results.open_part(chunk)
        for cells in table.select(["c3", "row"]).to_pylist():
            if cells["c3"] == name:
                return batches.prediction_id(job, cells["row"])
    raise LookupError(name)


def rows_of(job: BatchJob) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result_text(job)[1:], newline="")))


def on_disk(job: BatchJob) -> str:
    """Every file of the job, as text."""
    found = ""
    for name in storage.names(files.folder(job)):
        with storage.open_read(f"{files.folder(job)}/{name}") as file:
            data = file.read()
        found += str(pq.read_table(io.BytesIO(data)).to_pylist()) if data[:4] == b"PAR1" else data.decode()
    return found


def names(job: BatchJob) -> set[str]:
    return {f"{files.folder(job)}/{name}" for name in storage.names(files.folder(job))}


def needed(job: BatchJob) -> set[str]:
    job.refresh_from_db()
    return {*job.files.values(), *job.chunks.values_list("part_key", flat=True)}


def test_the_row_leaves_every_file_and_keeps_its_place(job: BatchJob, erase: Erase) -> None:
    gone, kept = row_of(job, "person 70"), row_of(job, "person 71")
    before, record = rows_of(job), records.find(kept)
    assert "person 70'" in on_disk(job) and "person 70\n" in on_disk(job).replace(",", "\n")

    assert erase(gone).to_json() == {"predictions": 1, "outcomes": 0, "unknown": []}

    job.refresh_from_db()
    after = rows_of(job)
    place = next(n for n, row in enumerate(before) if row["name"] == "person 70")
    assert after[place] == {name: "erased" if name == "row_status" else "" for name in after[place]}
    assert after[:place] + after[place + 1 :] == before[:place] + before[place + 1 :]
    assert records.find(gone) is None and records.find(kept) == record
    assert "person 70'" not in on_disk(job) and "person 70\n" not in on_disk(job).replace(",", "\n")
    assert names(job) == needed(job) and not Leftover.objects.exists()
    assert (job.total, job.scored, job.invalid, job.state) == (
        ROWS + 3, ROWS, 3, State.SUCCEEDED_WITH_ERRORS,
    )  # fmt: skip


def test_every_other_form_of_the_result_is_without_it(job: BatchJob, business: User, erase: Erase) -> None:
    erase(row_of(job, "person 70"))
    job.refresh_from_db()

    with downloads.open_result(job, actor=business, form="parquet").file as file:
        table = pq.read_table(file)
    with downloads.open_result(job, actor=business, form="csv-raw").file as file:
        raw = list(csv.DictReader(io.StringIO(file.read().decode("utf-8-sig"), newline="")))

    assert table.num_rows == len(raw) == ROWS + 3
    for found in (table["name"].to_pylist(), [row["name"] for row in raw]):
        assert "person 70" not in found and "person 71" in found
    assert table["row_status"].to_pylist().count("erased") == 1


def test_outcomes_stay_and_the_audit_log_knows_the_files(job: BatchJob, business: User, erase: Erase) -> None:
    gone = row_of(job, "person 70")
    chunk = next(each for each in results.done_chunks(job) if each.index == 0)
    give_feedback([{"prediction": gone, "actual": "yes"}], actor=business)

    assert erase(gone).outcomes == 1

    assert Feedback.objects.get().prediction_id.startswith("erased_")
    event = AuditEvent.objects.get(action="prediction.erased")
    assert (event.details["predictions"], event.details["count"]) == ([gone], 1)
    upload, part = event.details["files"]
    assert (upload["sha256"], upload["becomes"]) == (job.sha256, None)
    now = BatchChunk.objects.get(pk=chunk.pk)
    assert (part["sha256"], part["becomes"]["sha256"]) == (chunk.sha256, now.sha256)
    assert chunk.sha256 != now.sha256


def test_twice_is_once_and_a_row_without_an_answer_is_unknown(job: BatchJob, erase: Erase) -> None:
    gone = row_of(job, "person 70")
    [bad] = [chunk for chunk in results.done_chunks(job) if chunk.index == 0]
    invalid = next(
        row["row"] for row in results.open_part(bad).to_pylist() if row[parts.STATUS] == parts.INVALID
    )
    erase(gone)

    again_ = [gone, batches.prediction_id(job, invalid), batches.prediction_id(job, 10**6)]
    assert erase(*again_).unknown == again_
    assert AuditEvent.objects.filter(action="prediction.erased").count() == 1


def test_another_row_of_the_same_part_can_be_erased_later(job: BatchJob, erase: Erase) -> None:
    first, second = row_of(job, "person 70"), row_of(job, "person 90")
    erase(first)
    erase(second)

    job.refresh_from_db()
    assert [row["row_status"] for row in rows_of(job)].count("erased") == 2
    assert names(job) == needed(job)


def test_a_job_that_goes_on_is_not_touched(release: Release, business: User, erase: Erase) -> None:
    job = start(release, business, rows_csv(ROWS))
    preparing.prepare(job.pk)
    finish(job)
    gone = row_of(job, "person 70")
    BatchJob.objects.filter(pk=job.pk).update(state=State.RUNNING)

    with pytest.raises(Refused, match="not finished") as error:
        erase(gone)

    assert error.value.status == 409 and records.find(gone) is not None
    assert not Leftover.objects.exists()


def test_a_stopped_job_goes_on_without_it(
    release: Release, business: User, erase: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(release, business, rows_csv(ROWS))
    preparing.prepare(job.pk)
    monkeypatch.setattr(working, "TURN_SECONDS", -1)
    working.work(job.pk)
    batches.cancel(job, actor=business)
    job = finish(job)
    assert job.state == State.CANCELLED and 0 < job.scored < ROWS
    erase(row_of(job, "person 70"))
    assert "person 70'" not in on_disk(job)

    monkeypatch.undo()
    use_runner(monkeypatch)
    job.refresh_from_db()
    batches.retry(job, actor=business)
    job = finish(job)

    statuses = [row["row_status"] for row in rows_of(job)]
    assert (job.state, job.scored) == (State.SUCCEEDED, ROWS)
    assert (statuses.count("erased"), statuses.count("scored")) == (1, ROWS - 1)


def test_its_file_is_not_scored_again(job: BatchJob, business: User, erase: Erase) -> None:
    erase(row_of(job, "person 70"))

    with pytest.raises(Gone, match="erased"):
        again.rerun(job, actor=business)


def test_what_was_rewritten_expires_with_its_job(
    job: BatchJob, erase: Erase, django_capture_on_commit_callbacks: Any
) -> None:
    stale = BatchJob.objects.get(pk=job.pk)
    erase(row_of(job, "person 70"))

    with django_capture_on_commit_callbacks(execute=True):
        batches.delete_now(stale, actor=job.created_by)

    assert names(job) == set()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (leftovers, "announce"),
        (parts, "write"),
        (results, "store"),
        (rewriting.JobRewrite, "swap"),
        (leftovers, "discard"),
    ],
)
def test_a_killed_erasure_has_happened_or_not(
    job: BatchJob, erase: Erase, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, after: bool
) -> None:
    gone = row_of(job, "person 70")
    before, record = rows_of(job), records.find(gone)
    step = getattr(place, name)

    def killed(*args: Any, **kwargs: Any) -> Any:
        if after:
            step(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        patch.setattr(leftovers, "drop", lambda _key: None)  # who was killed cleans nothing up
        with pytest.raises(Killed):
            erase(gone)
    job.refresh_from_db()
    assert rows_of(job) == before and records.find(gone) == record

    erase(gone)
    Leftover.objects.update(due=timezone.now())
    leftovers.collect()

    assert records.find(gone) is None and names(job) == needed(job)
    assert "person 70'" not in on_disk(job)


def test_who_is_overtaken_tries_again(job: BatchJob, erase: Erase, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = row_of(job, "person 70"), row_of(job, "person 90")
    without = rewriting.without

    def interrupted(ids: Any) -> Any:
        prepared = list(without(ids))
        monkeypatch.setattr(rewriting, "without", without)
        erase(second)
        return prepared

    monkeypatch.setattr(rewriting, "without", interrupted)
    assert erase(first).predictions == 1

    job.refresh_from_db()
    assert [row["row_status"] for row in rows_of(job)].count("erased") == 2
    assert names(job) == needed(job) and not Leftover.objects.exists()


def test_a_damaged_part_says_so_and_the_others_are_read(job: BatchJob, erase: Erase) -> None:
    first, last = results.done_chunks(job)[0], results.done_chunks(job)[-1]
    path = storage.local_path(first.part_key)
    assert path is not None and first.pk != last.pk
    gone, other = row_of(job, "person 0"), row_of(job, f"person {ROWS - 1}")
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(Unavailable, match="cannot be read"):
        records.find(gone)
    with pytest.raises(Unavailable, match="cannot be read"):
        erase(gone)
    assert records.find(other) is not None


def test_rows_of_batches_and_single_predictions_go_in_one_act(
    job: BatchJob, release: Release, business: User, erase: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.install(monkeypatch)
    [single] = [row.id for row in predict(release.model, [answers.row()], actor=business, channel="api").rows]
    log.ingest(wait=True)
    Prediction.objects.update(at=timezone.now() - timedelta(days=3))
    cold.move_old()
    first, second = row_of(job, "person 70"), row_of(job, f"person {ROWS - 1}")

    BatchJob.objects.filter(pk=job.pk).update(state=State.RUNNING)
    with pytest.raises(Refused, match="not finished"):
        erase(single, first)
    assert records.find(single) is not None

    BatchJob.objects.filter(pk=job.pk).update(state=job.state)
    assert erase(first, single, "p_unknown", second).to_json() == {
        "predictions": 3, "outcomes": 0, "unknown": ["p_unknown"],
    }  # fmt: skip
    assert len(AuditEvent.objects.get(action="prediction.erased").details["files"]) == 4
