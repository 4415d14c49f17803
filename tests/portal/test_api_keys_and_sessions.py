"""Who calls: keys by header or Basic, sessions with CSRF, and what an ended key leaves behind."""

import base64
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from registry.models import ApiKey, AuditEvent, KeyAction, RegisteredModel, Role, User
from tests.api import V1, Program, create_key, ok, problem, program
from tests.factories import create_model, create_user


def test_it_takes_a_key_as_bearer(business: User) -> None:
    create_model(slug="loans")

    assert ok(program(business, "read").get("/models/"))["results"][0]["slug"] == "loans"


def test_it_takes_a_key_as_the_password_of_basic_whatever_the_user_name(business: User) -> None:
    pair = base64.b64encode(f"anybody:{create_key(business, 'read')}".encode()).decode()

    ok(Program(Authorization=f"Basic {pair}").get("/models/"))


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer mg_nobody", "Basic mg_not-base64", "Basic bWdfeDp5", "Token abc", "Bearer é"],
)
def test_it_answers_strangers_with_401_and_says_how(db: None, header: str) -> None:
    response = Program(Authorization=header).get("/models/")

    problem(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_revoked_key_is_refused_at_once_and_its_use_is_recorded_once_a_minute(business: User) -> None:
    caller = program(business, "read")
    ok(caller.get("/models/"))
    ApiKey.objects.update(revoked_at=timezone.now())

    problem(caller.get("/models/"), 401, "key_revoked")
    problem(caller.get("/models/"), 401, "key_revoked")

    event = AuditEvent.objects.get()
    assert (event.action, event.result, event.channel) == ("key.used", "refused", "api")
    assert event.details["key"] == ApiKey.objects.get().prefix


def test_an_expired_key_is_refused(business: User) -> None:
    past = timezone.now() - timedelta(seconds=1)

    problem(program(business, "read", expires_at=past).get("/models/"), 401, "key_expired")


def test_the_key_of_a_closed_account_is_refused(business: User) -> None:
    caller = program(business, "read")
    User.objects.update(is_active=False)

    problem(caller.get("/models/"), 401, "key_inactive")


def test_it_notes_the_last_use_at_most_once_a_minute(business: User) -> None:
    caller = program(business, "read")

    caller.get("/models/")
    first = ApiKey.objects.get().last_used_at
    caller.get("/models/")
    assert ApiKey.objects.get().last_used_at == first is not None

    ApiKey.objects.update(last_used_at=timezone.now() - timedelta(minutes=2))
    caller.get("/models/")
    assert ApiKey.objects.get().last_used_at > timezone.now() - timedelta(minutes=1)


def test_what_a_key_does_is_recorded_with_its_prefix(author: User) -> None:
    caller = program(author, "upload")

    ok(caller.post("/models/", {"slug": "loans", "name": "Loans", "task": "classification"}), 201)

    event = AuditEvent.objects.get(action="model.created")
    assert event.details["key"] == ApiKey.objects.get().prefix
    assert (event.channel, event.actor_name) == ("api", "author@example.com")


def test_a_session_reads_and_needs_its_csrf_token_to_write(author: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(author)
    body = {"slug": "loans", "name": "Loans", "task": "classification"}

    ok(browser.get(f"{V1}/models/"))
    problem(browser.post(f"{V1}/models/", body, content_type="application/json"), 403)
    browser.get("/api/docs/")
    token = browser.cookies["modelgate_csrf"].value
    ok(
        browser.post(f"{V1}/models/", body, content_type="application/json", headers={"X-CSRFToken": token}),
        201,
    )


def test_a_key_without_the_action_is_refused_with_its_name(author: User) -> None:
    found = problem(program(author, "read").post("/models/", {}), 403, "key_action_missing")

    assert "upload" in found["detail"]
    assert AuditEvent.objects.get().action == "model.created"
    assert AuditEvent.objects.get().result == "refused"


def test_a_key_does_no_more_than_its_owners_roles(business: User) -> None:
    found = problem(program(business).post("/models/", {}), 403, "role_missing")

    assert "Data scientist" in found["detail"]


def test_a_key_loses_what_its_owner_loses(author: User) -> None:
    caller = program(author, "upload")
    author.grants.all().delete()

    problem(caller.post("/models/", {}), 403, "role_missing")


def test_a_service_account_never_approves(db: None) -> None:
    service = create_user(roles=[Role.APPROVER], is_service=True)

    problem(program(service, "approve").post("/requests/r_1/approve/"), 403, "service")


def test_a_key_for_other_models_knows_nothing_of_this_one(author: User) -> None:
    own, other = create_model(slug="own"), create_model(slug="other")
    caller = program(author, models=[own])

    assert [row["slug"] for row in ok(caller.get("/models/"))["results"]] == ["own"]
    ok(caller.get(f"/models/{own.slug}/"))
    problem(caller.get(f"/models/{other.slug}/"), 404, "not_found")
    problem(caller.post(f"/models/{other.slug}/predict/", {"inputs": {}}), 404, "not_found")
    problem(
        caller.post("/models/", {"slug": "third", "name": "Third", "task": "regression"}),
        403,
        "key_limited_to_models",
    )
    assert RegisteredModel.objects.count() == 2


#: One call for each action of a key; what it names does not exist, so whoever gets in finds nothing or too little.
CALLS: dict[str, tuple[str, str]] = {
    "read": ("get", "/models/nowhere/versions/1/"),
    "predict": ("post", "/models/nowhere/predict/"),
    "batch": ("post", "/models/nowhere/batches/"),
    "feedback": ("post", "/feedback/"),
    "upload": ("post", "/models/"),
    "request": ("post", "/models/nowhere/versions/1/requests/"),
    "approve": ("post", "/requests/nowhere/approve/"),
    "release": ("post", "/models/nowhere/releases/"),
    "rollback": ("post", "/models/nowhere/rollback/"),
    "audit": ("get", "/audit/"),
}


@pytest.mark.parametrize("carried", KeyAction.values)
def test_each_action_opens_its_own_calls_and_no_other(db: None, carried: str) -> None:
    caller = program(create_user(roles=Role.values), carried)

    for action, (method, path) in CALLS.items():
        response = caller.get(path) if method == "get" else caller.post(path)
        if action == carried:
            assert response.status_code in (200, 404, 422), (action, response.content)
        else:
            problem(response, 403, "key_action_missing")
