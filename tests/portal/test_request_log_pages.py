"""The request log says who asked what and how it ended; usage counts it by key, model, person and day."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from inference import calls, log
from inference.models import Call
from registry.actions import keys
from registry.models import ApiKey, Role, User
from tests.api import Program, create_key, ok, problem, program
from tests.factories import create_model, create_release, create_user, create_version
from tests.inference import answers
from tests.inference.answers import row


@pytest.fixture(autouse=True)
def _model(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.install(monkeypatch)
    create_release(version=create_version(model=create_model(slug="loans")))


def logged() -> list[Call]:
    log.ingest(wait=True)
    return list(Call.objects.order_by("pk"))


def page(user: User, path: str = "/requests-log/", **query: str) -> str:
    browser = Client()
    browser.force_login(user)
    answer = browser.get(path, query)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def test_an_answered_call_is_one_line_without_its_inputs(business: User, operator: User) -> None:
    caller = program(business, name="nightly")
    answered = ok(caller.post("/models/loans/predict/", {"rows": [row(), row(city="Agra")]}))

    (call,) = logged()
    assert (call.status, call.code, call.rows, call.key.name) == (200, "", 2, "nightly")
    assert (call.model.slug, call.version.number, call.user) == ("loans", 1, business)
    assert call.latency_ms is not None
    text = page(operator)
    assert answered["request_id"] in text
    assert "nightly" in text
    assert "Agra" not in text


def test_a_refused_call_is_one_line_too(business: User) -> None:
    caller = program(business)
    caller.post("/models/loans/predict/", {"rows": [row(age="old")]})
    caller.post("/models/loans/predict/", "{")
    caller.post("/models/nowhere/predict/", {"rows": [row()]})
    program(business, "read").post("/models/loans/predict/", {"rows": [row()]})

    found = [(call.status, call.code, call.rows, call.model and call.model.slug) for call in logged()]

    assert found == [
        (422, "invalid_rows", 1, "loans"),
        (400, "unreadable_json", 0, "loans"),
        (404, "not_found", 0, None),
        (403, "key_action_missing", 0, "loans"),
    ]


def test_a_model_that_one_may_not_see_is_not_told_by_its_line(business: User, operator: User) -> None:
    hidden = create_model(slug="layoffs", name="Whom to lay off")
    hidden.groups.add(Group.objects.create(name="board"))
    create_release(version=create_version(model=hidden))
    service = create_user(roles=[Role.APPROVER, Role.BUSINESS], is_service=True)
    integrator = create_user(roles=[Role.INTEGRATOR])

    assert program(business).post("/models/layoffs/predict/", {"rows": [row()]}).status_code == 404
    ok(program(service).post("/models/layoffs/predict/", {"rows": [row()]}))

    assert [call.model for call in logged()] == [None, hidden]
    assert "Whom to lay off" not in page(business) + page(integrator)
    assert "Whom to lay off" in page(operator)


def test_only_what_says_something_about_the_model_counts_for_its_service(
    business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[Any] = []
    monkeypatch.setattr("inference.ports.sinks", [published.append])
    caller = program(business)
    caller.post("/models/loans/predict/", {"rows": [row(age="old")]})
    caller.post("/models/loans/predict/", {"rows": [row()], "environment": "moon"})
    program(business, "read").post("/models/loans/predict/", {"rows": [row()]})

    assert len(logged()) == 3
    assert [list(batch.call_statuses) for batch in published] == [[422]]


def test_a_revoked_key_that_is_tried_is_seen(business: User) -> None:
    key, secret = keys.create_key(owner=business, name="old", actions=["predict"], actor=business)
    keys.revoke_key(key, actor=business)

    problem(Program(secret).post("/models/loans/predict/", {"rows": [row()]}), 401, "key_revoked")

    (call,) = logged()
    assert (call.status, call.code, call.key, call.model.slug) == (401, "key_revoked", key, "loans")
    assert "key_revoked" in page(business, status="401")


def test_everybody_sees_what_is_theirs(
    business: User, author: User, integrator: User, operator: User
) -> None:
    service = create_user(email="robot@example.com", is_service=True, roles=[Role.INTEGRATOR])
    for user in (business, service):
        ok(program(user, name=f"key of {user}").post("/models/loans/predict/", {"rows": [row()]}))
    create_model(slug="mine", owners=[author])
    logged()

    seen = {
        user.email: sorted(Call.objects.visible_to(user).values_list("user__email", flat=True))
        for user in (business, author, integrator, operator)
    }

    both = ["business@example.com", "robot@example.com"]
    assert seen == {
        business.email: [business.email],
        author.email: [],
        integrator.email: [service.email],
        operator.email: both,
    }
    assert "key of robot@example.com" not in page(business)


def test_the_filters_are_in_the_address(business: User) -> None:
    good, bad = program(business, name="good"), program(business, name="bad")
    ok(good.post("/models/loans/predict/", {"rows": [row()]}, X_Request_ID="request-of-good"))
    bad.post("/models/loans/predict/", {"rows": [row(age="old")]}, X_Request_ID="request-of-bad")
    today = timezone.now().date()
    key = ApiKey.objects.get(name="bad")

    for query, wanted in [
        ({"status": "refused"}, {"request-of-bad"}),
        ({"status": "ok"}, {"request-of-good"}),
        ({"key": str(key.pk)}, {"request-of-bad"}),
        ({"model": "loans"}, {"request-of-good", "request-of-bad"}),
        ({"request_id": "request-of-good"}, {"request-of-good"}),
        ({"until": str(today - timedelta(days=1))}, set()),
        ({"since": str(today)}, {"request-of-good", "request-of-bad"}),
        ({"key": "\x00", "since": "nonsense"}, {"request-of-good", "request-of-bad"}),
    ]:
        text = page(business, **query)
        table = text.partition("<tbody>")[2].partition("</tbody>")[0]
        assert {name for name in ("request-of-good", "request-of-bad") if name in table} == wanted, query


def test_a_line_is_forgotten_after_thirty_days(business: User) -> None:
    ok(program(business).post("/models/loans/predict/", {"rows": [row()]}))
    (old,) = logged()
    Call.objects.filter(pk=old.pk).update(at=timezone.now() - calls.KEPT - timedelta(minutes=1))
    ok(program(business).post("/models/loans/predict/", {"rows": [row()]}))
    logged()

    assert calls.forget_old() == 1
    assert calls.forget_old() == 0
    assert Call.objects.count() == 1


# --- usage ---


def use(user: User, **changes: Any) -> Call:
    fields = {"at": timezone.now(), "channel": "api", "user": user, "user_name": str(user), "status": 200}
    return Call.objects.create(**{**fields, "rows": 1, "latency_ms": 10.0, **changes})


def test_usage_counts_calls_rows_refusals_and_p95_by_day(operator: User) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    for number in range(1, 101):
        use(operator, at=yesterday, key_name="a", latency_ms=float(number), rows=2)
    use(operator, at=yesterday, key_name="a", status=429, latency_ms=None, rows=0)
    use(operator, key_name="b")
    use(operator, at=timezone.now() - timedelta(days=40), key_name="b")

    found = ok(program(operator).get("/usage/"))["results"]

    assert [(each["name"], each["calls"], each["rows"], each["refused"]) for each in found] == [
        ("b", 1, 1, 0),
        ("a", 101, 200, 1),
    ]
    assert found[1]["p95_ms"] == pytest.approx(95, rel=0.05)
    assert found[1]["day"] == str(yesterday.date())


@pytest.mark.parametrize(
    ("by", "name"), [("key", "a"), ("model", "loans"), ("person", "operator@example.com")]
)
def test_usage_is_a_page_and_a_file(operator: User, by: str, name: str) -> None:
    use(operator, key_name="a", model=create_release().version.model)
    use(operator, key_name="a", model_id=Call.objects.get().model_id)
    Call.objects.update(model=create_version(model=create_model(slug="other")).model)
    wanted = "other" if by == "model" else name

    assert wanted in page(operator, "/usage/", by=by)
    (line,) = csv.DictReader(io.StringIO(page(operator, "/usage/usage.csv", by=by)))

    assert (line[by], line["calls"], line["rows"], line["refused"]) == (wanted, "2", "2", "0")


def test_a_key_for_one_model_reads_the_usage_of_that_one(operator: User) -> None:
    one, other = create_model(slug="one"), create_model(slug="other")
    use(operator, model=one)
    use(operator, model=other)
    caller = Program(create_key(operator, "read", models=[one]))

    assert [each["name"] for each in ok(caller.get("/usage/", by="model"))["results"]] == ["one"]
