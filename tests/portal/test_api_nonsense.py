"""Whatever is sent, the API says what is wrong with it: a fault of ours is never the answer."""

import json
from typing import Any

import pytest
from django.urls import reverse

from registry.models import Role, User
from tests.api import V1, Program, problem, program
from tests.factories import create_user
from tests.portal.test_api_document import endpoints
from tests.portal.world import World, create_world

NUMBERS = ["0", "99999999999999999999999"]
WORDS = ["x" * 300, "-", "p_0", "b_0_99999999999999999999", "DROP-TABLE"]
QUERIES = [
    {"limit": "-1", "offset": "99999999999999999999999"},
    {"limit": "x", "offset": "\x00"},
    {"environment": "\x00"},
    {"environment": "x" * 500},
    {"q": "\x00", "actor": "😀%_'\"\\"},
    {"time": "9999-12-31T23:59:59-14:00"},
    {"since": "9999-12-31T23:59:59-14:00", "until": "0001-01-01T00:00:00+14:00"},
    {"from": "9999-12-31T23:59:59-14:00", "to": "0001-01-01T00:00:00+14:00"},
    {"a": "99999999999999999999999", "b": "-1"},
    {"state": "\x00", "model": "\x00", "as": "../../etc/passwd"},
    {"draft": "maybe", "ordering": "user__password", "format": "api"},
]
METHODS = ("get", "post", "patch", "put", "delete")
LONG = 10**30
BODIES: list[Any] = [
    {},
    [],
    None,
    "text",
    7,
    {"inputs": {"age": LONG, "city": "\ud800", "income": "\x00"}},
    {"rows": [None, 1, [], {"age": {"a": 1}}], "version": LONG},
    {"items": [None, {"prediction": {"a": 1}, "actual": []}, {"prediction": "p_\x00", "actual": LONG}]},
    {"reason": "\x00\x00\x00", "comment": "\x00\x00\x00", "version": LONG, "to": LONG, "expect": -LONG},
    {"reason": "\ud800\ud800\ud800", "comment": "\ud800\ud800\ud800", "version": 1.5, "to": "x", "until": []},
    {"reason": "good enough", "comment": "good enough", "version": "1", "environment": "\x00"},
    {"reason": ["a"], "comment": {"b": 1}, "version": [1], "environment": 7, "mode": None},
    {"slug": "\x00", "name": "\ud800", "task": [], "owners": [1, None, {}], "groups": "x"},
    {"slug": "a", "name": "b", "task": "regression", "owners": ["nobody@example.com"], "risk": LONG},
    {"policy": {"\x00": 1}, "schema": {"fields": [{"name": "\ud800"}]}, "metrics": {"a": "b"}, "card": LONG},
    {"schema": {"fields": [1]}, "policy": [], "metrics": []},
    {"schema": {"fields": [{"name": "a", "type": "number"}] * 3, "target": None}},
    {"names": LONG, "actions": [[]], "models": [LONG, "\x00"], "days": LONG, "owner": "\x00", "name": ""},
    {"name": "x", "actions": ["read"], "days": -LONG, "keep_hours": LONG},
    {"version": "²", "reason": "good enough", "metrics": {"accuracy": 10**400}},
    {"keep_hours": "x", "thresholds": {"psi": LONG}, "windows": None, "segments": [LONG]},
]


@pytest.fixture
def world(db: None) -> World:
    return create_world()


@pytest.fixture
def caller(world: World) -> Program:
    caller = program(everybody())
    caller.client.raise_request_exception = False
    return caller


def everybody() -> User:
    return create_user(email="everybody@example.com", roles=Role.values)


def routes() -> list[tuple[str, list[str], list[str]]]:
    """The names of all calls, the arguments that each takes, and the methods that it has."""
    return [
        (
            str(each.name),
            list(each.pattern.regex.groupindex),
            [method for method in METHODS if hasattr(each.callback.view_class, method)],  # type: ignore[attr-defined]
        )
        for each in endpoints()
    ]


def paths(world: World, name: str, arguments: list[str]) -> list[str]:
    """The address in this world, and the same with nonsense in the place of what it names."""
    known = {**world.names, "request_id": world.names["request"], "pk": world.names["key"]}
    real = {each: known.get(each, "nowhere") for each in arguments}
    found = [reverse(f"api:{name}", kwargs=real)]
    for each in arguments:
        values = NUMBERS if each in ("number", "pk") else WORDS
        found += [reverse(f"api:{name}", kwargs={**real, each: value}) for value in values]
    return [path.removeprefix(V1) for path in found]


def test_no_address_and_no_query_is_a_fault_of_ours(world: World, caller: Program) -> None:
    for name, arguments, methods in routes():
        first, *others = paths(world, name, arguments)
        for path in others:
            check(
                caller.get(path) if methods[0] == "get" else caller.send(methods[0], path), path, methods[0]
            )
        for query in QUERIES if "get" in methods else []:
            check(caller.get(first, **query), first, query)


def test_no_body_is_a_fault_of_ours(world: World, caller: Program) -> None:
    for name, arguments, methods in routes():
        path = paths(world, name, arguments)[0]
        for method in [each for each in methods if each != "get"]:
            for body in BODIES:
                check(caller.send(method, path, json.dumps(body)), f"{method} {path}", body)


def check(response: Any, path: str, sent: Any) -> None:
    assert response.status_code not in (500, 502), (path, sent, response.content)
    if response.status_code >= 400:
        problem(response, response.status_code)
    elif response.streaming:
        b"".join(response.streaming_content)
