"""What a process remembers: until anything changes that decides about answers, and no longer."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from registry import changes, triggers
from registry.actions import releases
from registry.models import ApiKey, ChangeMark, Environment, ModelVersion, Role, RoleGrant, User
from tests.api import create_key
from tests.factories import create_model, create_release, create_user, create_version

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _read_for_every_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SHARED", -1.0)


def is_remembered() -> Callable[[], bool]:
    """Whether what is told now is still known later."""
    changes.known().recall("test", lambda: True)
    return lambda: changes.known().recall("test", lambda: False)


def test_it_remembers_while_nothing_changes() -> None:
    remembered = is_remembered()

    assert remembered()
    assert remembered()


def somebody() -> User:
    return User.objects.get(email="a@example.com")


CHANGES: dict[str, Callable[[], Any]] = {
    "a key is made": lambda: create_key(somebody()),
    "a key is revoked": lambda: ApiKey.objects.update(revoked_at=timezone.now()),
    "a key is for other models": lambda: ApiKey.objects.get().only_models.add(create_model()),
    "a role is granted": lambda: RoleGrant.objects.create(user=somebody(), role=Role.ADMIN),
    "a role is taken away": lambda: RoleGrant.objects.all().delete(),
    "an account is closed": lambda: User.objects.update(is_active=False),
    "a version is retired": lambda: ModelVersion.objects.update(state="retired"),
    "a version is released": lambda: create_release(version=ModelVersion.objects.get()),
    "a model has other owners": lambda: ModelVersion.objects.get().model.owners.add(somebody()),
    "a policy changes": lambda: type(create_model()).objects.update(policy={"a": 1}),
    "an environment is added": lambda: Environment.objects.create(slug="lab", name="Lab"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_forgets_everything_when(what: str) -> None:
    create_key(create_user(email="a@example.com", roles=[Role.INTEGRATOR]))
    create_version(model=create_model(owners=[create_user()]))
    remembered = is_remembered()

    CHANGES[what]()

    assert not remembered()


def test_the_use_of_a_key_and_a_sign_in_change_nothing() -> None:
    create_key(create_user())
    remembered = is_remembered()

    ApiKey.objects.update(last_used_at=timezone.now())
    User.objects.update(last_login=timezone.now())

    assert remembered()


def test_a_change_that_is_undone_changes_nothing() -> None:
    create_key(create_user())
    remembered = is_remembered()

    with transaction.atomic():
        ApiKey.objects.update(revoked_at=timezone.now())
        assert not remembered()
        transaction.set_rollback(True)

    assert remembered()


def test_nothing_is_kept_for_long_even_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = is_remembered()
    monkeypatch.setattr(changes, "LONGEST", -1.0)

    assert not remembered()


def test_nothing_is_kept_where_the_mark_is_missing() -> None:
    ChangeMark.objects.all().delete()

    assert not is_remembered()()


def test_what_raises_is_asked_again() -> None:
    def fail() -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        changes.known().recall("once", fail)
    assert changes.known().recall("once", lambda: True)


def test_a_rollback_in_this_process_is_seen_though_the_mark_was_read_just_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator = create_user(roles=[Role.OPERATOR])
    model = create_release().model
    create_release(version=create_version(model=model))
    monkeypatch.setattr(changes, "SHARED", 3600.0)
    changes.read_again()
    remembered = is_remembered()

    releases.roll_back(model, reason="Alarms from the clinic", actor=operator)

    assert not remembered()


def test_every_table_is_watched() -> None:
    with transaction.atomic():
        triggers.install_marks(transaction.get_connection())
        found = {name for name in triggers._present(transaction.get_connection()) if "_marks_" in name}

    assert found == {
        f"{table}_marks_{act}" for table in triggers.MARKED for act in ("insert", "update", "delete")
    }


def test_what_raises_when_it_is_renewed_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([True])
    changes.known().recall("test", lambda: next(found))
    changes.known().recall("steady", lambda: True)
    monkeypatch.setattr(changes, "RENEWED", -1.0)

    current = changes.renewed()

    assert set(current._facts) == {"steady"}
    assert changes.known().recall("test", lambda: "asked again") == "asked again"


def test_what_nobody_wants_is_not_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[None] = []
    changes.known().recall("test", lambda: asked.append(None))
    monkeypatch.setattr(changes, "RENEWED", -1.0)

    for _time in range(3):
        changes.renewed()

    assert len(asked) == 2


def test_a_mark_that_was_read_while_it_changed_here_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Database:
        vendor = "another"
        marks = iter(["before", "after"])

        def cursor(self) -> Any:
            return self

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_error: object) -> None: ...
        def execute(self, _question: str) -> None:
            self.found = next(self.marks)

        def fetchone(self) -> tuple[str]:
            if self.found == "before":
                changes.read_again()
            return (self.found,)

    monkeypatch.setattr(changes, "_read_at", float("-inf"))
    monkeypatch.setattr(changes, "_read", None)
    database = Database()

    assert [changes._mark(database, 3600.0) for _time in range(3)] == ["before", "after", "after"]
