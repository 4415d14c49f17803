"""Files through the API: started, watched, taken away, done again."""

import io
import json

import pyarrow.parquet as pq
import pytest

from inference.models import BatchJob
from registry.models import AuditEvent, Release, User
from tests.api import Program, body_of, ok, problem, program
from tests.factories import create_model, create_release, create_version
from tests.inference import answers
from tests.inference.batch_tools import finish, rows_csv, use_runner

BATCHES = "/models/loans/batches/"


@pytest.fixture(autouse=True)
def _runner(monkeypatch: pytest.MonkeyPatch) -> None:
    use_runner(monkeypatch)
    answers.install(monkeypatch)


@pytest.fixture
def release(db: None) -> Release:
    return create_release(version=create_version(model=create_model(slug="loans")))


@pytest.fixture
def caller(integrator: User) -> Program:
    return program(integrator)


def start(caller: Program, content: bytes = b"", **fields: str) -> BatchJob:
    found = ok(caller.upload(BATCHES, file=("people.csv", content or rows_csv(3)), **fields), 202)
    return BatchJob.objects.get(public_id=found["id"])


def test_a_file_is_scored_and_its_rows_add_up(caller: Program, release: Release) -> None:
    found = ok(caller.upload(BATCHES, file=("people.csv", rows_csv(5, bad=2) + b"\n")), 202)
    assert (found["state"], found["version"], found["filename"]) == ("uploaded", 1, "people.csv")
    problem(caller.get(f"/batches/{found['id']}/result/"), 409, "not_finished")

    finish(BatchJob.objects.get())

    done = ok(caller.get(f"/batches/{found['id']}/"))
    assert done["state"] == "succeeded_with_errors"
    assert done["rows"] == {"total": 8, "scored": 5, "invalid": 2, "ignored": 1, "unscored": 0}
    assert done["problems"][0]["field"] == "age"
    assert ok(caller.get("/batches/", model="loans", state=done["state"]))["count"] == 1
    problem(caller.get("/batches/", state="guessing"), 422)


@pytest.mark.parametrize("form", ["csv", "csv-raw", "parquet"])
def test_the_result_comes_in_three_forms(caller: Program, release: Release, form: str) -> None:
    job = finish(start(caller))

    response = caller.get(f"/batches/{job.public_id}/result/", **{"as": form})

    content = body_of(response)
    assert response["Content-Disposition"].startswith("attachment;")
    if form == "parquet":
        names = pq.read_table(io.BytesIO(content)).column_names
    else:
        names = content.decode("utf-8-sig").splitlines()[0].split(",")
    assert {"prediction", "model_version", "row_status"} <= set(names)
    problem(caller.get(f"/batches/{job.public_id}/result/", **{"as": "xlsx"}), 422, "invalid_choice")


def test_problem_rows_come_as_a_file(caller: Program, release: Release) -> None:
    clean, mixed = finish(start(caller)), finish(start(caller, rows_csv(3, bad=1)))

    problem(caller.get(f"/batches/{clean.public_id}/problems/"), 404, "no_problems")
    assert b"old" in body_of(caller.get(f"/batches/{mixed.public_id}/problems/"))


def test_answers_are_counted_for_those_who_may_read_the_rows(
    caller: Program, release: Release, operator: User, auditor: User
) -> None:
    job = finish(start(caller))
    path = f"/batches/{job.public_id}/"

    assert ok(caller.get(path))["summary"]["classes"]
    assert ok(program(auditor).get(path))["summary"]["classes"]
    assert ok(program(operator).get(path))["summary"] == {}
    assert ok(program(operator).get("/batches/"))["results"][0]["summary"] == {}


def test_a_held_job_waits_for_run(caller: Program, release: Release) -> None:
    job = finish(start(caller, options=json.dumps({"hold": True})))
    assert job.state == "ready"

    assert ok(caller.post(f"/batches/{job.public_id}/run/"))["state"] == "queued"
    assert finish(job).state == "succeeded"
    problem(caller.post(f"/batches/{job.public_id}/run/"), 409, "wrong_state")


def test_a_job_is_cancelled_and_retried(caller: Program, release: Release) -> None:
    job = start(caller)

    assert ok(caller.post(f"/batches/{job.public_id}/cancel/"))["state"] == "cancelled"
    problem(caller.post(f"/batches/{job.public_id}/cancel/"), 409, "wrong_state")
    assert ok(caller.post(f"/batches/{job.public_id}/retry/"))["state"] == "uploaded"
    assert finish(job).state == "succeeded"


def test_a_file_runs_again_on_another_version(caller: Program, release: Release) -> None:
    job = finish(start(caller))
    create_release(version=create_version(model=release.model))

    newer = ok(caller.post(f"/batches/{job.public_id}/rerun/"), 202)
    older = ok(caller.post(f"/batches/{job.public_id}/rerun/", {"version": 1}), 202)

    assert (newer["version"], older["version"]) == (2, 1)
    assert newer["id"] != older["id"] != job.public_id
    problem(caller.post(f"/batches/{job.public_id}/rerun/", {"version": 7}), 409, "not_released")


def test_what_is_deleted_is_gone(caller: Program, release: Release) -> None:
    job = finish(start(caller))
    BatchJob.objects.update(state="expired")

    problem(caller.get(f"/batches/{job.public_id}/result/"), 410, "expired")
    problem(caller.post(f"/batches/{job.public_id}/rerun/"), 410, "expired")


def test_a_file_is_tried_without_keeping_anything(caller: Program, release: Release) -> None:
    found = ok(caller.upload("/models/loans/check-file/", file=("people.csv", rows_csv(7, bad=2) + b"\n")))

    assert found["rows"] == {"total": 10, "valid": 7, "invalid": 2, "ignored": 1}
    assert [(group["field"], group["code"], group["count"]) for group in found["problems"]] == [
        ("age", "not_a_number", 2)
    ]
    assert found["columns"] == {"age": "age", "income": "income", "city": "city"}
    assert len(found["first_rows"]) == 5
    assert found["first_rows"][0]["label"] in ("no", "yes")
    assert not BatchJob.objects.exists()


@pytest.mark.parametrize(
    "options", ["{", "[]", '{"colour": "red"}', '{"on_invalid": "guess"}', '{"explain": "yes"}']
)
def test_options_that_make_no_sense_are_named(caller: Program, release: Release, options: str) -> None:
    found = problem(caller.upload(BATCHES, file=("people.csv", rows_csv(1)), options=options), 422)

    assert found["errors"][0]["field"].startswith("options")
    assert not BatchJob.objects.exists()


def test_an_empty_file_is_refused(caller: Program, release: Release) -> None:
    problem(caller.upload(BATCHES, file=("people.csv", b"")), 415, "empty_file")


def test_nothing_is_scored_where_nothing_serves(caller: Program) -> None:
    create_version(model=create_model(slug="loans"))

    problem(caller.upload(BATCHES, file=("people.csv", rows_csv(1))), 503, "nothing_serving")

    assert AuditEvent.objects.get().action == "batch.started"
    assert AuditEvent.objects.get().result == "refused"


def test_other_peoples_jobs_do_not_exist(caller: Program, release: Release, business: User) -> None:
    job = finish(start(caller))

    assert ok(program(business).get("/batches/"))["count"] == 0
    for path in ("", "result/", "problems/"):
        problem(program(business).get(f"/batches/{job.public_id}/{path}"), 404)


def test_operators_see_the_job_and_not_the_rows(caller: Program, release: Release, operator: User) -> None:
    job = finish(start(caller))

    ok(program(operator).get(f"/batches/{job.public_id}/"))
    problem(program(operator).get(f"/batches/{job.public_id}/result/"), 403, "not_yours")


def test_a_key_for_other_models_does_not_know_the_job(
    caller: Program, release: Release, integrator: User
) -> None:
    job = start(caller)

    problem(program(integrator, models=[create_model(slug="other")]).get(f"/batches/{job.public_id}/"), 404)
