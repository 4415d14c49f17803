"""The acts of the state machine through page, API, admin and command: each door refuses what the table does not allow.

At every door an act is tried by half of those who may not where it is allowed, and in half of the other scenes by
somebody who may; the next door of the same act tries the other halves. What is refused leaves an event that names the
door and the person, and changes nothing.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from registry import ports
from registry.models import AuditEvent, User
from tests.registry import machine
from tests.registry.machine import ACTS, BY_NAME, NAMES, WHY, Act, World
from tests.registry.test_machine import undone

pytestmark = pytest.mark.django_db

#: What one may not know of, and who is not signed in: refused, and no line for the log.
UNKNOWN = {302, 401, 404, 410}


@dataclass(frozen=True)
class Door:
    """One way to an act: the response's status, or 200 and 409 from a command."""

    act: str
    channel: str
    knock: Callable[[World, User], int]

    def __str__(self) -> str:
        return f"{self.act}-{self.channel}"


def _page(name: str, data: Callable[[World], dict[str, Any]]) -> Callable[[World, User], int]:
    def knock(world: World, person: User) -> int:
        return _client(person).post(_address(name, world), data(world)).status_code

    return knock


def _api(name: str, body: Callable[[World], dict[str, Any]], method: str = "post") -> Callable[..., int]:
    def knock(world: World, person: User) -> int:
        send = getattr(_client(person), method)
        status: int = send(
            _address(f"api:{name}", world), body(world), content_type="application/json"
        ).status_code
        return status

    return knock


def _admin(model: str, data: dict[str, Any]) -> Callable[[World, User], int]:
    def knock(world: World, person: User) -> int:
        row: Any = {"modelversion": world.version, "registeredmodel": world.model}.get(model) or world.asked
        return _client(person).post(f"/admin/registry/{model}/{row.pk}/change/", data).status_code

    return knock


def _command(world: World, person: User) -> int:
    to = str(world.version.number)
    try:
        call_command(
            "rollback", "loans", "--reason", WHY, "--by", person.email, "--to", to, stdout=io.StringIO()
        )
    except CommandError:
        return 409
    return 200


def _client(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def _address(name: str, world: World) -> str:
    if "approval" in name:
        return reverse(name, args=[world.asked.public_id])
    if name.startswith("api:request-") and name != "api:request-create":
        return reverse(name, args=[world.asked.public_id])
    by_model = ("release-list", "roll-back", "rollback", "unfreeze", "model-")
    if any(part in name for part in by_model):
        return reverse(name, args=["loans"])
    return reverse(name, args=["loans", world.version.number])


def _reason(world: World) -> dict[str, Any]:
    return {"reason": WHY}


def _comment(world: World) -> dict[str, Any]:
    return {"comment": WHY}


def _verdict(name: str) -> Callable[[World], dict[str, Any]]:
    return lambda world: {"comment": WHY, "verdict": name}


def _papers(world: World) -> dict[str, Any]:
    return {"field-TOTAL_FORMS": "0", "field-INITIAL_FORMS": "0", "papers-card": "Other words"}


def _back(world: World) -> dict[str, Any]:
    current = world.serving
    return {"reason": WHY, "to": world.version.number, "expect": current.number if current else 0}


DOORS = [
    Door("edit_draft", "page", _page("version-edit", _papers)),
    Door("edit_draft", "api", _api("version-detail", lambda world: {"card": "Other words"}, "patch")),
    Door("start_checks", "page", _page("version-check", lambda world: {})),
    Door("start_checks", "api", _api("version-checks", lambda world: {})),
    Door("admit", "page", _page("version-review", lambda world: {"names": NAMES, "comment": WHY})),
    Door("admit", "api", _api("version-admit", lambda world: {"names": NAMES, "comment": WHY})),
    Door("refuse", "page", _page("version-review", lambda world: {"refuse": "1", "comment": WHY})),
    Door("admit", "admin", _admin("modelversion", {"admit": "1", "names": NAMES, "comment": WHY})),
    Door("refuse", "admin", _admin("modelversion", {"refuse": "1", "comment": WHY})),
    Door("refuse", "api", _api("version-refuse", _comment)),
    Door("retire", "page", _page("version-retire", _reason)),
    Door("retire", "api", _api("version-retire", _reason)),
    Door("retire", "admin", _admin("modelversion", {"act": "retire", "reason": WHY})),
    Door("archive", "api", _api("version-archive", _reason)),
    Door("archive", "admin", _admin("modelversion", {"act": "archive", "reason": WHY})),
    Door("unarchive", "api", _api("version-unarchive", _reason)),
    Door("unarchive", "admin", _admin("modelversion", {"act": "unarchive", "reason": WHY})),
    Door("lift_quarantine", "page", _page("version-lift", _reason)),
    Door("lift_quarantine", "api", _api("version-lift", _reason)),
    Door("ask", "page", _page("version-request", lambda world: {"environment": "production", "reason": WHY})),
    Door("ask", "api", _api("request-create", _reason)),
    *(
        Door(name, channel, knock)
        for name, api in (("approve", "approve"), ("reject", "reject"), ("ask_changes", "changes"))
        for channel, knock in (
            ("page", _page("approval-detail", _verdict(name))),
            ("api", _api(f"request-{api}", _comment)),
            ("admin", _admin("releaserequest", _verdict(name)({}))),  # type: ignore[arg-type]
        )
    ),
    Door("withdraw", "page", _page("approval-withdraw", _verdict("approve"))),
    Door("withdraw", "api", _api("request-withdraw", _comment)),
    Door(
        "release",
        "page",
        _page(
            "version-release",
            lambda world: {"version": world.version.pk, "environment": "production", "reason": WHY},
        ),
    ),
    Door(
        "release",
        "api",
        _api("release-list", lambda world: {"version": world.version.number, "reason": WHY}),
    ),
    Door("roll_back", "page", _page("roll-back", _back)),
    Door("roll_back", "api", _api("rollback", _back)),
    Door("roll_back", "command", _command),
    Door("unfreeze", "page", _page("unfreeze", lambda world: {"freeze-reason": WHY})),
    Door("unfreeze", "api", _api("unfreeze", _reason)),
    Door("delete_model", "page", _page("model-delete", lambda world: {"slug": "loans", "reason": WHY})),
    Door("delete_model", "api", _api("model-delete", lambda world: {"reason": WHY, "confirm": "loans"})),
    Door("delete_model", "admin", _admin("registeredmodel", {"act": "delete", "reason": WHY})),
    Door("change_policy", "page", _page("model-policy", lambda world: {"extra_approval_for_pickle": "on"})),
    Door(
        "change_policy",
        "api",
        _api("model-detail", lambda world: {"policy": {"extra_approval_for_pickle": True}}, "patch"),
    ),
]
#: The page has one button for both, which does what there is to do.
DOORS_OF_THEIR_OWN = {("archive", "page"), ("unarchive", "page")}


@pytest.fixture
def people(no_checks: list[int], monkeypatch: pytest.MonkeyPatch, db: None) -> dict[str, User]:
    monkeypatch.setattr(ports.replay, "replay", lambda version_id: None)
    return machine.create_people()


def test_every_act_has_a_page_and_a_call_of_the_api() -> None:
    found = {(door.act, door.channel) for door in DOORS} | DOORS_OF_THEIR_OWN

    assert {(act.name, channel) for act in ACTS for channel in ("page", "api")} <= found


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_no_door_lets_through_what_the_table_does_not_allow(door: Door, people: dict[str, User]) -> None:
    act = BY_NAME[door.act]
    with undone():
        world = act.scenes[act.home](people)
        for person in sampled([one for one in machine.PEOPLE if one not in act.who], door):
            _expect_refused(door, act, world, person, act.home)
        _expect_done(door, act, world)
    for scene in sampled([one for one in act.scenes if one not in act.allowed], door):
        with undone():
            _expect_refused(door, act, act.scenes[scene](people), _able(door), scene)


def sampled(names: list[str], door: Door) -> list[str]:
    """Every other one at each door, and the rest at the next: the verbs have been tried with all of them."""
    return names[DOORS.index(door) % 2 :: 2]


def _able(door: Door) -> str:
    """Somebody who may, at this door: deleting through the API is its owners' and not an administrator's alone."""
    who = BY_NAME[door.act].who
    return next(name for name in ("maker", "asker", "approver") if name in who)


def _expect_done(door: Door, act: Act, world: World) -> None:
    before = machine.digest()
    status = door.knock(world, world.people[_able(door)])
    assert status in (200, 201, 202, 204, 302), (str(door), status)
    assert machine.digest() != before, str(door)
    event = AuditEvent.objects.filter(action=act.action, result="done").latest("seq")
    assert event.channel == door.channel, str(door)


def _expect_refused(door: Door, act: Act, world: World, person: str, scene: str) -> None:
    but = "registry_releaserequest" if scene in act.settles else ""
    before, state = machine.digest(but=but), world.state()
    last = AuditEvent.objects.order_by("-seq").values_list("seq", flat=True).first() or 0

    status = door.knock(world, world.people[person])

    told = (str(door), scene, person, status)
    assert status < 500, told
    assert machine.digest(but=but) == before, told
    assert world.state() == act.settles.get(scene, state), told
    events = AuditEvent.objects.filter(seq__gt=last, result="refused", channel=door.channel)
    is_known = any(event.actor_id == world.people[person].pk for event in events)
    assert is_known or (status in UNKNOWN and _is_stranger(door, person, status)), told


def _is_stranger(door: Door, person: str, status: int) -> bool:
    """Pages answer 302 to those who are not signed in, and to everybody after a refusal that must be on record."""
    return status != 302 or person == "closed"
