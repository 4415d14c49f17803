"""A part of the installation is away: what can go on goes on, and the rest is said so that programs understand it."""

import socket
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError

from portal.api.authentication import KeyAuthentication
from registry.actions import releases
from registry.models import RegisteredModel, Release, User
from tests import factories
from tests.api import ok, problem, program


@pytest.fixture
def no_redis(settings: Any) -> None:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    settings.CACHES = {"default": {"BACKEND": "portal.cache.SteadyRedisCache", "LOCATION": address}}


@pytest.fixture
def model(db: None) -> RegisteredModel:
    """Something to go back to."""
    first = factories.create_release()
    factories.create_release(version=factories.create_version(model=first.model))
    return first.model


def test_one_goes_back_without_redis(model: RegisteredModel, operator: User, no_redis: None) -> None:
    made = program(operator, "rollback").post(f"/models/{model.slug}/rollback/", {"reason": "Wrong"})

    assert ok(made, 201)["kind"] == Release.Kind.ROLLBACK


def test_a_rate_is_counted_without_redis(no_redis: None) -> None:
    cache.add("tries", 0)

    assert [cache.incr("tries"), cache.incr("tries"), cache.get("tries")] == [1, 2, 2]
    with pytest.raises(ValueError, match="not found"):
        cache.incr("never-begun")


def test_who_asks_while_the_database_is_away_is_told_so(
    model: RegisteredModel, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say who asks, so there is no line of it in the request log either."""
    asking = program(business, "predict")

    def fail(_self: Any, _request: Any) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr(KeyAuthentication, "authenticate", fail)

    response = asking.post(f"/models/{model.slug}/predict/", {"inputs": {"age": 40}})

    problem(response, 503, "database_unavailable")


def test_a_program_is_told_that_the_database_is_away(
    model: RegisteredModel, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(releases, "roll_back", fail)

    response = program(operator, "rollback").post(
        f"/models/{model.slug}/rollback/", {"reason": "Wrong"}, Idempotency_Key="one"
    )

    told = problem(response, 503, "database_unavailable")
    assert response["Retry-After"] == "5"
    assert "server closed" not in str(told)
