"""Requests, decisions, releases and rollbacks through the API: the same rules as everywhere."""

from typing import Any

import pytest

from registry.models import AuditEvent, Decision, Release, ReleaseRequest, Role, User
from tests.api import Program, ok, problem, program
from tests.factories import (
    create_approval,
    create_model,
    create_release,
    create_request,
    create_user,
    create_version,
)

LOANS = "/models/loans"


@pytest.fixture
def asked(author: User) -> ReleaseRequest:
    version = create_version(model=create_model(slug="loans", owners=[author]), uploaded_by=author)
    return create_request(version=version, requested_by=author)


def test_the_whole_way_of_a_version(
    author: User, approver: User, second_approver: User, operator: User
) -> None:
    create_version(model=create_model(slug="loans", risk="high"), uploaded_by=author)

    asked = ok(program(author).post(f"{LOANS}/versions/1/requests/", {"reason": "First one"}), 201)
    assert (asked["state"], asked["approvals"]) == ("waiting", {"needed": 2, "given": 0})
    path = f"/requests/{asked['id']}"

    first = ok(program(approver).post(f"{path}/approve/", {"comment": "Looks right"}))
    assert (first["state"], first["approvals"]) == ("waiting", {"needed": 2, "given": 1})
    problem(program(approver).post(f"{path}/approve/"), 409, "decided_before")
    problem(
        program(operator).post(f"{LOANS}/releases/", {"version": 1, "reason": "Too early"}),
        409,
        "not_approved",
    )
    second = ok(program(second_approver).post(f"{path}/approve/", {}))
    assert second["state"] == "approved"
    assert [each["decided_by"] for each in second["decisions"]] == [
        "approver@example.com",
        "second@example.com",
    ]
    assert not Release.objects.exists()

    released = ok(program(operator).post(f"{LOANS}/releases/", {"version": 1, "reason": "Go live"}), 201)
    assert (released["number"], released["version"], released["kind"]) == (1, 1, "release")
    assert set(released["approved_by"]) == {"approver@example.com", "second@example.com"}
    assert ok(program(operator).get(f"{LOANS}/releases/"))["results"] == [released]


@pytest.mark.parametrize("is_superuser", [False, True])
@pytest.mark.parametrize("verb", ["approve", "reject", "request-changes"])
def test_an_author_does_not_decide_on_their_own(
    asked: ReleaseRequest, author: User, verb: str, is_superuser: bool
) -> None:
    author.grants.create(role=Role.APPROVER)
    author.is_superuser = author.is_staff = is_superuser
    author.save()

    problem(
        program(author).post(f"/requests/{asked.public_id}/{verb}/", {"comment": "Trust me"}),
        403,
        "own_request",
    )

    assert not Decision.objects.exists()
    event = AuditEvent.objects.get()
    assert (event.result, event.actor_name, event.model_slug) == ("refused", "author@example.com", "loans")
    assert event.target_id == asked.public_id


def test_a_superuser_without_the_role_does_not_decide(asked: ReleaseRequest) -> None:
    admin = create_user(roles=[Role.ADMIN], is_superuser=True)

    problem(program(admin).post(f"/requests/{asked.public_id}/approve/"), 403, "role_missing")

    assert AuditEvent.objects.get().target_id == asked.public_id


def test_rejecting_and_asking_for_changes_need_a_comment(asked: ReleaseRequest, approver: User) -> None:
    caller = program(approver)

    found = problem(caller.post(f"/requests/{asked.public_id}/reject/"), 422, "reason_length")
    assert found["errors"][0]["field"] == "comment"
    answer = ok(caller.post(f"/requests/{asked.public_id}/request-changes/", {"comment": "Name the data"}))
    assert answer["state"] == "changes_asked"
    problem(caller.post(f"/requests/{asked.public_id}/approve/"), 409, "request_changes_asked")


def test_only_the_one_who_asked_withdraws(asked: ReleaseRequest, author: User) -> None:
    path = f"/requests/{asked.public_id}/withdraw/"

    problem(program(create_user(roles=[Role.AUTHOR])).post(path), 403, "not_requester")
    assert ok(program(author).post(path, {"comment": "Found a mistake"}))["state"] == "withdrawn"


def test_canary_waits_for_its_time(author: User) -> None:
    create_version(model=create_model(slug="loans"), uploaded_by=author)

    problem(
        program(author).post(f"{LOANS}/versions/1/requests/", {"reason": "Carefully", "mode": "canary"}),
        422,
        "mode_not_available",
    )


def test_requests_are_filtered_by_named_fields(asked: ReleaseRequest, approver: User) -> None:
    create_request()
    caller = program(approver, "read")

    assert ok(caller.get("/requests/"))["count"] == 2
    assert ok(caller.get("/requests/", model="loans", state="waiting"))["count"] == 1
    assert ok(caller.get("/requests/", state="approved"))["count"] == 0
    problem(caller.get("/requests/", state="guessing"), 422, "invalid_choice")
    assert ok(caller.get(f"/requests/{asked.public_id}/"))["id"] == asked.public_id
    problem(caller.get("/requests/r_nowhere/"), 404)


def served(*numbers: int) -> None:
    model = create_model(slug="loans")
    for number in numbers:
        create_release(version=create_version(model=model, number=number))


def test_a_rollback_in_one_call(operator: User) -> None:
    served(1, 2)
    caller = program(operator)

    preview = ok(caller.get(f"{LOANS}/rollback/"))
    assert (preview["current"]["version"], preview["target"]["version"]) == (2, 1)
    assert [(each["version"], each["eligible"]) for each in preview["targets"]] == [(2, False), (1, True)]
    made = ok(caller.post(f"{LOANS}/rollback/", {"reason": "Alarms", "expect": 2}), 201)

    assert (made["number"], made["version"], made["kind"], made["restores"]) == (3, 1, "rollback", 1)
    again = problem(caller.post(f"{LOANS}/rollback/", {"reason": "Alarms", "expect": 2}), 409, "lost_race")
    assert again["detail"].startswith("Already rolled back to v1 by ")


def test_there_is_nothing_before_the_first_release(operator: User) -> None:
    served(1)
    caller = program(operator)

    problem(caller.post(f"{LOANS}/rollback/", {"reason": "Alarms"}), 409, "no_earlier_release")
    problem(caller.post(f"{LOANS}/rollback/", {"reason": "Alarms", "to": 9}), 409, "never_served")
    problem(caller.get(f"{LOANS}/rollback/", environment="staging"), 404, "no_release")
    assert {event.result for event in AuditEvent.objects.all()} == {"refused"}


def test_a_rollback_freezes_until_somebody_lifts_it(operator: User) -> None:
    served(1, 2)
    caller = program(operator)
    ok(caller.post(f"{LOANS}/rollback/", {"reason": "Alarms"}), 201)
    create_approval(version=create_version(model=Release.objects.all()[0].model, number=3))

    problem(caller.post(f"{LOANS}/releases/", {"version": 3, "reason": "Mended"}), 409, "frozen")
    lifted = ok(caller.post(f"{LOANS}/unfreeze/", {"reason": "Cause found"}))
    assert (lifted["lifted_by"], lifted["reason"]) == ("operator@example.com", "Cause found")
    problem(caller.post(f"{LOANS}/unfreeze/", {"reason": "Cause found"}), 409, "not_frozen")
    ok(caller.post(f"{LOANS}/releases/", {"version": 3, "reason": "Mended"}), 201)


@pytest.mark.parametrize("path", ["releases/", "rollback/", "unfreeze/"])
def test_who_is_no_operator_moves_nothing_and_the_attempt_is_kept(author: User, path: str) -> None:
    served(1, 2)

    problem(program(author).post(f"{LOANS}/{path}", {"version": 1, "reason": "Because"}), 403)

    assert Release.objects.count() == 2
    assert AuditEvent.objects.get().model_slug == "loans"


@pytest.mark.parametrize("version", [99, "x", None, True])
def test_a_version_that_does_not_exist_is_a_mistake_in_the_body(operator: User, version: Any) -> None:
    served(1)

    found = problem(
        program(operator).post(f"{LOANS}/releases/", {"version": version, "reason": "Because"}), 422
    )

    assert found["errors"][0]["field"] == "version"


def test_an_unknown_environment_is_named(operator: User) -> None:
    served(1)

    problem(
        Program.post(program(operator), f"{LOANS}/rollback/", {"reason": "Because", "environment": "moon"}),
        422,
        "unknown_environment",
    )
