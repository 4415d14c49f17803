"""The prediction log: what was answered is recorded, once, whoever was killed."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import ids, log, ports, records, segments, validation
from inference.models import LogSegment, Prediction
from inference.ports import CallBatch
from inference.predictions import predict
from registry.models import Release, Role, User
from tests import factories
from tests.inference import answers
from tests.inference.installation import ROOT, SETUP, Installation

PREPARE = (
    SETUP
    + """
business = factories.create_user(email="business@example.com", roles=["business"])
print(factories.create_release().model.slug)
"""
)

ANSWER = (
    SETUP
    + """
import os, threading
from inference import runners
from inference.predictions import predict
from registry.models import RegisteredModel, User
from tests.inference import answers
runners.predict = answers.classify
model, user = RegisteredModel.objects.get(), User.objects.get(email="business@example.com")

def ask(count):
    while True:
        for row in predict(model, answers.rows(count), actor=user, channel="api").rows:
            os.write(1, f"{row.id}\\n".encode())

threads = [threading.Thread(target=ask, args=[count]) for count in (1, 2, 10)]  # by row and by column
for thread in threads: thread.start()
"""
)

INGEST = (
    SETUP
    + """
from inference import log, ports
ports.sinks.clear()
os_write = __import__("os").write
while True:
    log.ingest(wait=True)
    os_write(1, b"x")
"""
)

FINISH = (
    SETUP
    + """
from inference import log, ports
from inference.models import LogSegment, Prediction
counted = []
ports.sinks[:] = [lambda batch: counted.append(len(batch))]
log.ingest(wait=True)
print(json.dumps({
    "ids": list(Prediction.objects.values_list("public_id", flat=True)),
    "again": log.ingest(wait=True),
    "left": len(list(log.folder().glob("*.seg"))),
    "lost": sum(LogSegment.objects.exclude(lost=0).values_list("lost", flat=True)),
}))
"""
)


@pytest.fixture
def release(db: None, monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


def ask(release: Release, actor: User, count: int = 1) -> list[str]:
    rows = answers.rows(count)
    return [row.id for row in predict(release.model, rows, actor=actor, channel="api").rows]


def test_reading_twice_changes_nothing(release: Release, business: User) -> None:
    ask(release, business, 3)

    assert log.ingest() == 1
    assert log.ingest() == 0
    assert Prediction.objects.count() == 3


many_rows = st.lists(
    st.fixed_dictionaries(
        {"age": st.integers(0, 120), "city": st.sampled_from(["Delhi", "Pune", "Zuidoostbeemster"])},
        optional={"income": st.none() | st.integers(0, 9) | st.floats(0, 1e12)},
    ),
    min_size=validation.MANY,
    max_size=validation.MANY + 3,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many_rows, st.booleans())
def test_a_call_written_by_row_and_by_column_is_taken_in_alike(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch, rows: list[Any], explain: bool
) -> None:
    public_ids = ids.new_ids(len(rows))

    def taken_in() -> tuple[Any, Any]:
        batches: list[CallBatch] = []
        monkeypatch.setattr(ports, "sinks", [batches.append])
        predict(release.model, rows, actor=business, channel="api", ids=public_ids, explain=explain)
        assert log.ingest(wait=True) == 1
        [batch] = batches
        names = ("public_id", "inputs", "label", "value", "probabilities", "warnings", "why")
        counts = (batch.columns.to_pydict(), batch.labels, batch.values, batch.probabilities)
        return list(Prediction.objects.order_by("pk").values_list(*names)), counts

    by_column, counted = taken_in()
    assert len(by_column) == len(rows)
    again, counted_again = taken_in()
    assert (again, [len(each) for each in counted_again[1:]]) == (by_column, [0, 0, 0])
    Prediction.objects.all().delete()
    with monkeypatch.context() as patch:
        patch.setattr(validation, "MANY", len(rows) + 1)
        by_row, counted_by_row = taken_in()
    Prediction.objects.all().delete()

    assert repr(by_row) == repr(by_column)
    assert repr(counted_by_row) == repr(counted)


def test_a_finished_segment_goes_when_it_was_read(release: Release, business: User) -> None:
    ask(release, business)
    log._writer(log.folder(), False).close()

    log.ingest()

    assert segments.segments(log.folder()) == []
    assert LogSegment.objects.get().finished
    assert Prediction.objects.count() == 1


def test_a_segment_that_cannot_be_stored_does_not_stop_the_others(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(release, business)
    log._writer(log.folder(), False).close()
    kept = ask(release, business)
    first, _second = segments.segments(log.folder())
    store = log._store

    def fail_first(name: str, *arguments: Any) -> bool:
        if name == first.name:
            raise ValueError("poison")
        return store(name, *arguments)

    monkeypatch.setattr(log, "_store", fail_first)
    with pytest.raises(ValueError, match="poison"):
        log.ingest()
    assert [each.public_id for each in Prediction.objects.all()] == kept

    monkeypatch.undo()
    assert log.ingest() == 1  # nothing of it was lost


def test_a_torn_tail_of_a_dead_process_is_given_up(release: Release, business: User) -> None:
    ids = ask(release, business)
    log._writer(log.folder(), False).close()
    [path] = segments.segments(log.folder())
    with path.open("ab") as file:
        file.write(segments.frame(b"{}" * 50)[:-7])

    log.ingest()

    assert LogSegment.objects.get().lost == 12 + 100 - 7
    assert [each.public_id for each in Prediction.objects.all()] == ids


def test_damage_in_the_middle_costs_one_call_only(release: Release, business: User) -> None:
    lost, kept = ask(release, business), ask(release, business)
    [path] = segments.segments(log.folder())
    data = bytearray(path.read_bytes())
    data[30] ^= 0xFF
    path.write_bytes(data)

    log.ingest()

    assert [each.public_id for each in Prediction.objects.all()] == kept
    assert records.find(lost[0]) is None


def test_a_call_of_a_version_that_is_gone_does_not_stop_the_others(release: Release, business: User) -> None:
    call = log.LoggedCall(
        request_id="r",
        at=release.created_at,
        model_id=release.model_id,
        version_id=999_999,
        release_id=None,
        release_number=None,
        environment="production",
        channel="api",
        user_id=business.pk,
        user_name="",
        key_id=None,
        key_name="",
        status=200,
        latency_ms=1.0,
        asked=1,
        rows=[
            {
                "id": "p_lost",
                "inputs": {},
                "label": None,
                "value": None,
                "probabilities": None,
                "warnings": [],
            }
        ],
    )
    log.record(call)
    ids = ask(release, business)

    log.ingest()

    assert [each.public_id for each in Prediction.objects.all()] == ids


def test_a_person_who_was_deleted_leaves_a_name(release: Release) -> None:
    person = factories.create_user(roles=[Role.BUSINESS], name="Asha")
    ask(release, person)
    person.delete()

    log.ingest()

    prediction = Prediction.objects.get()
    assert (prediction.user, prediction.user_name != "") == (None, True)


def test_who_waits_for_no_turn_gets_none(release: Release, business: User) -> None:
    ask(release, business)

    with segments.turn(log.folder() / "ingest.lock", wait=False):
        assert log.ingest() == 0

    assert log.ingest() == 1


def test_a_thousand_rows_of_one_call_come_in_together(release: Release, business: User) -> None:
    ids = ask(release, business, 1200)

    assert len(records.find_many(ids)) == 1200
    assert set(records.find_many([*ids[:3], "p_unknown", "b_unknown_1", ""])) == set(ids[:3])


def read_ids(process: subprocess.Popen[bytes], at_least: int) -> bytes:
    """What the process wrote, until it has written so many lines."""
    assert process.stdout
    seen = b""
    while seen.count(b"\n") < at_least:
        ready, _write, _error = select.select([process.stdout], [], [], 60)
        assert ready, "the process says nothing"
        seen += os.read(process.stdout.fileno(), 1 << 16)
    return seen


def drain(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout
    with process.stdout:
        return process.stdout.read()


def spawn(place: Installation, code: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code]
    process: subprocess.Popen[bytes] = subprocess.Popen(
        command, env=place.environment, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    place.processes.append(process)
    return process


@pytest.mark.slow
def test_every_answered_prediction_is_recorded_once_through_kill_9_of_everything(tmp_path: Path) -> None:
    """Web-like processes answer with three threads each and are killed; so are those that read the log."""
    with Installation(tmp_path) as place:
        place.manage("migrate")
        place.run(PREPARE)
        answered = b""
        for _round in range(2):
            web, reader = spawn(place, ANSWER), spawn(place, INGEST)
            seen = read_ids(web, 200)
            for process in (reader, web):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            drain(reader)
            answered += seen + drain(web)
        result: dict[str, Any] = json.loads(place.run(FINISH))

    ids = answered.decode().rpartition("\n")[0].split("\n")
    assert len(ids) == len(set(ids)) >= 400
    assert set(ids) <= set(result["ids"])
    assert len(result["ids"]) == len(set(result["ids"]))
    assert (result["again"], result["left"]) == (0, 0)


def test_another_roles_prediction_is_found_but_not_shown(release: Release, business: User) -> None:
    [public_id] = ask(release, business)

    record = records.find(public_id)

    assert record is not None
    assert records.can_read(business, record)
    assert not records.can_read(factories.create_user(roles=[Role.BUSINESS]), record)
