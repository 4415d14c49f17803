"""What was asked about a person goes away everywhere; that it went, and every count, stays."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from inference import erasing, log, logged, ports, records, retention, segments
from inference.erasing import Erased
from inference.feedback import give_feedback
from inference.models import Erasure, Feedback, LogSegment, Prediction
from inference.predictions import predict
from inference.validation import MANY
from registry.errors import Forbidden, Invalid
from registry.models import AuditEvent, IdempotencyRecord, Release, Role, User
from tests import factories
from tests.api import Program, create_key
from tests.inference import answers

pytestmark = pytest.mark.django_db
Erase = Callable[..., Erased]


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


@pytest.fixture
def erase(django_capture_on_commit_callbacks: Any) -> Erase:
    """The verb, in a transaction that is committed."""

    def act(*args: Any, **kwargs: Any) -> Erased:
        with django_capture_on_commit_callbacks(execute=True):
            return erasing.erase(*args, **kwargs)

    return act


def ask(release: Release, actor: User, count: int = 1, **fields: Any) -> list[str]:
    rows = [answers.row(**fields)] * count
    return [row.id for row in predict(release.model, rows, actor=actor, channel="api").rows]


def on_disk() -> bytes:
    return b"".join(path.read_bytes() for path in segments.segments(log.folder()))


def only_call() -> dict[str, Any]:
    [payload] = segments.read(segments.segments(log.folder())[0], 0).payloads
    call: dict[str, Any] = orjson.loads(payload)
    return call


def test_it_leaves_the_table_and_the_segments(
    release: Release, business: User, owner: User, erase: Erase
) -> None:
    [gone] = ask(release, business, city="Zuidoostbeemster")
    [kept] = ask(release, business, city="Pune")
    assert records.find(gone) and b"Zuidoostbeemster" in on_disk()
    size = len(on_disk())

    erased = erase([gone], actor=owner, reason="asked by the person")

    assert erased.to_json() == {"predictions": 1, "outcomes": 0, "unknown": []}
    assert records.find(gone) is None
    assert not Prediction.objects.filter(public_id=gone).exists()
    assert b"Zuidoostbeemster" not in on_disk() and b"Pune" in on_disk()
    assert len(on_disk()) == size
    assert records.find(kept) is not None


def test_a_neighbour_of_the_same_call_stays(
    release: Release, business: User, owner: User, erase: Erase
) -> None:
    gone, kept = ask(release, business, 2)

    erase([gone], actor=owner, reason="asked by the person")
    call = only_call()

    assert call["rows"][0] == {"id": gone, "erased": True}
    assert call["rows"][1]["id"] == kept and call["rows"][1]["inputs"]
    assert call["user"] == business.pk


def test_a_row_among_many_leaves_nothing_and_moves_nothing_of_its_neighbours(
    release: Release, business: User, owner: User, erase: Erase
) -> None:
    """Its cells go out of every column, its warnings and its reasons with them; the frame stays as long."""
    cities = ["Pune", "Zuidoostbeemster", *["Delhi"] * MANY, "Oostzaan"]
    rows = [answers.row(city=city, age=20 + place) for place, city in enumerate(cities)]
    found = predict(release.model, rows, actor=business, channel="api", explain=True).rows
    assert records.find(found[1].id) and {"Zuidoostbeemster", "Oostzaan"} == {
        each.inputs["city"] for each in found if each.warnings
    }
    size, before = len(on_disk()), logged.rows_of(only_call())

    erase([found[1].id], actor=owner, reason="asked by the person")

    assert b"Zuidoostbeemster" not in on_disk() and found[1].id.encode() not in on_disk()
    assert logged.rows_of(only_call()) == [before[0], *before[2:]]
    assert logged.rows_of(only_call())[-1]["warnings"] and len(on_disk()) == size
    assert only_call()["user"] == business.pk

    erase([each.id for each in found], actor=owner, reason="asked by the person")

    assert (logged.rows_of(only_call()), only_call()["asked"]) == ([], len(rows))
    assert (only_call()["user"], only_call()["user_name"]) == (None, "")
    assert b"Oostzaan" not in on_disk() and len(on_disk()) == size


@pytest.mark.parametrize("count", [2, MANY])
def test_it_does_not_come_back_when_the_log_is_read_again(
    release: Release,
    business: User,
    owner: User,
    erase: Erase,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
) -> None:
    gone, *kept = ask(release, business, count)
    erase([gone], actor=owner, reason="asked by the person")
    LogSegment.objects.update(offset=0)  # a database that was restored from before
    Prediction.objects.all().delete()
    counted: list[int] = []
    monkeypatch.setattr(ports, "sinks", [lambda batch: counted.append(len(batch))])

    log.ingest(wait=True)

    assert sorted(Prediction.objects.values_list("public_id", flat=True)) == sorted(kept)
    assert counted == [count - 1]


def test_another_machine_cleans_its_own_segments_at_its_tick(
    release: Release, business: User, owner: User, erase: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "_clean_here", lambda _count: None)  # the act happened elsewhere
    [gone] = ask(release, business, city="Zuidoostbeemster")
    erase([gone], actor=owner, reason="asked by the person")
    assert b"Zuidoostbeemster" in on_disk()

    assert erasing.clean_segments() == 1
    assert b"Zuidoostbeemster" not in on_disk()
    assert erasing.clean_segments() == 0


def test_tombstones_are_numbered_in_the_order_in_which_they_are_seen(
    release: Release, business: User, owner: User
) -> None:
    """A machine that has seen number 2 never looks for number 1 again, so 1 must have been there before."""
    [gone] = ask(release, business)
    assert records.find(gone)

    with CaptureQueriesContext(connection) as asked:
        erasing.erase([gone], actor=owner, reason="asked by the person")
    writes = [query["sql"] for query in asked if query["sql"].startswith("INSERT")]

    assert ["auditevent" in writes[0], "erasure" in writes[-1]] == [True, True]


def test_the_writer_goes_on_behind_what_was_overwritten(
    release: Release, business: User, owner: User, erase: Erase
) -> None:
    first = ask(release, business)
    erase(first, actor=owner, reason="asked by the person")

    second = ask(release, business)

    assert records.find(second[0]) is not None
    assert LogSegment.objects.exclude(lost=0).count() == 0


def test_outcomes_stay_and_lead_to_nobody(
    release: Release, business: User, owner: User, erase: Erase
) -> None:
    [gone] = ask(release, business)
    give_feedback([{"prediction": gone, "actual": "no"}], actor=business)
    give_feedback([{"prediction": gone, "actual": "yes"}], actor=business)

    erased = erase([gone], actor=owner, reason="asked by the person")

    assert erased.outcomes == 2
    assert [each.actual for each in Feedback.objects.current()] == ["yes"]
    assert not Feedback.objects.filter(prediction_id=gone).exists()
    assert give_feedback([{"prediction": gone, "actual": "no"}], actor=business).unknown == [gone]


def test_it_is_in_the_audit_log_with_its_reason(
    release: Release, business: User, owner: User, erase: Erase
) -> None:
    [gone] = ask(release, business)
    erase([gone], actor=owner, reason="asked by the person")

    event = AuditEvent.objects.get(action="prediction.erased")
    assert (event.actor_name, event.target_id) == (str(owner), str(release.model.pk))
    assert event.reason == "asked by the person"
    assert (event.details["predictions"], event.details["count"]) == ([gone], 1)


def test_twice_is_once(release: Release, business: User, owner: User, erase: Erase) -> None:
    [gone] = ask(release, business)
    erase([gone], actor=owner, reason="asked by the person")

    assert erase([gone], actor=owner, reason="again").unknown == [gone]
    assert AuditEvent.objects.filter(action="prediction.erased").count() == 1
    assert Erasure.objects.count() == 1


def test_who_does_not_own_the_model_may_not(release: Release, business: User, erase: Erase) -> None:
    [asked] = ask(release, business)
    other = factories.create_user(email="other@example.com", roles=[Role.AUTHOR])

    for person in (business, other):
        with pytest.raises(Forbidden):
            erase([asked], actor=person, reason="curious")

    assert records.find(asked) is not None


@pytest.mark.parametrize(
    ("ids", "reason", "code"),
    [(["p_1"], "  ", "missing"), ([], "why", "row_count")],
)
def test_it_says_what_is_wrong(owner: User, erase: Erase, ids: list[str], reason: str, code: str) -> None:
    with pytest.raises(Invalid) as error:
        erase(ids, actor=owner, reason=reason)

    assert [each["code"] for each in error.value.errors] == [code]


def test_nothing_is_overwritten_when_the_act_is_undone(release: Release, business: User, owner: User) -> None:
    [asked] = ask(release, business, city="Zuidoostbeemster")
    with pytest.raises(RuntimeError), transaction.atomic():
        erasing.erase([asked], actor=owner, reason="asked by the person")
        raise RuntimeError

    assert b"Zuidoostbeemster" in on_disk()
    assert records.find(asked) is not None


def test_the_api_erases_one(release: Release, business: User, owner: User) -> None:
    [gone] = ask(release, business)
    api = Program(create_key(owner, "upload"))
    address = f"/predictions/{gone}/erase/"

    assert api.post(address, {}).status_code == 422
    answer = api.post(address, {"reason": "asked by the person"})
    again = api.post(address, {"reason": "asked by the person"})

    assert (answer.status_code, answer.json()["predictions"]) == (200, 1)
    assert again.status_code == 404


def test_a_kept_answer_to_a_repeated_call_goes_too(release: Release, business: User, owner: User) -> None:
    for name, inputs in (("mine", answers.row(age=41)), ("another's", answers.row(age=42))):
        IdempotencyRecord.objects.create(
            credential="key:1",
            method="POST",
            path=f"/api/v1/models/{release.model.slug}/predict/",
            key=name,
            body="",
            status=200,
            response={"predictions": [{"id": name, "reasons": [{"value": inputs["age"]}]}]},
        )
    [gone] = ask(release, business)
    IdempotencyRecord.objects.filter(key="mine").update(response={"predictions": [{"id": gone}]})

    erasing.erase([gone], actor=owner, reason="asked by the person")

    assert [record.key for record in IdempotencyRecord.objects.all()] == ["another's"]


# --- by policy ---


def test_inputs_older_than_the_policy_says_are_emptied(release: Release, business: User) -> None:
    old, fresh = ask(release, business, 2)
    assert records.find(old)
    why = {"reasons": [{"field": "city", "value": "Zuidoostbeemster", "contribution": 0.5}]}
    Prediction.objects.filter(public_id=old).update(at=timezone.now() - timedelta(days=31), why=why)
    assert retention.forget_old_inputs() == 0  # the default keeps
    release.model.policy = {"input_days": 30}
    release.model.save()

    assert retention.forget_old_inputs() == 1
    assert retention.forget_old_inputs() == 0

    emptied, kept = (Prediction.objects.get(public_id=each) for each in (old, fresh))
    assert (emptied.inputs, emptied.warnings, emptied.why) == ({}, [], None)
    assert emptied.label is not None and emptied.inputs_removed_at is not None
    assert kept.inputs and kept.inputs_removed_at is None
