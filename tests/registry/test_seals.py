"""Sealed heads: made outside the database, when the head moved, with a key that the database never sees."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, transaction

from registry import audit, seals, triggers
from registry.audit import Action
from registry.models import AuditEvent, AuditHead
from registry.verify_audit import link, seal_mac
from tests.factories import create_model

pytestmark = pytest.mark.django_db


def write(count: int = 1) -> None:
    actor = create_model().created_by
    for number in range(count):
        with transaction.atomic():
            audit.record(Action.MODEL_CHANGED, target=None, actor=actor, reason=f"change {number}")


def kept() -> list[dict[str, Any]]:
    return [json.loads(line) for line in seals.lines()]


def forge(first: int) -> None:
    """What someone with the database alone can do: change an event and compute every later hash again."""
    triggers.remove(connection)
    try:
        AuditHead.objects.update(hash=_rewrite(first))
    finally:
        triggers.install(connection)


def _rewrite(first: int) -> str:
    previous = ""
    for event in AuditEvent.objects.filter(seq__gte=first).order_by("seq"):
        event.prev_hash = previous or event.prev_hash
        event.reason = "forged" if event.seq == first else event.reason
        event.hash = previous = link(event.prev_hash, audit.facts(event))
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE registry_auditevent SET reason = %s, prev_hash = %s, hash = %s WHERE seq = %s",
                [event.reason, event.prev_hash, event.hash, event.seq],
            )
    return previous


def cut_to(last: int) -> None:
    """Drop the newest events and set the head back, as a restored backup does."""
    triggers.remove(connection)
    try:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM registry_auditevent WHERE seq > %s", [last])
        AuditHead.objects.update(seq=last, hash=AuditEvent.objects.get(seq=last).hash)
    finally:
        triggers.install(connection)


def test_a_seal_names_the_head_and_is_made_with_the_key() -> None:
    write(3)

    seals.seal_head()

    [seal] = kept()
    assert (seal["seq"], seal["hash"]) == (3, AuditEvent.objects.get(seq=3).hash)
    assert seal["mac"] == seal_mac(seals.key(), 3, seal["hash"], seal["at"])


def test_a_head_that_has_not_moved_is_not_sealed_again() -> None:
    write()

    assert seals.seal_head() == seals.seal_head()
    assert len(kept()) == 1


def test_an_empty_log_has_no_seal() -> None:
    assert seals.seal_head() is None
    assert kept() == []


def test_the_tick_waits_until_the_last_seal_is_a_minute_old() -> None:
    write()
    seals.seal_due()
    write()

    seals.seal_due()

    assert [seal["seq"] for seal in kept()] == [1]


def test_what_another_process_sealed_meanwhile_is_not_sealed_again() -> None:
    write(2)
    older = seals.Seal(seq=1, hash="0" * 64, at="2026-01-01T00:00:00Z", mac="0" * 64)
    seals.seal_head()

    seals.FileSeals(seals.path()).append(older)

    assert [seal["seq"] for seal in kept()] == [2]


def test_key_and_seals_are_readable_by_us_alone(settings: Any) -> None:
    write()
    seals.seal_head()

    for path in (Path(settings.DATA_DIR) / "audit_key", seals.path()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(seals.key()) >= 32


def test_the_key_may_come_from_the_environment(settings: Any) -> None:
    settings.MODELGATE_AUDIT_KEY = "k" * 40

    assert seals.key() == b"k" * 40
    assert not (Path(settings.DATA_DIR) / "audit_key").exists()


def test_half_a_seal_that_a_power_cut_left_is_dropped() -> None:
    write()
    seals.seal_head()
    with seals.path().open("ab") as file:
        file.write(b'{"seq": 2, "ha')
    assert [seal["seq"] for seal in kept()] == [1]

    write()
    seals.seal_head()

    assert [seal["seq"] for seal in kept()] == [1, 2]


def test_a_sound_chain_says_how_far_it_is_sealed() -> None:
    write(2)
    seals.seal_head()
    write(2)

    found = audit.verify()

    assert (found.ok, found.last, found.seals, found.sealed_to) == (True, 4, 1, 2)


def test_a_chain_computed_again_after_a_seal_is_found_and_located() -> None:
    write(2)
    seals.seal_head()
    write(3)
    seals.seal_head()

    forge(4)

    found = audit.verify()
    assert (found.ok, found.broken_at) == (False, 3)
    assert found.problem == "events 3 to 5 are not the ones that were sealed as #5"


def test_a_cut_tail_is_found_although_the_head_was_set_back() -> None:
    write(5)
    seals.seal_head()

    cut_to(3)

    found = audit.verify()
    assert (found.ok, found.broken_at) == (False, 4)
    assert "#5 was sealed" in found.problem


def test_events_appended_in_place_of_a_cut_tail_are_found() -> None:
    write(3)
    seals.seal_head()
    cut_to(2)

    write(2)

    assert audit.verify().broken_at == 1


def test_a_chain_that_goes_on_after_its_head_is_found() -> None:
    write(3)
    AuditHead.objects.update(seq=2, hash=AuditEvent.objects.get(seq=2).hash)

    found = audit.verify()

    assert (found.ok, found.broken_at) == (False, 3)


def test_a_lost_head_is_found() -> None:
    write(2)
    AuditHead.objects.all().delete()

    assert audit.verify().broken_at == 2


@pytest.mark.parametrize(
    ("name", "value"), [("seq", 2), ("hash", "f" * 64), ("at", "2020-01-01T00:00:00Z"), ("mac", "f" * 64)]
)
def test_an_edited_seal_is_found_and_located(name: str, value: Any) -> None:
    for _ in range(3):
        write()
        seals.seal_head()
    lines = seals.path().read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {name: value})
    seals.path().write_text("\n".join(lines) + "\n")

    found = audit.verify()

    assert not found.ok
    assert "seal 1" in found.problem


def test_a_seal_that_cannot_be_read_is_found() -> None:
    write()
    seals.seal_head()
    seals.path().write_text("not json\n")

    found = audit.verify()

    assert (found.ok, found.problem) == (False, "seal 1 cannot be read")


def test_seals_in_a_bucket_are_objects_that_are_their_own_names(settings: Any) -> None:
    settings.MODELGATE_S3_BUCKET = "kept-here"  # the storage itself is a folder in these tests
    write()
    first = seals.seal_head()
    write()
    second = seals.seal_head()
    cache.clear()

    assert kept() == [first, second]
    assert seals.seal_head() == second
    assert audit.verify().sealed_to == 2
    assert len(os.listdir(Path(settings.MEDIA_ROOT) / seals.PREFIX)) == 2


def test_a_renamed_object_is_no_seal(settings: Any) -> None:
    settings.MODELGATE_S3_BUCKET = "kept-here"
    write()
    seals.seal_head()
    folder = Path(settings.MEDIA_ROOT) / seals.PREFIX
    [name] = os.listdir(folder)
    (folder / name).rename(folder / f"00{name}x")

    assert audit.verify().problem == "seal 1 cannot be read"
