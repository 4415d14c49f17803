"""Older predictions move into columnar files, and nobody can tell by reading them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.utils import timezone

from inference import clients, cold, erasing, leftovers, log, records, retention
from inference.cold import columns, moving, rewriting, writing
from inference.feedback import give_feedback
from inference.leftovers import Overtaken
from inference.models import ColdFile, Erasure, Leftover, Prediction
from inference.ports import PredictionRecord
from inference.predictions import predict
from registry import storage
from registry.errors import Refused
from registry.models import AuditEvent, Release, User
from tests import factories
from tests.inference import answers

pytestmark = pytest.mark.django_db
Erase = Callable[..., erasing.Erased]


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


@pytest.fixture
def tick(django_capture_on_commit_callbacks: Any) -> Callable[[], None]:
    def run() -> None:
        with django_capture_on_commit_callbacks(execute=True):
            retention.forget_old_inputs()
            cold.move_old()
            cold.drop_unneeded()
            leftovers.collect()

    return run


def ask(release: Release, actor: User, count: int = 1, *, days: int = 3, **fields: Any) -> list[str]:
    rows = answers.rows(count, **fields)
    ids = [row.id for row in predict(release.model, rows, actor=actor, channel="api", explain=True).rows]
    log.ingest(wait=True)
    age(ids, days)
    return ids


def age(ids: list[str], days: int) -> None:
    """At noon, so that whenever a test runs they are of one day."""
    noon = timezone.now().astimezone(UTC).replace(hour=12) - timedelta(days=days)
    Prediction.objects.filter(public_id__in=ids).update(at=noon)


def stored() -> set[str]:
    found = set()
    for version in {file.version_id for file in ColdFile.objects.all()} | {0}:
        found |= {f"predictions/{version}/{name}" for name in storage.names(f"predictions/{version}")}
    return found


def on_disk() -> bytes:
    """Every cell of every cold file, as text."""
    found = b""
    for key in stored():
        with storage.open_read(key) as file:
            found += str(pq.read_table(file).to_pylist()).encode()
    return found


def test_a_cold_row_reads_like_a_hot_one(release: Release, business: User) -> None:
    ids = ask(release, business, 5)
    before = records.find_many(ids)

    assert cold.move_old() == 5
    assert cold.move_old() == 0

    row = Prediction.objects.get(public_id=ids[0])
    assert (row.inputs, row.why) == ({}, None)
    assert records.find_many(ids) == before
    assert before[ids[0]].inputs["city"] == "Pune" and before[ids[0]].why


def test_only_days_that_are_over_for_long_enough_move(
    release: Release, business: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole days (UTC), so that a day becomes few files."""
    [asked] = ask(release, business)
    Prediction.objects.update(at=datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC))
    settings.MODELGATE_LOG_HOT_HOURS = 48

    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 3, 3, 23, 59, tzinfo=UTC))
    assert cold.move_old() == 0
    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 3, 4, 0, 1, tzinfo=UTC))
    assert cold.move_old() == 1

    assert ColdFile.objects.get().day == date(2026, 3, 1)
    assert records.find(asked) is not None


def test_the_file_is_for_analysts_too(release: Release, business: User) -> None:
    ids = ask(release, business, 3)
    cold.move_old()

    file = ColdFile.objects.get()
    with storage.open_read(file.key) as stored_file:
        table = pq.read_table(stored_file)

    assert table["id"].to_pylist() == sorted(ids)
    assert {str(table.schema.field(f"input_{name}").type) for name in ("age", "income", "city")} == {
        "int64", "double", "string",
    }  # fmt: skip
    assert table["probability_yes"].to_pylist() == table["value"].to_pylist()
    assert set(table["label"].to_pylist()) <= {"no", "yes"}
    assert table["inputs_json"].null_count == 3
    assert (file.rows, file.number, file.key in stored()) == (3, 1, True)


@pytest.mark.parametrize(
    "inputs",
    [
        {"age": 1.5},
        {"age": 2**63, "income": 1, "city": None},
        {"age": "forty", "unknown field": [1, {"a": None}]},
        {"income": 1000.0, "city": "Pune"},
        {},
    ],
)
def test_inputs_that_no_column_holds_come_back_as_they_were(
    release: Release, business: User, inputs: dict[str, Any]
) -> None:
    odd, plain = ask(release, business, 2)
    Prediction.objects.filter(public_id=odd).update(inputs=inputs)
    before = records.find_many([odd, plain])

    cold.move_old()

    after = records.find_many([odd, plain])
    assert after == before
    assert [str(each) for each in after[odd].inputs.values()] == [
        str(before[odd].inputs[name]) for name in after[odd].inputs
    ]


def test_of_a_large_file_only_what_is_asked_is_decoded(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "PIECE_ROWS", 4)
    ids = ask(release, business, 30)
    before = records.find_many(ids)
    cold.move_old()
    decoded: list[list[int]] = []
    read = pq.ParquetFile.read_row_groups

    def noted(self: pq.ParquetFile, groups: list[int], **options: Any) -> Any:
        decoded.append(groups)
        return read(self, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noted)

    assert records.find(ids[7]) == before[ids[7]]
    assert records.find_many(ids) == before
    assert [len(groups) for groups in decoded] == [1, 8]


def test_outcomes_and_statistics_work_on_cold_rows(release: Release, business: User) -> None:
    [asked] = ask(release, business, days=2)
    cold.move_old()

    assert give_feedback([{"prediction": asked, "actual": "yes"}], actor=business).accepted == 1
    [call] = clients._calls(release.version, "production", ["age"])
    assert call.inputs == {"age": 20}


# --- killed, or overtaken ---


def fail_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, *, after: bool) -> None:
    """Let the process end right before, or right after, this step; once."""
    step = getattr(place, name)

    def killed(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(place, name, step)
        if after:
            step(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(place, name, killed)


def between_plan_and_act(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let somebody else act when an erasure has prepared its files, and has not begun its transaction."""
    prepared = erasing._prepared

    @contextmanager
    def interrupted(ids: Any) -> Iterator[Any]:
        monkeypatch.setattr(erasing, "_prepared", prepared)
        with prepared(ids) as plan:
            act()
            yield plan

    monkeypatch.setattr(erasing, "_prepared", interrupted)


STEPS = [
    (leftovers, "announce"),
    (columns, "write"),
    (storage, "put"),
    (leftovers, "settle"),
    (ColdFile, "save"),
    (moving, "_point"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("place", "name"), STEPS)
def test_a_kill_between_any_two_steps_loses_and_doubles_nothing(
    release: Release,
    business: User,
    tick: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    after: bool,
) -> None:
    ids = ask(release, business, 3)
    before = records.find_many(ids)
    with monkeypatch.context() as patch:
        fail_at(patch, place, name, after=after)
        patch.setattr(leftovers, "drop", lambda _key: None)  # who was killed cleans nothing up
        with pytest.raises(Killed):
            cold.move_old()
    assert records.find_many(ids) == before

    Leftover.objects.update(due=timezone.now())
    tick()

    assert records.find_many(ids) == before
    assert stored() == {file.key for file in ColdFile.objects.all()} and len(stored()) == 1
    assert Prediction.objects.count() == 3 and not Leftover.objects.exists()


def test_of_two_workers_one_moves_the_rows(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ask(release, business, 3)
    before = records.find_many(ids)
    point = moving._point

    def second(*args: Any) -> None:
        monkeypatch.setattr(moving, "_point", point)
        assert cold.move_old() == 3
        point(*args)

    monkeypatch.setattr(moving, "_point", second)

    assert cold.move_old() == 0
    assert records.find_many(ids) == before
    assert stored() == {ColdFile.objects.get().key}


def test_a_row_that_is_erased_while_it_moves_is_in_no_file(
    release: Release, business: User, erase: Erase, tick: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    [gone] = ask(release, business, city="Zuidoostbeemster")
    kept = ask(release, business, 2)
    point = moving._point

    def interrupted(*args: Any) -> None:
        monkeypatch.setattr(moving, "_point", point)
        erase(gone)
        point(*args)

    monkeypatch.setattr(moving, "_point", interrupted)
    assert cold.move_old() == 0
    assert stored() == set()
    tick()

    assert b"Zuidoostbeemster" not in on_disk()
    assert set(records.find_many([gone, *kept])) == set(kept)


def test_a_row_that_is_moved_while_it_is_erased_is_in_no_file(
    release: Release, business: User, erase: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    [gone] = ask(release, business, city="Zuidoostbeemster")
    kept = ask(release, business, 2)
    between_plan_and_act(monkeypatch, cold.move_old)
    assert erase(gone).predictions == 1

    assert b"Zuidoostbeemster" not in on_disk() and b"Pune" in on_disk()
    assert set(records.find_many([gone, *kept])) == set(kept)


def test_a_file_given_up_for_lost_is_not_pointed_to(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer slept for longer than the lease."""
    ids = ask(release, business)
    before = records.find_many(ids)
    store = writing.store

    def slow(*args: Any) -> None:
        store(*args)
        Leftover.objects.update(due=timezone.now())
        leftovers.collect()

    monkeypatch.setattr(writing, "store", slow)

    assert cold.move_old() == 0
    assert records.find_many(ids) == before and not ColdFile.objects.exists()


def test_a_version_that_cannot_be_moved_does_not_hold_up_the_others(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = factories.create_release(
        version=factories.create_version(model=factories.create_model(slug="other"))
    )
    first, second = ask(release, business), ask(other, business)
    table_of = columns.table_of

    def fail_once(*args: Any) -> Any:
        monkeypatch.setattr(columns, "table_of", table_of)
        raise ValueError("poison")

    monkeypatch.setattr(columns, "table_of", fail_once)
    with pytest.raises(ValueError, match="poison"):
        cold.move_old()

    assert [row.cold_file is not None for row in Prediction.objects.order_by("pk")] == [False, True]
    assert set(records.find_many([*first, *second])) == {*first, *second}


# --- erased, and forgotten by policy ---


def test_an_erased_row_leaves_its_file(release: Release, business: User, erase: Erase) -> None:
    [gone] = ask(release, business, city="Zuidoostbeemster")
    kept = ask(release, business, 3)
    before = records.find_many(kept)
    cold.move_old()
    old = ColdFile.objects.get()
    assert b"Zuidoostbeemster" in on_disk()

    assert erase(gone).to_json() == {"predictions": 1, "outcomes": 0, "unknown": []}

    new = ColdFile.objects.get()
    assert b"Zuidoostbeemster" not in on_disk()
    assert records.find(gone) is None and records.find_many(kept) == before
    assert (new.pk, new.rows, stored()) == (old.pk, 3, {new.key})
    assert not Leftover.objects.exists() and Erasure.objects.get().public_id == gone
    [told] = AuditEvent.objects.get(action="prediction.erased").details["files"]
    assert (told["sha256"], told["becomes"]["sha256"]) == (old.sha256, new.sha256)


def test_a_file_goes_with_its_last_row(release: Release, business: User, erase: Erase) -> None:
    ids = ask(release, business, 2)
    cold.move_old()

    erase(*ids)

    assert not ColdFile.objects.exists() and stored() == set()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (leftovers, "announce"),
        (columns, "write"),
        (storage, "put"),
        (rewriting.Rewrite, "swap"),
        (leftovers, "discard"),
    ],
)
def test_a_killed_erasure_has_happened_or_not(
    release: Release,
    business: User,
    erase: Erase,
    tick: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    after: bool,
) -> None:
    [gone] = ask(release, business, city="Zuidoostbeemster")
    kept = ask(release, business, 2)
    cold.move_old()
    before = records.find_many([gone, *kept])
    with monkeypatch.context() as patch:
        fail_at(patch, place, name, after=after)
        patch.setattr(leftovers, "drop", lambda _key: None)
        with pytest.raises(Killed):
            erase(gone)
    assert records.find_many([gone, *kept]) == before

    erase(gone)
    Leftover.objects.update(due=timezone.now())
    tick()

    assert records.find_many([gone, *kept]) == {each: before[each] for each in kept}
    assert b"Zuidoostbeemster" not in on_disk()
    assert stored() == {ColdFile.objects.get().key} and not Leftover.objects.exists()


def test_two_erasures_of_one_file_both_count(
    release: Release, business: User, erase: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, kept = ask(release, business, 3)
    cold.move_old()
    between_plan_and_act(monkeypatch, lambda: erase(second))
    erase(first)

    assert list(records.find_many([first, second, kept])) == [kept]
    assert first.encode() not in on_disk() and second.encode() not in on_disk()
    assert stored() == {ColdFile.objects.get().key}


def test_an_erasure_that_is_always_overtaken_says_so(
    release: Release, business: User, erase: Erase, monkeypatch: pytest.MonkeyPatch
) -> None:
    [asked] = ask(release, business)
    cold.move_old()

    def overtaken(self: rewriting.Rewrite) -> int:
        raise Overtaken

    monkeypatch.setattr(rewriting.Rewrite, "swap", overtaken)
    with pytest.raises(Refused, match="being moved"):
        erase(asked)

    assert records.find(asked) is not None and len(stored()) == 1


def test_what_the_policy_forgets_leaves_the_files(
    release: Release, business: User, tick: Callable[[], None]
) -> None:
    """At once out of reach; the file goes with the last of its rows."""
    early, late = ask(release, business, 2, days=40)
    cold.move_old()
    release.model.policy = {"input_days": 30}
    release.model.save()
    Prediction.objects.filter(public_id=late).update(at=timezone.now() - timedelta(days=29))

    tick()
    forgotten = records.find(early)
    assert forgotten is not None and forgotten.inputs == {} and forgotten.label == "no"
    assert records.find(late).inputs["city"] == "Pune"  # type: ignore[union-attr]
    assert len(stored()) == 1

    Prediction.objects.filter(public_id=late).update(at=timezone.now() - timedelta(days=31))
    tick()
    assert stored() == set() and not ColdFile.objects.exists()
    assert Prediction.objects.count() == 2


# --- damaged ---


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "another"])
def test_a_damaged_file_says_so_and_the_others_are_read(
    release: Release, business: User, damage: str
) -> None:
    [lost] = ask(release, business, days=3)
    kept = ask(release, business, 2, days=4)
    before = records.find_many(kept)
    cold.move_old()
    row = Prediction.objects.select_related("cold_file").get(public_id=lost)
    other = Prediction.objects.select_related("cold_file").get(public_id=kept[0])
    path, sound = storage.local_path(row.cold_file.key), storage.local_path(other.cold_file.key)  # type: ignore[union-attr]
    assert path is not None and sound is not None
    data = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(data[:-100])
        case "flipped":
            path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
        case "missing":
            path.unlink()
        case _:
            path.write_bytes(sound.read_bytes())

    with pytest.raises(cold.Damaged) as error:
        records.find(lost)

    assert (error.value.status, error.value.code) == (503, "cold_file_damaged")
    assert "cannot be read" in str(error.value) and "backup" in error.value.fix
    assert records.find_many(kept) == before
    assert give_feedback([{"prediction": lost, "actual": "yes"}], actor=business).accepted == 1
    assert {each.public_id for each in clients._calls(release.version, "production", ["age"])} == set(kept)


def test_nobody_is_erased_out_of_a_damaged_file(release: Release, business: User, erase: Erase) -> None:
    """What is left of it could not be told from what was damaged; once it is restored, the erasure works."""
    first, second = ask(release, business, 2)
    before = records.find(second)
    cold.move_old()
    path = storage.local_path(ColdFile.objects.get().key)
    assert path is not None
    data = path.read_bytes()
    path.write_bytes(data[:-1])

    with pytest.raises(cold.Damaged):
        erase(first)
    assert Prediction.objects.count() == 2 and not Leftover.objects.exists()

    path.write_bytes(data)
    erase(first)
    assert records.find(second) == before


# --- anything in any order ---


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_in_whatever_order_records_are_what_they_were(
    release: Release, business: User, erase: Erase, tick: Callable[[], None], seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    dice = random.Random(seed)
    monkeypatch.setattr(moving, "MOST_ROWS", 7)
    monkeypatch.setattr(moving, "PIECE_ROWS", 3)
    release.model.policy = {"input_days": 30}
    release.model.save()
    known: dict[str, PredictionRecord] = {}
    erased: set[str] = set()
    for _step in range(25):
        match dice.choice(["ask", "ask", "tick", "tick", "killed", "erase", "old"]):
            case "ask":
                known |= records.find_many(
                    ask(release, business, dice.randint(1, 5), days=dice.randint(0, 5))
                )
            case "tick":
                tick()
            case "killed":
                with monkeypatch.context() as patch:
                    fail_at(patch, *dice.choice(STEPS), after=dice.random() < 0.5)
                    with suppress(Killed):
                        tick()
            case "erase" if known:
                ids = dice.sample(sorted(known), min(len(known), dice.randint(1, 3)))
                erase(*ids)
                erased |= {*ids}
                known = {each: record for each, record in known.items() if each not in erased}
            case "old" if known:
                [one] = dice.sample(sorted(known), 1)
                age([one], 31)
                retention.forget_old_inputs()
                row = Prediction.objects.get(public_id=one)
                removed: dict[str, Any] = {"inputs": {}, "warnings": [], "why": None}
                known[one] = row.as_record()
                assert {name: getattr(known[one], name) for name in removed} == removed
        assert records.find_many([*known, *erased]) == known
    Leftover.objects.update(due=timezone.now())
    tick()
    assert records.find_many([*known, *erased]) == known
    assert stored() == {file.key for file in ColdFile.objects.all()}
    text = on_disk()
    assert not [each for each in erased if each.encode() in text]
