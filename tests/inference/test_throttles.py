"""A key may carry a rate: so many predictions calls a minute, whichever door it comes to."""

import json
from typing import Any

import pytest
from django.urls import reverse

from inference import log, throttles
from inference.models import Call
from registry.actions import keys
from registry.errors import Invalid
from registry.models import ApiKey, AuditEvent, User
from tests.api import Program, create_key, ok, problem, program
from tests.factories import create_model, create_release, create_version
from tests.inference import answers
from tests.inference.answers import row

ASK = "/models/loans/predict/"
NOW = 1_000_000_020.25  # twenty seconds and a quarter into its minute


@pytest.fixture(autouse=True)
def _model(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.install(monkeypatch)
    monkeypatch.setattr(throttles.time, "time", lambda: NOW)
    create_release(version=create_version(model=create_model(slug="loans")))


def ask(caller: Program) -> Any:
    return caller.post(ASK, {"rows": [row()]})


def test_a_key_over_its_rate_is_told_when_to_come_back(
    business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = program(business, rate=2)
    ok(ask(caller))
    ok(ask(caller))

    response = ask(caller)

    found = problem(response, 429, "throttled")
    seconds = 60 - NOW % 60
    assert response["Retry-After"] == str(int(seconds))
    assert "2 times a minute" in found["detail"]
    monkeypatch.setattr(throttles.time, "time", lambda: NOW + seconds)
    ok(ask(caller))


def test_the_refusal_is_in_the_request_log_and_says_nothing_about_the_model(
    business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Any] = []
    monkeypatch.setattr("inference.ports.sinks", [published.append])
    caller = program(business, rate=1)
    ask(caller)
    ask(caller)

    log.ingest(wait=True)

    assert list(Call.objects.order_by("pk").values_list("status", "code")) == [(200, ""), (429, "throttled")]
    assert [list(batch.call_statuses) for batch in published] == [[200]]


def test_keys_are_counted_apart_and_most_have_no_rate(business: User) -> None:
    first, second, free = program(business, rate=1), program(business, rate=1), program(business)
    ok(ask(first))
    ok(ask(second))
    for _again in range(3):
        ok(ask(free))
    problem(ask(first), 429)


def test_a_rate_is_set_when_a_key_is_made_and_kept_or_changed_when_it_is_rotated(business: User) -> None:
    key, _secret = keys.create_key(owner=business, name="a", actions=["predict"], rate=5, actor=business)
    kept, _secret = keys.rotate_key(key, actor=business)
    changed, _secret = keys.rotate_key(kept, rate=9, actor=business)
    lifted, _secret = keys.rotate_key(changed, rate=None, actor=business)

    assert [each.rate for each in (key, kept, changed, lifted)] == [5, 5, 9, None]
    assert AuditEvent.objects.filter(action="key.created").order_by("seq")[0].details["rate"] == 5


@pytest.mark.parametrize("rate", [0, -5, 10**9])
def test_a_rate_that_is_none_is_refused(business: User, rate: int) -> None:
    with pytest.raises(Invalid, match="calls a minute"):
        keys.create_key(owner=business, name="a", actions=["predict"], rate=rate, actor=business)


def test_the_api_sets_it_and_a_key_gives_no_more_than_it_has(business: User) -> None:
    caller = Program(create_key(business, "read", "predict", rate=10))
    body = {"name": "child", "actions": ["read"]}

    assert ok(caller.post("/keys/", {**body, "rate": 10}), 201)["rate"] == 10
    for wider in ({"rate": 11}, {"rate": None}, {}):
        problem(caller.post("/keys/", {**body, **wider}), 403, "key_wider_than_yours")
    problem(caller.post("/keys/", {**body, "rate": 0}), 422, "bad_rate")
    own = ApiKey.objects.get(name="test")
    problem(caller.post(f"/keys/{own.pk}/rotate/", {"rate": 11}), 403, "key_wider_than_yours")
    assert ok(caller.post(f"/keys/{own.pk}/rotate/", {"rate": 3}), 201)["rate"] == 3


def test_the_page_sets_it(business: User, client: Any) -> None:
    client.force_login(business)
    given = {"name": "a", "owner": business.pk, "actions": ["predict"], "days": "30", "rate": "7"}

    assert client.post(reverse("key-create"), given).status_code == 201
    key = ApiKey.objects.get()
    assert key.rate == 7
    assert "7 calls a minute" in client.get(reverse("key-list")).content.decode()
    assert (
        client.post(reverse("key-rotate", args=[key.pk]), {"rate": "", "keep_hours": "0"}).status_code == 201
    )
    assert ApiKey.objects.get(revoked_at=None).rate is None


# --- the same call sent twice ---


def test_a_repeated_idempotency_key_gives_the_same_ids_and_is_one_call(business: User) -> None:
    caller = program(business)
    body = {"rows": [row(), row(age=70)], "explain": True}

    first = caller.post(ASK, body, Idempotency_Key="once")
    again = caller.post(ASK, body, Idempotency_Key="once")

    assert json.loads(first.content) == json.loads(again.content)
    assert again["Idempotency-Replayed"] == "true"
    log.ingest(wait=True)
    assert Call.objects.count() == 1
    problem(caller.post(ASK, {"rows": [row()]}, Idempotency_Key="once"), 409, "idempotency_key_reused")


def test_a_refused_call_may_be_mended_under_the_same_idempotency_key(business: User) -> None:
    caller = program(business)

    problem(caller.post(ASK, {"rows": [row(age="old")]}, Idempotency_Key="once"), 422)

    ok(caller.post(ASK, {"rows": [row()]}, Idempotency_Key="once"))
