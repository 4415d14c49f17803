"""Whoever touches the log is found and located, by the database's verifier and by the script beside an export."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from registry import audit, seals, triggers, verify_audit
from registry.audit import Action
from registry.audit_export import SCRIPT, export
from registry.models import AuditEvent, User
from registry.verify_audit import Finding, link, seal_mac, walk

KEY = b"a key that the database never sees"
COUNT = 8
SEALED = (3, 6)
Event = dict[str, Any]


def events_of(count: int = COUNT) -> list[Event]:
    made: list[Event] = []
    previous = verify_audit.GENESIS
    for seq in range(1, count + 1):
        facts = {
            "seq": seq,
            "at": f"2026-11-21T10:00:{seq:02}.000000+00:00",
            "actor_name": "asha@example.com",
            "reason": "कारण",
            "before": None,
            "after": {"share": 0.5, "names": ["a", "b"]},
        }
        previous_now, previous = previous, link(previous, facts)
        made.append({**facts, "prev_hash": previous_now, "hash": previous})
    return made


def seals_of(events: list[Event], at: Iterable[int] = SEALED) -> list[Event]:
    made = []
    for seq in at:
        head, time = events[seq - 1]["hash"], f"2026-11-21T10:01:{seq:02}Z"
        made.append({"seq": seq, "hash": head, "at": time, "mac": seal_mac(KEY, seq, head, time)})
    return made


def checked(events: list[Event], seals: list[Event]) -> Finding:
    whole = events_of()
    return walk(events, seals=seals, key=KEY, ends_at=(COUNT, whole[-1]["hash"]))


def relink(events: list[Event], first: int) -> None:
    """Compute every hash again from event `first` on, as a forger would."""
    previous = events[first - 2]["hash"] if first > 1 else verify_audit.GENESIS
    for event in events[first - 1 :]:
        facts = {name: value for name, value in event.items() if name not in ("prev_hash", "hash")}
        event["prev_hash"], event["hash"] = previous, link(previous, facts)
        previous = event["hash"]


def test_an_untouched_log_is_sound() -> None:
    found = checked(events_of(), seals_of(events_of()))

    assert (found.ok, found.first, found.last, found.seals, found.sealed_to) == (True, 1, COUNT, 2, 6)


numbers = st.integers(1, COUNT)
texts = st.text(max_size=8)


@given(
    seq=numbers,
    name=st.sampled_from(sorted(events_of(1)[0])),
    value=st.one_of(texts, st.integers(), st.none()),
)
def test_any_field_of_any_event(seq: int, name: str, value: Any) -> None:
    events = events_of()
    if events[seq - 1][name] == value:
        return
    events[seq - 1][name] = value

    found = checked(events, seals_of(events_of()))

    assert not found.ok
    # A changed number is a gap before, or an event too early: both point at this place.
    assert found.broken_at in ({seq, value} if name == "seq" else {seq})


@given(first=numbers, second=numbers)
def test_two_events_that_changed_places(first: int, second: int) -> None:
    events = events_of()
    if first == second:
        return
    first, second = sorted((first, second))
    events[first - 1], events[second - 1] = events[second - 1], events[first - 1]
    assert checked(events, seals_of(events_of())).broken_at == first

    for event, seq in ((events[first - 1], first), (events[second - 1], second)):
        event["seq"] = seq

    assert checked(events, seals_of(events_of())).broken_at == first


@given(seq=numbers)
def test_a_removed_event(seq: int) -> None:
    events = events_of()
    del events[seq - 1]

    assert checked(events, seals_of(events_of())).broken_at == seq


@given(seq=numbers)
def test_an_added_event(seq: int) -> None:
    events = events_of()
    events.insert(seq, {**events[seq - 1]})

    assert checked(events, seals_of(events_of())).broken_at == seq


@given(seq=numbers)
def test_an_added_event_with_all_later_ones_computed_again(seq: int) -> None:
    events = events_of()
    events.insert(seq - 1, {**events[seq - 1], "reason": "added"})
    for number, event in enumerate(events, 1):
        event["seq"] = number
    relink(events, seq)

    found = checked(events, seals_of(events_of()))

    assert found.broken_at == (1 if seq <= 3 else 4 if seq <= 6 else COUNT)


@given(keep=st.integers(0, COUNT - 1))
def test_a_cut_tail(keep: int) -> None:
    assert checked(events_of()[:keep], seals_of(events_of())).broken_at == keep + 1


@given(keep=st.integers(0, SEALED[-1] - 1))
def test_a_cut_tail_whose_head_was_set_back(keep: int) -> None:
    events = events_of()[:keep]

    found = walk(
        events,
        seals=seals_of(events_of()),
        key=KEY,
        ends_at=(keep, events[-1]["hash"] if events else "0" * 64),
    )

    assert found.broken_at == keep + 1


@given(seq=st.integers(1, SEALED[-1]))
def test_a_forger_who_computes_everything_again_is_found_by_the_seals(seq: int) -> None:
    events = events_of()
    events[seq - 1]["actor_name"] = "mallory"
    relink(events, seq)

    found = walk(events, seals=seals_of(events_of()), key=KEY, ends_at=(COUNT, events[-1]["hash"]))

    first, last = (1, 3) if seq <= 3 else (4, 6)
    assert found.broken_at == first
    assert found.problem == f"events {first} to {last} are not the ones that were sealed as #{last}"


@given(
    place=st.integers(0, 1),
    name=st.sampled_from(["seq", "hash", "at", "mac"]),
    value=st.one_of(texts, st.integers(), st.none()),
)
def test_an_edited_seal(place: int, name: str, value: Any) -> None:
    edited = seals_of(events_of())
    if edited[place][name] == value:
        return
    edited[place][name] = value

    found = checked(events_of(), edited)

    assert not found.ok
    assert f"seal {place + 1}" in found.problem


def test_a_seal_of_another_key() -> None:
    strange = walk(events_of(), seals=seals_of(events_of()), key=b"another key")

    assert (strange.ok, strange.problem) == (False, "seal 1 (of #3) was not made with this key")


def test_without_the_key_seals_still_name_the_hashes() -> None:
    events = events_of()
    events[0]["reason"] = "forged"
    relink(events, 1)

    assert walk(events, seals=seals_of(events_of())).broken_at == 1


# --- the same on the database and on its export ---


def write(actor: User) -> None:
    for number in range(6):
        with transaction.atomic(), audit.context(channel="api", ip="10.0.0.1", request_id="r-1"):
            audit.record(
                Action.MODEL_CHANGED, target=actor, actor=actor, reason=f"no. {number}", after={"n": number}
            )


def exported(actor: User, kind: str = "zip", **chosen: Any) -> bytes:
    events = AuditEvent.objects.filter(**{f"{name}__gte": value for name, value in chosen.items()})
    names = {f"filter_{name}": str(value) for name, value in chosen.items()}
    return b"".join(export(events, kind, chosen=names, actor=actor))  # type: ignore[arg-type]


def offline(path: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """As somebody who has the file, the script and a Python, and nothing of ours."""
    command = [sys.executable, "-I", str(SCRIPT), str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=60)


def found_in(bundle: bytes) -> Finding:
    with zipfile.ZipFile(io.BytesIO(bundle)) as files:
        events, sealed = (files.read(name).splitlines() for name in ("audit.jsonl", "seals.jsonl"))
        return verify_audit.verify_export(events, sealed, seals.key())[1]


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def tampering(auditor: User) -> Iterable[User]:
    """A sealed log, whose table does not defend itself."""
    write(auditor)
    seals.seal_head()
    triggers.remove(connection)
    yield auditor
    triggers.install(connection)


TAMPERED: dict[str, Any] = {
    "at": "2020-01-01 00:00:00+00:00",
    "actor_id": 99,
    "before": '{"n": 1}',
    "after": "null",
    "details": '{"n": 1}',
    "hash": "f" * 64,
    "prev_hash": "f" * 64,
}


@pytest.mark.services
@pytest.mark.parametrize("name", [name for name in audit.COLUMNS if name != "seq"])
def test_every_column_of_a_row_is_guarded_by_both(name: str, tampering: User) -> None:
    sql(f"UPDATE registry_auditevent SET {name} = %s WHERE seq = 4", TAMPERED.get(name, "x"))

    by_file = found_in(exported(tampering))
    by_database = audit.verify()

    assert (by_database.ok, by_database.broken_at) == (False, 4)
    assert (by_file.ok, by_file.broken_at) == (False, 4)
    assert by_file.problem == by_database.problem


def renumber(old: int, new: int) -> None:
    sql("UPDATE registry_auditevent SET seq = %s WHERE seq = %s", new, old)


def swap() -> None:
    renumber(2, 100)
    renumber(3, 2)
    renumber(100, 3)


def insert() -> None:
    for seq in (6, 5, 4):
        renumber(seq, seq + 1)
    sql("UPDATE registry_audithead SET seq = 7")
    columns = ", ".join(f'"{name}"' for name in audit.COLUMNS if name != "seq")
    sql(
        f"INSERT INTO registry_auditevent (seq, {columns}) SELECT 4, {columns} FROM registry_auditevent WHERE seq = 3"
    )


@pytest.mark.services
@pytest.mark.parametrize(
    ("act", "where"),
    [
        (swap, 2),
        (insert, 4),
        (lambda: sql("DELETE FROM registry_auditevent WHERE seq = 4"), 4),
        (lambda: sql("DELETE FROM registry_auditevent WHERE seq = 1"), 1),
        (lambda: sql("DELETE FROM registry_auditevent WHERE seq > 4"), 5),
    ],
)
def test_every_disorder_is_found_by_both(act: Callable[[], None], where: int, tampering: User) -> None:
    act()

    assert audit.verify().broken_at == where
    assert found_in(exported(tampering)).broken_at == where


@pytest.mark.django_db
def test_the_bundle_verifies_itself_anywhere(auditor: User, tmp_path: Path) -> None:
    write(auditor)
    bundle = tmp_path / "audit.zip"
    bundle.write_bytes(exported(auditor))
    (tmp_path / "key").write_bytes(seals.key())

    without, with_key = offline(bundle), offline(bundle, "--key-file", tmp_path / "key")

    assert (without.returncode, with_key.returncode) == (0, 0)
    assert "SOUND: 6 events, #1 to #6" in without.stdout
    assert "whose key was not given" in without.stdout
    assert "1 seals, made with this key, vouch for all up to #6" in with_key.stdout
    with zipfile.ZipFile(bundle) as files:
        assert sorted(files.namelist()) == ["audit.jsonl", "seals.jsonl", "verify_audit.py"]
        assert files.read("verify_audit.py") == SCRIPT.read_bytes()


@pytest.mark.django_db
def test_an_unpacked_bundle_is_verified_with_the_seals_beside_it_and_says_so(
    auditor: User, tmp_path: Path
) -> None:
    write(auditor)
    with zipfile.ZipFile(io.BytesIO(exported(auditor))) as files:
        files.extractall(tmp_path)
    (tmp_path / "key").write_bytes(seals.key())

    found = offline(tmp_path / "audit.jsonl", "--key-file", tmp_path / "key")
    (tmp_path / "other.jsonl").write_bytes(b"")
    with_others = offline(tmp_path / "audit.jsonl", "--seals", tmp_path / "other.jsonl")
    (tmp_path / "seals.jsonl").unlink()
    without = offline(tmp_path / "audit.jsonl")

    assert "1 seals, made with this key, vouch for all up to #6" in found.stdout
    assert f"The seals are those of {tmp_path / 'seals.jsonl'}, which lies beside the export." in found.stdout
    for each in (with_others, without):
        assert "No seal vouches for any of them" in each.stdout
        assert "beside the export" not in each.stdout


@pytest.mark.django_db
def test_seals_beside_an_export_find_an_event_that_was_forged(auditor: User, tmp_path: Path) -> None:
    write(auditor)
    with zipfile.ZipFile(io.BytesIO(exported(auditor))) as files:
        files.extractall(tmp_path)
    sealed = json.loads((tmp_path / "seals.jsonl").read_text().splitlines()[0])
    (tmp_path / "seals.jsonl").write_text(json.dumps({**sealed, "hash": "0" * 64}) + "\n")

    found = offline(tmp_path / "audit.jsonl")

    assert found.returncode == 1
    assert "are not the ones that were sealed" in found.stdout
    assert "beside the export" in found.stdout


@pytest.mark.django_db
def test_the_script_says_where_a_changed_file_breaks(auditor: User, tmp_path: Path) -> None:
    write(auditor)
    changed = tmp_path / "audit.jsonl"
    changed.write_bytes(exported(auditor, "jsonl").replace(b'"no. 3"', b'"no. 9"'))

    found = offline(changed)

    assert found.returncode == 1
    assert "BROKEN at #4: the event was altered" in found.stdout


@pytest.mark.django_db
def test_seals_kept_elsewhere_find_an_end_that_was_cut_off_with_its_head(
    auditor: User, tmp_path: Path
) -> None:
    write(auditor)
    seals.seal_head()
    about, *events = exported(auditor, "jsonl").splitlines()
    head = json.loads(events[3])
    late = "2099-01-01T00:00:00+00:00"
    cut = json.loads(about) | {"rows": 4, "chain_head": {"seq": 4, "hash": head["hash"]}, "exported_at": late}
    (tmp_path / "cut.jsonl").write_bytes(b"\n".join([json.dumps(cut).encode(), *events[:4]]))

    assert offline(tmp_path / "cut.jsonl").returncode == 0
    found = offline(tmp_path / "cut.jsonl", "--seals", seals.path())

    assert found.returncode == 1
    assert "BROKEN at #5: events were cut off at the end: #6 was sealed" in found.stdout


@pytest.mark.django_db
def test_what_a_filter_chose_proves_each_event_and_how_many_there_are(auditor: User) -> None:
    write(auditor)
    about, *events = exported(auditor, "jsonl", seq=3).splitlines()
    assert verify_audit.verify_export([about, *events])[1].ok

    shorter = verify_audit.verify_export([about, *events[:-1]])[1]
    altered = verify_audit.verify_export([about, events[0].replace(b"no.", b"No."), *events[1:]])[1]

    assert (shorter.ok, shorter.broken_at) == (False, 6)
    assert shorter.problem == "the export names 4 events and holds 3"
    assert (altered.ok, altered.broken_at) == (False, 3)


@pytest.mark.django_db
def test_a_range_of_time_has_no_gaps(auditor: User) -> None:
    write(auditor)
    about, *events = exported(auditor, "jsonl", seq=3).splitlines()
    by_time = json.dumps(json.loads(about) | {"filter": {"since": "2026-01-01"}}).encode()

    assert verify_audit.verify_export([by_time, *events])[1].ok
    found = verify_audit.verify_export([by_time, events[0], *events[2:]])[1]

    assert (found.ok, found.broken_at, found.problem) == (False, 4, "an event is missing")


@pytest.mark.parametrize(
    "line",
    [b"{", b"[]", b"null", b'{"seq": true}', b'{"seq": 1, "seq": 1}', b'{"seq": 1, "hash": NaN}', b"\xff"],
)
def test_a_line_that_is_no_event_is_located(line: bytes) -> None:
    about = (
        b'{"exported_at": "2026-11-21T10:00:00+00:00", "filter": {}, "chain_head": {"seq": 1, "hash": ""}}'
    )

    found = verify_audit.verify_export([about, line])[1]

    assert (found.ok, found.broken_at) == (False, 1)


@pytest.mark.parametrize("content", ["", "seq,at\n1,2\n", "\x00", '{"a": 1}\n'])
def test_a_file_that_is_no_export_is_said_to_be_none(content: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    path.write_text(content)

    found = offline(path)

    assert found.returncode == 2
    assert "Cannot read it: This is no export" in found.stderr
