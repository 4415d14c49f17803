"""The same call sent twice is acted on once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from registry import idempotency
from registry.actions import catalog
from registry.models import ApiKey, Dataset, IdempotencyRecord, RegisteredModel, Role, User
from tests.api import Program, create_key, ok, problem, program
from tests.factories import create_model, create_user

BODY = {"slug": "loans", "name": "Loans", "task": "classification"}
CSV = b"age,repaid\n30,yes\n40,no\n"


@pytest.fixture
def caller(author: User) -> Program:
    return program(author)


def test_the_same_key_and_body_give_the_same_answer(caller: Program) -> None:
    first = caller.post("/models/", BODY, Idempotency_Key="one")
    second = caller.post("/models/", dict(reversed(BODY.items())), Idempotency_Key="one")

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first


def test_another_body_is_409(caller: Program) -> None:
    ok(caller.post("/models/", BODY, Idempotency_Key="one"), 201)

    problem(
        caller.post("/models/", {**BODY, "slug": "x"}, Idempotency_Key="one"), 409, "idempotency_key_reused"
    )
    ok(caller.post("/models/", {**BODY, "slug": "x", "name": "X"}, Idempotency_Key="two"), 201)


def test_a_call_that_is_still_running_is_409(caller: Program) -> None:
    ok(caller.post("/models/", BODY, Idempotency_Key="one"), 201)
    IdempotencyRecord.objects.update(status=None)

    problem(caller.post("/models/", BODY, Idempotency_Key="one"), 409, "idempotency_in_progress")

    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(hours=1))
    problem(caller.post("/models/", BODY, Idempotency_Key="one"), 409, "slug_in_use")


def test_a_refused_call_may_be_sent_again(caller: Program) -> None:
    problem(caller.post("/models/", {**BODY, "task": "guessing"}, Idempotency_Key="one"), 422)

    ok(caller.post("/models/", BODY, Idempotency_Key="one"), 201)


def test_after_a_day_the_key_is_new(caller: Program) -> None:
    ok(caller.post("/models/", BODY, Idempotency_Key="one"), 201)
    RegisteredModel.objects.update(slug="old", name="Old")
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(hours=25))

    ok(caller.post("/models/", BODY, Idempotency_Key="one"), 201)
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert idempotency.purge() == 1


def test_keys_of_two_programs_do_not_meet(author: User) -> None:
    ok(program(author).post("/models/", BODY, Idempotency_Key="one"), 201)

    problem(program(author).post("/models/", BODY, Idempotency_Key="one"), 409, "slug_in_use")


def test_files_count_as_part_of_the_body(caller: Program) -> None:
    create_model(slug="loans")
    caller.headers["Idempotency-Key"] = "one"
    path = "/models/loans/datasets/"

    first = ok(caller.upload(path, file=("a.csv", CSV)), 201)
    assert ok(caller.upload(path, file=("a.csv", CSV)), 201) == first
    problem(caller.upload(path, file=("a.csv", CSV + b"50,no\n")), 409, "idempotency_key_reused")
    assert Dataset.objects.get().rows == 2


def test_a_secret_is_not_kept(caller: Program) -> None:
    body = {"name": "x", "actions": ["read"]}
    first = ok(caller.post("/keys/", body, Idempotency_Key="one"), 201)

    second = ok(caller.post("/keys/", body, Idempotency_Key="one"), 201)

    assert second == {**first, "secret": None}
    assert first["secret"] not in str(IdempotencyRecord.objects.get().response)
    assert ApiKey.objects.filter(name="x").count() == 1


def test_a_fault_of_ours_leaves_the_key_taken(caller: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(catalog, "create_model", fail)
    caller.client.raise_request_exception = False
    problem(caller.post("/models/", BODY, Idempotency_Key="one"), 500)

    problem(caller.post("/models/", BODY, Idempotency_Key="one"), 409, "idempotency_in_progress")


def test_a_key_of_any_length_is_no_key(caller: Program) -> None:
    problem(caller.post("/models/", BODY, Idempotency_Key="x" * 201), 422, "idempotency_key_too_long")


@pytest.mark.django_db(transaction=True)
def test_of_two_calls_at_once_one_acts() -> None:
    key = create_key(create_user(email="author@example.com", roles=[Role.AUTHOR]))
    together = threading.Barrier(2)

    def call(_number: int) -> int:
        try:
            together.wait(10)
            answer = Program(key).post("/models/", BODY, Idempotency_Key="one")
            return int(answer.status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        statuses = sorted(threads.map(call, range(2)))

    # The second is told to wait, or that it was done: it depends on how far the first one was.
    assert statuses in ([201, 201], [201, 409])
    assert RegisteredModel.objects.count() == 1
