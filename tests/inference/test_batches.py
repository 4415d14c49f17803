"""A file becomes answers in the background: every row once, in order, and the counts add up."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.test import TestCase
from django.utils import timezone

from inference import batches, ports
from inference.batches import files, finishing, working
from inference.models import BatchChunk, BatchJob
from inference.ports import CallBatch
from inference.runners import ModelUnavailable
from inference.runners.errors import refused
from registry import storage
from registry.errors import Forbidden, Invalid, NothingServing, Refused, TooLarge, Unreadable
from registry.models import AuditEvent, Release, User
from tests import factories
from tests.inference.batch_tools import (
    PlainRunner,
    RegressionRunner,
    TouchyRunner,
    finish,
    result_text,
    rows_csv,
    start,
    use_runner,
)

State = BatchJob.State

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(business: User) -> Release:
    return factories.create_release()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> PlainRunner:
    return use_runner(monkeypatch)


def result_rows(job: BatchJob, name: str = "result") -> list[dict[str, str]]:
    text = result_text(job, name)
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def test_it_scores_every_row_in_the_order_of_the_file(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, rows_csv(1234)))

    assert (job.state, job.total, job.scored, job.invalid, job.ignored) == (State.SUCCEEDED, 1234, 1234, 0, 0)
    rows = result_rows(job)
    assert [row["name"] for row in rows] == [f"person {n}" for n in range(1234)]
    assert rows[0] == {
        "age": "20", "income": "1000", "city": "Delhi", "name": "person 0",
        "prediction": "no", "probability_no": "0.75", "probability_yes": "0.25",
        "model_version": "v1", "row_status": "scored", "row_error": "",
    }  # fmt: skip
    assert job.chunks.count() > 1 and job.summary["classes"]["no"] + job.summary["classes"]["yes"] == 1234


def test_it_keeps_bad_rows_with_their_reason(release: Release, business: User, runner: PlainRunner) -> None:
    job = finish(start(release, business, rows_csv(20, bad=4) + b"\n,,,\n30,1,Pune\n"))

    assert job.state == State.SUCCEEDED_WITH_ERRORS
    assert (job.total, job.scored, job.invalid, job.ignored) == (27, 20, 5, 2)
    bad = [row for row in result_rows(job) if row["row_status"] == "invalid"]
    assert len(bad) == 5 and bad[0]["prediction"] == "" and "age: “old”" in bad[0]["row_error"]
    problems = result_rows(job, "problems")
    assert problems[0]["row_number"] == "2" and problems[0]["how_to_fix"]
    assert problems[-1]["row_number"] == "28" and "3 values" in problems[-1]["problem"]
    assert [(group["code"], group["count"]) for group in job.problems] == [("not_a_number", 4), ("ragged", 1)]


def test_it_tells_the_sinks_of_every_row_once(
    release: Release, business: User, runner: PlainRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[CallBatch] = []
    monkeypatch.setattr(ports, "sinks", [told.append])

    job = finish(start(release, business, rows_csv(700, bad=7)))

    assert sum(len(each) for each in told) == 700
    assert {each.source for each in told} == {f"batch:{job.public_id}:{n}" for n in range(job.chunks.count())}
    assert told[0].columns.column_names == ["age", "income", "city"] and told[0].classes == ("no", "yes")


def lose_account(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def lose_role(user: User) -> None:
    user.grants.all().delete()


@pytest.mark.parametrize("lose", [lose_account, lose_role])
def test_a_job_ends_when_its_owner_may_not_predict_any_more(
    release: Release, business: User, runner: PlainRunner, lose: Any
) -> None:
    job = start(release, business)
    lose(business)

    finish(job)

    assert (job.state, job.scored, runner.asked) == (State.FAILED, 0, [])
    assert job.error.startswith("business@example.com, who started this job, may not predict")


def test_who_lost_the_role_neither_runs_nor_retries(
    release: Release, business: User, runner: PlainRunner
) -> None:
    held, failed = finish(start(release, business, hold=True)), start(release, business)
    batches.cancel(failed, actor=business)
    lose_role(business)
    former = User.objects.get(pk=business.pk)

    for act, job in ((batches.run, held), (batches.retry, failed)):
        with pytest.raises(Forbidden) as caught:
            act(job, actor=former)
        assert caught.value.code == "needs_business"


def test_it_stays_on_the_version_it_was_started_with(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = start(release, business)
    factories.create_release(version=factories.create_version(model=release.model))

    assert {row["model_version"] for row in result_rows(finish(job))} == {"v1"}


def test_it_rejects_a_file_that_lacks_columns_and_names_them_all(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, b"income,name\n1,x\n"))

    assert job.state == State.REJECTED and "age" in job.error and "city" in job.error


def test_it_rejects_a_file_with_bad_rows_when_asked_to_stop(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, rows_csv(10, bad=2), on_invalid="stop"))

    assert job.state == State.REJECTED and job.problems[0]["count"] == 2 and runner.asked == []


def test_it_waits_for_a_word_when_held(release: Release, business: User, runner: PlainRunner) -> None:
    job = finish(start(release, business, hold=True))
    assert job.state == State.READY

    batches.run(job, actor=business)

    assert finish(job).state == State.SUCCEEDED


def test_rows_that_nobody_ran_are_deleted_in_their_time(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, hold=True))
    assert storage.exists(files.upload_key(job))
    BatchJob.objects.update(expires_at=timezone.now() - timedelta(days=1))

    with TestCase.captureOnCommitCallbacks(execute=True):
        batches.requeue_lost()

    job.refresh_from_db()
    assert job.state == State.EXPIRED
    assert not storage.exists(files.upload_key(job))


def test_a_job_that_is_stopped_while_it_is_finished_is_left_to_the_next(
    release: Release, business: User, runner: PlainRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(release, business)
    write = finishing._write

    def stop_meanwhile(held: BatchJob, chunks: list[BatchChunk]) -> None:
        write(held, chunks)
        batches.cancel(BatchJob.objects.get(pk=held.pk), actor=business)
        monkeypatch.undo()
        use_runner(monkeypatch, runner)

    monkeypatch.setattr(finishing, "_write", stop_meanwhile)
    job = finish(job)

    assert (job.state, job.owner) == (State.CANCELLING, "")
    assert finish(job).state == State.CANCELLED


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", Unreadable), (b"PK\x03\x04zip", Invalid), (b"%PDF-1.7", Invalid), (b"  \n ", Invalid)],
)
def test_it_refuses_what_is_no_table_before_storing_it(
    release: Release, business: User, content: bytes, error: type[Refused]
) -> None:
    with pytest.raises(error):
        batches.start_batch(release.model, io.BytesIO(content), "x.csv", actor=business)

    assert not BatchJob.objects.exists() and not AuditEvent.objects.filter(action="batch.started").exists()


def test_it_refuses_a_file_over_the_limit(release: Release, business: User, settings: Any) -> None:
    settings.MODELGATE_MAX_BATCH = 10
    with pytest.raises(TooLarge):
        start(release, business)


def test_it_refuses_unknown_options_all_at_once(release: Release, business: User) -> None:
    with pytest.raises(Invalid) as refusal:
        start(release, business, on_invalid="maybe", colour="red", hold="yes")

    assert {error["field"] for error in refusal.value.errors} == {
        "options.on_invalid", "options.colour", "options.hold"
    }  # fmt: skip


def test_it_refuses_who_may_not_predict(release: Release, auditor: User, stranger: User) -> None:
    for person in (auditor, stranger):
        with pytest.raises(Forbidden):
            start(release, person)


def test_it_refuses_a_model_that_does_not_answer(business: User) -> None:
    version = factories.create_version()
    with pytest.raises(NothingServing):
        batches.start_batch(version.model, io.BytesIO(b"age\n1\n"), "x.csv", actor=business)


def test_it_refuses_to_set_the_time_back_unless_this_is_the_demo(release: Release, business: User) -> None:
    from django.utils import timezone

    with pytest.raises(Refused) as caught:
        batches.start_batch(
            release.model, io.BytesIO(b"age\n1\n"), "x.csv", actor=business, as_of=timezone.now()
        )

    assert caught.value.code == "as_of_not_allowed"


def test_cancel_keeps_what_is_scored_and_retry_scores_only_the_rest(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.batches import preparing

    runner = use_runner(monkeypatch)
    job = start(release, business, rows_csv(2000))
    preparing.prepare(job.pk)
    job.refresh_from_db()
    chunk = working.claim_next(job)
    assert chunk is not None
    chunk.job = job
    working.score_chunk(chunk, runner)  # type: ignore[arg-type]

    batches.cancel(job, actor=business)
    finish(job)

    assert (job.state, job.total, job.scored, job.unscored) == (State.CANCELLED, 2000, 500, 1500)
    assert len(result_rows(job)) == 500
    asked = len(runner.asked)

    batches.retry(job, actor=business)
    finish(job)

    assert (job.state, job.scored) == (State.SUCCEEDED, 2000)
    assert sum(runner.asked[asked:]) == 1500 and len(result_rows(job)) == 2000


def test_a_job_that_nobody_works_on_is_cancelled_at_once(release: Release, business: User) -> None:
    job = start(release, business)
    assert batches.cancel(job, actor=business).state == State.CANCELLED
    with pytest.raises(Refused):
        batches.cancel(job, actor=business)


def test_only_its_owner_or_an_operator_may_stop_a_job(
    release: Release, business: User, operator: User
) -> None:
    other = factories.create_user(roles=["business"])
    job = start(release, business)
    with pytest.raises(Forbidden):
        batches.cancel(job, actor=other)
    assert batches.cancel(job, actor=operator).state == State.CANCELLED


def test_a_late_worker_changes_nothing(release: Release, business: User, runner: PlainRunner) -> None:
    from inference.batches import preparing

    job = start(release, business, rows_csv(20))
    preparing.prepare(job.pk)
    job.refresh_from_db()
    late = working.claim_next(job)
    assert late is not None
    late.job = job
    BatchChunk.objects.filter(pk=late.pk).update(lease_until=job.created_at)
    finish(job)
    text = result_text(job)

    with pytest.raises(working.Stopped):
        working.score_chunk(late, runner)  # type: ignore[arg-type]

    job.refresh_from_db()
    assert job.state == State.SUCCEEDED and result_text(job) == text


def test_a_damaged_part_is_scored_again(release: Release, business: User, runner: PlainRunner) -> None:
    from inference.batches import preparing

    job = start(release, business, rows_csv(1000))
    preparing.prepare(job.pk)
    job.refresh_from_db()
    chunk = working.claim_next(job)
    assert chunk is not None
    chunk.job = job
    working.score_chunk(chunk, runner)  # type: ignore[arg-type]
    chunk.refresh_from_db()
    path = storage.local_path(chunk.part_key)
    assert path is not None
    path.write_bytes(b"damaged")

    finish(job)
    assert job.state == State.RUNNING
    finish(job)

    assert job.state == State.SUCCEEDED and len(result_rows(job)) == 1000


def test_a_model_that_always_fails_fails_the_job_with_a_reason(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.runners import ModelError

    use_runner(monkeypatch, PlainRunner(fail=ModelError("The model failed on these rows.")))
    job = finish(start(release, business))

    assert job.state == State.FAILED and job.error == "The model failed on these rows."
    use_runner(monkeypatch)
    batches.retry(job, actor=business)
    assert finish(job).state == State.SUCCEEDED


def test_a_version_that_was_withdrawn_answers_no_further_rows(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = start(release, business)
    type(release.version).objects.filter(pk=release.version_id).update(state="quarantined")

    assert finish(job).state == State.FAILED and runner.asked == []


def test_rows_can_be_found_by_their_id(release: Release, business: User, runner: PlainRunner) -> None:
    job = finish(start(release, business, rows_csv(600)))
    name = batches.prediction_id(job, 555)

    found = ports.resolvers["b"]([name, batches.prediction_id(job, 9999), "b_nothing_1", "b_x", "p_1"])

    assert set(found) == {name}
    record = found[name]
    assert record.inputs == {"age": 35, "income": 1555.0, "city": "Pune"}
    assert record.label == "no" and record.probabilities == {"no": 0.5625, "yes": 0.4375}
    assert (record.channel, record.version_id, record.user_id) == ("batch", release.version_id, business.pk)


def test_reasons_come_with_the_rows_when_they_are_asked_for(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, rows_csv(240, bad=2), explain=True))

    rows = result_rows(job)
    scored = [row for row in rows if row["row_status"] == "scored"]
    assert len(scored) == 240
    assert scored[0]["reason_1"] == "age = 21: -0.2375"
    assert {row["reason_1"] for row in rows if row["row_status"] == "invalid"} == {""}
    name = batches.prediction_id(job, rows.index(scored[5]))
    record = ports.resolvers["b"]([name])[name]
    added_up = record.why["base"] + sum(each["contribution"] for each in record.why["reasons"])
    assert added_up == pytest.approx(record.value)


def test_a_file_too_long_for_reasons_is_refused(
    release: Release, business: User, runner: PlainRunner, settings: Any
) -> None:
    settings.MODELGATE_MAX_EXPLAINED_ROWS = 100

    job = finish(start(release, business, rows_csv(101), explain=True))

    assert job.state == State.REJECTED
    assert "100 rows are scored with reasons" in job.error


def test_deleting_a_job_keeps_its_numbers(release: Release, business: User, runner: PlainRunner) -> None:
    job = finish(start(release, business))
    folder = storage.local_path(files.upload_key(job))
    batches.delete_now(job, actor=business)

    assert (job.state, job.scored) == (State.EXPIRED, 3) and folder is not None


def test_formulas_are_made_harmless_and_numbers_left_alone(
    release: Release, business: User, runner: PlainRunner
) -> None:
    content = b'age,city,note,extra\n30,Pune,"=1+1",-5\n31,Pune,"@SUM(A1)",+1.5e3\n32,Pune,"-2+3",plain\n'
    job = finish(start(release, business, content))

    rows = result_rows(job)
    assert [row["note"] for row in rows] == ["'=1+1", "'@SUM(A1)", "'-2+3"]
    assert [row["extra"] for row in rows] == ["-5", "+1.5e3", "plain"]


def test_a_column_called_prediction_is_not_overwritten(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, b"age,city,prediction\n30,Pune,mine\n"))

    row = result_rows(job)[0]
    assert (row["prediction"], row["prediction__2"]) == ("mine", "no")


def test_cells_with_line_ends_of_any_kind_stay_one_cell(
    release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, b'age,city,note\n30,Pune,"one\rtwo"\n31,Pune,"three\nfour"\n'))

    assert [row["note"] for row in result_rows(job)] == ["one\rtwo", "three\nfour"]


def test_a_regression_has_values_and_no_probabilities(
    business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = {**factories.SCHEMA, "target": {"name": "price", "task": "regression"}}
    model = factories.create_model(task="regression")
    release = factories.create_release(version=factories.create_version(model=model, schema=schema))
    use_runner(monkeypatch, RegressionRunner())

    job = finish(start(release, business, b"age,city\n30,Pune\nold,Pune\n"))

    rows = result_rows(job)
    assert rows[0]["prediction"] == "60.5" and rows[1]["prediction"] == ""
    assert not [name for name in rows[0] if name.startswith("probability")]
    assert job.summary["min"] == job.summary["max"] == 60.5


def test_a_row_on_which_the_model_fails_costs_that_row_only(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_runner(monkeypatch, TouchyRunner())

    job = finish(start(release, business, rows_csv(300)))

    assert (job.state, job.scored, job.invalid) == (State.SUCCEEDED_WITH_ERRORS, 295, 5)
    assert [(group["code"], group["count"]) for group in job.problems] == [("model_failed", 5)]
    rows = result_rows(job)
    assert len(rows) == 300 and {row["age"] for row in rows if row["row_status"] == "invalid"} == {"33"}


def test_a_job_waits_with_a_sentence_while_a_layer_of_the_jail_is_missing(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = refused("jail_missing", "landlock is off")
    runner = use_runner(monkeypatch, PlainRunner(fail=missing))
    job = start(release, business)
    for _attempt in range(working.MAX_TRIES + 5):
        finish(job)
    assert (job.state, job.scored) == (State.QUEUED, 0)
    assert "lacks a part of the jail" in job.error and "administrator" in job.error

    runner.fail = None
    assert finish(job).state == State.SUCCEEDED
    assert job.error == ""


def test_a_job_waits_while_the_model_service_is_away(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = ModelUnavailable("The model service does not answer.", code="model_service_away")
    runner = use_runner(monkeypatch, PlainRunner(fail=away))
    job = start(release, business)
    for _attempt in range(working.MAX_TRIES + 5):
        finish(job)
    assert (job.state, job.scored) == (State.RUNNING, 0)

    runner.fail = None
    assert finish(job).state == State.SUCCEEDED
