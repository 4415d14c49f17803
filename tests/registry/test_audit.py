"""The audit chain: whoever touches a row is found."""

from typing import Any

import pytest
from django.db import connection, transaction

from registry import audit, triggers
from registry.audit import Action
from registry.errors import Refused
from registry.models import AuditEvent, User
from tests.factories import create_model

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def write(count: int) -> None:
    model = create_model(slug="loans")
    for number in range(count):
        with transaction.atomic(), audit.context(channel="api", ip="10.0.0.1", request_id="r-1"):
            audit.record(
                Action.MODEL_CHANGED,
                target=model,
                actor=model.created_by,
                reason="wörds हिन्दी",
                number=number,
                share=0.1 + number,
                tiny=1e-9,
                zero=-0.0,
                after={"b": 1, "a": [1.0, None, True]},
            )


def tamper(statement: str, *values: Any) -> None:
    triggers.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
    triggers.install(connection)


def test_an_untouched_chain_verifies() -> None:
    write(5)

    found = audit.verify()

    assert (found.ok, found.first, found.last, found.broken_at) == (True, 1, 5, None)


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE registry_auditevent SET actor_name = 'mallory' WHERE seq = 3", 3),
        ("UPDATE registry_auditevent SET reason = '' WHERE seq = 1", 1),
        ("UPDATE registry_auditevent SET result = 'refused' WHERE seq = 2", 2),
        ("DELETE FROM registry_auditevent WHERE seq = 4", 4),
        ("DELETE FROM registry_auditevent WHERE seq = 1", 1),
        ("DELETE FROM registry_auditevent WHERE seq = 5", 5),
        ("UPDATE registry_auditevent SET hash = prev_hash WHERE seq = 2", 2),
    ],
)
def test_a_tampered_row_is_found_and_located(statement: str, where: int) -> None:
    write(5)

    tamper(statement)

    found = audit.verify()
    assert (found.ok, found.broken_at) == (False, where)
    assert found.problem


def test_rows_that_changed_places_are_found() -> None:
    write(4)

    tamper("UPDATE registry_auditevent SET seq = 100 WHERE seq = 2")
    tamper("UPDATE registry_auditevent SET seq = 2 WHERE seq = 3")
    tamper("UPDATE registry_auditevent SET seq = 3 WHERE seq = 100")

    assert audit.verify().broken_at == 2


@pytest.mark.parametrize(
    "statement", ["UPDATE registry_auditevent SET reason = 'x'", "DELETE FROM registry_auditevent"]
)
def test_the_database_itself_refuses(statement: str) -> None:
    write(1)

    with pytest.raises(Exception, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_rows_refuse_in_python_too() -> None:
    write(1)
    event = AuditEvent.objects.get()

    for act in (event.save, event.delete, AuditEvent.objects.all().delete, AuditEvent.objects.update):
        with pytest.raises(TypeError):
            act()


def test_an_event_says_where_it_came_from_and_what_it_is_about(author: User) -> None:
    write(1)

    event = AuditEvent.objects.get()

    assert (event.channel, event.ip, event.request_id, event.model_slug) == (
        "api",
        "10.0.0.1",
        "r-1",
        "loans",
    )


def test_a_refusal_is_recorded_with_its_code(author: User) -> None:
    audit.record_refusal(Action.RELEASE_MADE, target=None, actor=author, error=Refused("no", code="frozen"))

    event = AuditEvent.objects.get()
    assert (event.result, event.details["code"]) == ("refused", "frozen")
