"""Every error is a problem of one shape, whoever raised it."""

import gzip
import json
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client

from portal.api.throttling import WriteThrottle
from registry import errors
from registry.actions import catalog
from registry.models import User
from tests.api import PROBLEM, V1, Program, ok, problem, program
from tests.factories import create_model

BODY = {"slug": "loans", "name": "Loans", "task": "classification"}


@pytest.fixture
def caller(author: User) -> Program:
    return program(author)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Refused("no", code="frozen"), 409),
        (errors.Forbidden("no"), 403),
        (errors.NotFound("no"), 404),
        (errors.Invalid("no", errors=[{"field": "age", "code": "missing", "row": 3}]), 422),
        (errors.Unreadable("no"), 415),
        (errors.TooLarge("no"), 413),
        (errors.NothingServing("no"), 503),
        (errors.Unavailable("no"), 503),
        (errors.Gone("no"), 410),
        (errors.Refused("no", status=504), 504),
        (PermissionDenied("no"), 403),
    ],
)
def test_what_a_verb_refuses(
    caller: Program, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def refuse(**kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(catalog, "create_model", refuse)

    found = problem(caller.post("/models/", BODY), status, getattr(error, "code", ""))

    assert found["detail"] == "no"
    if status == 422:
        assert found["errors"] == [
            {"field": "age", "row": 3, "code": "missing", "value": None, "expected": "", "fix": ""}
        ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"slug": NaN}',
        b'{"slug": Infinity}',
        b'{"slug": -Infinity}',
        b'{"slug": 1e999}',
        b'{"slug": "a", "slug": "b"}',
        b'{"policy": {"a": 1, "a": 2}}',
        b"{",
        b"\xff\xfe",
        b'{"slug": "\xff"}',
        b"[" * 100_000,
        b'{"slug": ' + b"9" * 10_000 + b"}",
    ],
)
def test_a_body_that_is_no_json_is_400(caller: Program, body: bytes) -> None:
    problem(caller.post("/models/", body), 400)


def test_a_body_that_is_no_object_is_422(caller: Program) -> None:
    problem(caller.post("/models/", [1, 2]), 422)


def test_mistakes_in_fields_are_422_with_one_entry_each(caller: Program) -> None:
    found = problem(caller.post("/models/", {"slug": "", "task": "guessing", "colour": "red"}), 422)

    assert {(each["field"], each["code"]) for each in found["errors"]} == {("colour", "unknown_field")}

    found = problem(caller.post("/models/", {"slug": "", "task": "guessing"}), 422)
    assert {(each["field"], each["code"]) for each in found["errors"]} == {
        ("slug", "blank"),
        ("name", "required"),
        ("task", "invalid_choice"),
    }


def test_a_method_that_is_not_there_is_405(caller: Program) -> None:
    problem(caller.send("delete", "/models/"), 405, "method_not_allowed")


def test_a_format_that_is_not_there_is_406(author: User) -> None:
    problem(Program(**program(author).headers, Accept="image/png").get("/models/"), 406)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/octet-stream", "application/python-pickle", "text/csv", ""]
)
def test_a_kind_of_content_that_nobody_reads_is_415(caller: Program, content_type: str) -> None:
    response = caller.client.post(
        f"{V1}/models/", b"cos\nsystem\n", content_type=content_type, headers=caller.headers
    )

    problem(response, 415)


def test_a_body_over_the_limit_is_413(caller: Program, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    problem(caller.post("/models/", {**BODY, "description": "x" * 2000}), 413, "too_large")


def test_gzip_is_unpacked(caller: Program) -> None:
    packed = gzip.compress(json.dumps(BODY).encode())

    ok(caller.post("/models/", packed, Content_Encoding="gzip"), 201)


def test_a_gzip_bomb_stops_at_the_limit(caller: Program, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000

    problem(caller.post("/models/", gzip.compress(b" " * 5_000_000), Content_Encoding="gzip"), 413)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [("gzip", b"{}", 400), ("gzip", gzip.compress(b"{}", mtime=0)[:-3], 400), ("br", b"{}", 415)],
)
def test_other_encodings_are_refused(caller: Program, encoding: str, body: bytes, status: int) -> None:
    problem(caller.post("/models/", body, Content_Encoding=encoding), status)


def test_a_hidden_thing_and_a_missing_one_look_alike(caller: Program, stranger: User) -> None:
    create_model(slug="loans")

    missing = problem(caller.get("/models/nowhere/"), 404, "not_found")
    hidden = problem(program(stranger, "read").get("/environments/"), 403)
    assert missing["errors"] == hidden["errors"] == []


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1/", "/api/v1/nothing/", "/api/v2/models/", "/api/v1/models/a b/"]
)
def test_an_address_that_does_not_exist_is_a_problem_too(db: None, path: str) -> None:
    problem(Client().get(path), 404, "not_found")


def test_a_forgotten_slash_is_named_instead_of_losing_the_body(caller: Program) -> None:
    found = problem(caller.post("/models", BODY), 404, "slash_missing")

    assert found["fix"] == "/api/v1/models/"


def test_a_fault_of_ours_is_a_problem_without_a_trace(
    caller: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(catalog, "create_model", fail)
    caller.client.raise_request_exception = False

    response = caller.post("/models/", BODY)

    assert b"secret detail" not in response.content
    problem(response, 500, "server_error")


def test_too_many_writes_are_429_and_reads_and_predictions_go_on(
    caller: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WriteThrottle, "THROTTLE_RATES", {"writes": "2/minute"})
    create_model(slug="there")

    for _time in range(2):
        problem(caller.post("/models/", {}), 422)
    response = caller.post("/models/", {})

    problem(response, 429, "throttled")
    assert int(response["Retry-After"]) > 0
    ok(caller.get("/models/"))
    problem(caller.post("/models/there/predict/", {}), 422)


def test_each_key_has_a_count_of_its_own(author: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WriteThrottle, "THROTTLE_RATES", {"writes": "1/minute"})
    first, second = program(author), program(author)

    problem(first.post("/models/", {}), 422)
    problem(first.post("/models/", {}), 429)
    problem(second.post("/models/", {}), 422)


def test_the_problem_says_what_it_is(caller: Program) -> None:
    response = caller.get("/models/nowhere/")

    assert response["Content-Type"] == PROBLEM
    assert response.json()["type"] == "/problems/not-found"
