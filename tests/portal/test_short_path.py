"""The short path answers exactly what the view would, writes down the same, and takes only what is plain."""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.db import OperationalError
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inference import ids, log, segments, throttles
from inference.runners import ModelTimeout
from portal.short_path import ShortPath
from registry import changes
from registry.actions import releases
from registry.models import ApiKey, AuditEvent, IdempotencyRecord, RegisteredModel, Role, RoleGrant, User
from tests.api import create_key
from tests.factories import create_model, create_release, create_user, create_version
from tests.inference import answers
from tests.inference.answers import row

pytestmark = pytest.mark.django_db(transaction=True)

REQUEST_ID = "the-same-for-both"
LIMITED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@dataclass
class Door:
    """A WSGI application and what it said; `django` is asked where the short path is not taken."""

    asked_django: int = 0
    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def django(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.asked_django += 1
        return WSGIHandler()(environ, start_response)

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status, self.headers = status, sorted(headers)


def ask(application: Any, door: Door, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    response = application(environ, door.start)
    body = b"".join(response)
    if hasattr(response, "close"):
        response.close()
    return door.status, door.headers, body


def environ_of(
    path: str = "/api/v1/models/loans/predict/",
    body: bytes = b"",
    *,
    key: str = "mg_good",
    method: str = "POST",
    **headers: str,
) -> dict[str, Any]:
    kind = headers.pop("Content_Type", "application/json")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        named.setdefault("Authorization", f"Bearer {key}")
    named.setdefault("X-Request-ID", REQUEST_ID)
    request = RequestFactory().generic(method, path, body, kind, headers=named)
    environ: dict[str, Any] = {
        **request.environ,
        "HTTP_HOST": named.get("Host", "localhost"),
    }
    if "Cookie" not in named:
        environ.pop("HTTP_COOKIE", None)  # the factory's own, which is empty
    return environ


def records() -> list[dict[str, Any]]:
    """Every call in the log, without what differs between two calls by nature."""
    found = []
    for path in segments.segments(log.folder()):
        found += [orjson.loads(payload) for payload in segments.read(path, 0).payloads]
    for call in found:
        del call["at"], call["ms"]
    return found


def both(**question: Any) -> tuple[bytes, bool]:
    """The body that both answer to the byte, and whether the short path did so by itself."""
    answered, said, written = [], [], []
    doors = Door(), Door()
    for application, door in ((ShortPath(doors[0].django), doors[0]), (doors[1].django, doors[1])):
        cache.clear()
        IdempotencyRecord.objects.all().delete()  # each is asked for the first time
        before, events = len(records()), AuditEvent.objects.count()
        answered.append(ask(application, door, environ_of(**question)))
        written.append(records()[before:])
        said.append(AuditEvent.objects.count() - events)
    assert answered[0] == answered[1]
    assert written[0] == written[1]
    assert said[0] == said[1]
    return answered[0][2], doors[0].asked_django == 0


@pytest.fixture(autouse=True)
def _world(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that answers, one that nothing answers for, one that is hidden; keys that may and that may not."""
    answers.install(monkeypatch)
    monkeypatch.setattr(ids, "new_ids", lambda count: [f"p_{n:026d}" for n in range(count)])
    integrator = create_user(email="integrator@example.com", roles=[Role.INTEGRATOR])
    loans = create_model(slug="loans")
    create_release(version=create_version(model=loans))
    create_release(version=create_version(model=loans))
    create_release(version=loans.versions.get(number=1), environment="staging")
    silent = create_model(slug="silent")
    create_version(model=silent)
    create_key(integrator, secret="mg_good")
    create_key(integrator, "read", secret="mg_reads")
    create_key(integrator, secret="mg_other", models=[silent])
    create_key(integrator, secret="mg_revoked", revoked_at=timezone.now())
    create_key(integrator, secret="mg_expired", expires_at=timezone.now() - timedelta(days=1))
    create_key(create_user(roles=[Role.AUDITOR]), secret="mg_auditor")
    create_key(create_user(roles=[Role.INTEGRATOR], is_active=False), secret="mg_closed")


def plain(*rows: Any, **more: Any) -> bytes:
    return json.dumps({"rows": list(rows), **more}).encode()


def test_a_plain_question_does_not_reach_django() -> None:
    one, is_short = both(body=json.dumps({"inputs": row()}).encode())
    assert is_short
    assert json.loads(one)["predictions"][0]["value"] == 0.4

    many, is_short = both(body=plain(row(), row(income=1e-9, city="Agra"), environment="staging", version=1))
    assert is_short
    assert [each["label"] for each in json.loads(many)["predictions"]] == ["no", "no"]


@pytest.mark.parametrize(
    ("question", "is_short"),
    [
        ({"body": plain(row(age="old"), {})}, True),
        ({"body": plain()}, True),
        ({"body": plain(row()), "Accept_Encoding": "gzip"}, True),
        ({"body": plain(*[row()] * 30), "Accept_Encoding": "br, GZIP;q=0.5"}, True),
        ({"body": plain(*[row()] * 30), "Accept_Encoding": "gzip;q=0, *"}, True),
        ({"body": plain(*[{}] * 30), "Accept_Encoding": "deflate, gzip"}, True),
        ({"body": plain(*[row()] * 30), "Accept_Encoding": "gzip", "key": "mg_reads"}, False),
        ({"body": plain(7, None)}, True),
        ({"body": plain(row(), version=9)}, True),
        ({"body": plain(row(), environment="moon")}, True),
        ({"path": "/api/v1/models/silent/predict/", "body": plain(row())}, True),
        ({"body": plain(row()), "Accept_Language": "fr, en;q=0.5"}, True),
        ({"body": plain(row()), "Content_Type": "application/json; charset=utf-8"}, True),
        ({"body": plain(row()), "key": "mg_reads"}, False),
        ({"body": plain(row()), "key": "mg_other"}, False),
        ({"body": plain(row()), "key": "mg_revoked"}, False),
        ({"body": plain(row()), "key": "mg_expired"}, False),
        ({"body": plain(row()), "key": "mg_closed"}, False),
        ({"body": plain(row()), "key": "mg_auditor"}, False),
        ({"body": plain(row()), "key": "mg_nobody"}, False),
        ({"body": plain(row()), "key": ""}, False),
        ({"path": "/api/v1/models/none/predict/", "body": plain(row())}, False),
        ({"path": "/api/v1/models/loans/predict/?x=1", "body": plain(row())}, False),
        ({"body": b"{"}, False),
        ({"body": b""}, False),
        ({"body": b'{"inputs": {"age": NaN}}'}, False),
        ({"body": b'{"inputs": {"age": 1, "age": 2}}'}, False),
        ({"body": b'{"inputs": {"age": 1e999}}'}, False),
        ({"body": b"[]"}, False),
        ({"body": b"{}"}, False),
        ({"body": plain(row(), inputs={})}, False),
        ({"body": plain(row(), rowz=1)}, False),
        ({"body": plain(row(), version="1")}, False),
        ({"body": plain(row(), version=True)}, False),
        ({"body": plain(row(), version=None)}, False),
        ({"body": plain(row(), environment=" staging")}, False),
        ({"body": b'{"inputs": []}'}, False),
        ({"body": gzip.compress(plain(row()), mtime=0), "Content_Encoding": "gzip"}, False),
        ({"body": plain(row()), "Accept": "text/html"}, False),
        ({"body": plain(row()), "Content_Type": "text/plain"}, False),
        ({"body": plain(row()), "Cookie": "modelgate_session=x"}, False),
        ({"body": plain(row()), "Idempotency_Key": "once"}, False),
        ({"body": plain(row()), "Host": "evil.example"}, False),
        ({"body": plain(row()), "method": "PUT"}, False),
        ({"body": b"", "method": "GET"}, False),
        ({"path": "/api/v1/models/loans/", "body": b"", "method": "GET"}, False),
    ],
)
def test_both_answer_the_same(question: dict[str, Any], is_short: bool) -> None:
    assert both(**question)[1] == is_short


def test_both_refuse_a_key_over_its_rate_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttles.time, "time", lambda: 1_000_000_000.0)
    create_key(User.objects.get(email="integrator@example.com"), secret="mg_slow", rate=1)
    seen = []
    for short in (True, False):
        cache.clear()
        door = Door()
        application = ShortPath(door.django) if short else door.django
        for _again in range(2):
            last = ask(application, door, environ_of(body=plain(row()), key="mg_slow"))
        seen.append(last)
        assert door.asked_django == (0 if short else 2)

    assert seen[0] == seen[1]
    assert seen[0][0].startswith("429")
    assert ("Retry-After", "20") in seen[0][1]


keys = st.sampled_from(["mg_good", "mg_good", "mg_good", "mg_reads", "mg_other", "mg_revoked", "mg_nobody"])
slugs = st.sampled_from(["loans", "loans", "loans", "silent", "none"])
cells: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["Pune", "Agra", "pune", "", "42", "\u2028", "<b>"]),
    st.text(max_size=5),
)
rows: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"age": st.integers(0, 120), "city": st.sampled_from(["Delhi", "Pune"])},
        optional={"income": st.floats(-1e9, 1e9)},
    ),
    st.dictionaries(st.sampled_from(["age", "income", "city", "colour"]), cells, max_size=4),
    cells,
)
optional = {
    "environment": st.sampled_from(["production", "staging", "moon", "", 7]),
    "version": st.sampled_from([1, 2, 3, "1", None, 10**30]),
    "explain": st.sampled_from([False, None, 0]),
}
bodies: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"rows": st.lists(rows, max_size=4)}, optional=optional),
    st.fixed_dictionaries({"inputs": rows}, optional=optional),
    cells,
).map(lambda body: json.dumps(body).encode())


@LIMITED
@given(key=keys, slug=slugs, body=bodies | st.binary(max_size=10))
@example(key="mg_good", slug="loans", body=plain(row(age=119)))
def test_both_answer_the_same_to_anything(key: str, slug: str, body: bytes) -> None:
    both(path=f"/api/v1/models/{slug}/predict/", body=body, key=key)


@pytest.mark.parametrize("error", [ModelTimeout("slow"), ZeroDivisionError("ours")])
def test_both_fail_the_same(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    answers.install(monkeypatch, answers.failing(error))

    assert both(body=plain(row()))[1]


def test_a_database_that_is_away_is_django_s_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> changes.Known:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(changes, "known", away)

    body, is_short = both(body=plain(row()))

    assert (json.loads(body)["status"], is_short) == (503, False)


@pytest.mark.parametrize("header", [{"X-Forwarded-Proto": "https"}, {}])
def test_both_answer_the_same_behind_a_proxy(header: dict[str, str], settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 3600
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    assert both(body=plain(row()), **{name.replace("-", "_"): value for name, value in header.items()})[
        1
    ] == bool(header)


# --- what is remembered is forgotten in time ---


def answer(**question: Any) -> tuple[str, dict[str, Any]]:
    door = Door()
    status, _headers, body = ask(ShortPath(door.django), door, environ_of(body=plain(row()), **question))
    return status, json.loads(body)


def test_a_rollback_is_in_the_next_answer() -> None:
    assert answer()[1]["version"] == 2

    operator = create_user(roles=[Role.OPERATOR])
    model = RegisteredModel.objects.get(slug="loans")
    releases.roll_back(model, reason="Alarms from the clinic", actor=operator)

    assert answer()[1]["version"] == 1


def revoke() -> None:
    ApiKey.objects.update(revoked_at=timezone.now())


def close() -> None:
    User.objects.update(is_active=False)


def take_roles() -> None:
    RoleGrant.objects.filter(role=Role.INTEGRATOR).delete()


@pytest.mark.parametrize(
    ("change", "code"), [(revoke, "key_revoked"), (close, "key_inactive"), (take_roles, "role_missing")]
)
def test_what_was_taken_away_is_gone_in_the_next_answer(change: Any, code: str) -> None:
    assert answer()[0] == "200 OK"

    change()

    assert answer()[1]["code"] == code


def test_a_key_ends_on_time_and_its_use_is_noted_once_a_minute() -> None:
    answer()
    used = ApiKey.objects.get(prefix="mg_good").last_used_at
    answer()
    assert ApiKey.objects.get(prefix="mg_good").last_used_at == used is not None

    ApiKey.objects.filter(prefix="mg_good").update(expires_at=timezone.now())

    assert answer()[1]["code"] == "key_expired"


def test_who_asks_again_needs_no_question_to_the_tables(django_assert_num_queries: Any) -> None:
    answer()

    with django_assert_num_queries(0):  # the look at the mark goes past what is counted
        answer()
