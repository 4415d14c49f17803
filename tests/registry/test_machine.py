"""Every act in every scene by everybody, on the verbs: what the table does not allow is refused and changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import transaction

from registry import ports
from registry.errors import Forbidden, Refused
from registry.models import AuditEvent, ModelVersion, ReleaseRequest, User
from tests.registry import machine
from tests.registry.machine import ACTS, BY_NAME, NO_ACTS, Act, World

pytestmark = pytest.mark.django_db


class _Undone(Exception):
    """What was allowed is taken back, so that the next person finds the same scene."""


@pytest.fixture
def people(no_checks: list[int], monkeypatch: pytest.MonkeyPatch, db: None) -> dict[str, User]:
    """The cast, where the model service finds every old answer again."""
    monkeypatch.setattr(ports.replay, "replay", lambda version_id: None)
    return machine.create_people()


def test_every_verb_is_in_the_table_or_named_as_none() -> None:
    acts = {act.verb for act in ACTS}
    named = {(module, name) for module, names in NO_ACTS.items() for name in names.split()}
    found = {(module, verb.__name__) for module, verb in machine.verbs() if verb not in acts}

    assert found == named


def test_every_state_is_in_the_table() -> None:
    assert set(ModelVersion.State.values) <= set(machine.VERSION)
    assert set(ReleaseRequest.State.values) <= set(machine.REQUEST)
    for act in ACTS:
        assert set(act.allowed) <= set(act.scenes), act
        assert act.who <= set(machine.PEOPLE), act


@pytest.mark.parametrize("name", [act.name for act in ACTS])
def test_nobody_does_what_the_table_does_not_allow(name: str, people: dict[str, User]) -> None:
    act = BY_NAME[name]
    for scene, make in act.scenes.items():
        with undone():
            world = make(people)
            _expect_refused(act, scene, world, [one for one in machine.PEOPLE if one not in act.who])
            for person in sorted(act.who):
                if scene in act.allowed:
                    _expect_done(act, scene, world, person)
                else:
                    _expect_wrong_state(act, scene, world, person)


@pytest.mark.parametrize("name", [act.name for act in ACTS])
def test_nothing_happens_to_a_deleted_model(name: str, people: dict[str, User]) -> None:
    act = BY_NAME[name]
    world = machine.deleted(act.scenes[act.home])(people)
    before = machine.digest()

    for person in machine.PEOPLE:
        with pytest.raises(Refused):
            act.call(world, people[person])

    assert machine.digest() == before, act.name


@contextmanager
def undone() -> Iterator[None]:
    """What is done inside leaves nothing behind."""
    with suppress(_Undone), transaction.atomic():
        yield
        raise _Undone


def _expect_refused(act: Act, scene: str, world: World, persons: list[str]) -> None:
    before, state, events = machine.digest(), world.state(), _events(act)
    for person in persons:
        with pytest.raises(Forbidden):
            act.call(world, world.people[person])
        assert world.state() == state, (act.name, scene, person)
    assert machine.digest() == before, (act.name, scene)
    assert _events(act) == events, (act.name, scene)


def _expect_wrong_state(act: Act, scene: str, world: World, person: str) -> None:
    with undone():
        but = "registry_releaserequest" if scene in act.settles else ""
        before, state, events = machine.digest(but=but), world.state(), _events(act)
        with pytest.raises(Refused) as caught:
            act.call(world, world.people[person])
        told = (act.name, scene, person, caught.value.code)
        assert caught.value.status == 409, told
        assert machine.digest(but=but) == before, told
        assert world.state() == act.settles.get(scene, state), told
        assert _events(act) == events, told
    world.state()


def _expect_done(act: Act, scene: str, world: World, person: str) -> None:
    with undone():
        before, events = machine.digest(), _events(act)
        act.call(world, world.people[person])
        assert machine.digest() != before, (act.name, scene, person)
        assert world.state() == act.allowed[scene].removeprefix("archived_"), (act.name, scene, person)
        assert _events(act) == events + 1, (act.name, scene, person)
    world.state()


def _events(act: Act) -> int:
    return AuditEvent.objects.filter(action=act.action, result="done").count()
