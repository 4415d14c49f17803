"""Approving: somebody else decides, once, about exactly what was asked."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from registry.actions import approvals, releases
from registry.errors import Forbidden, Invalid, Refused
from registry.models import AuditEvent, ModelVersion, ReleaseRequest, Role, User
from tests.factories import (
    create_approval,
    create_model,
    create_release,
    create_request,
    create_user,
    create_version,
)

State = ReleaseRequest.State


def test_it_turns_the_request_approved_and_leaves_one_audit_event(approver: User) -> None:
    request = create_request()

    approvals.approve(request, comment="metrics look right", actor=approver)

    assert request.state == State.APPROVED
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_name, event.reason) == (
        "request.approved",
        "approver@example.com",
        "metrics look right",
    )


def test_it_refuses_the_uploader_even_as_approver_and_superuser(db: None) -> None:
    author = create_user(roles=[Role.AUTHOR, Role.APPROVER], is_superuser=True)
    version = create_version(uploaded_by=author)
    request = create_request(version=version, requested_by=create_user(roles=[Role.AUTHOR]))

    with pytest.raises(Forbidden) as caught:
        approvals.approve(request, comment="trust me", actor=author)

    assert caught.value.code == "own_request"
    assert ReleaseRequest.objects.get().state == State.WAITING


def test_it_refuses_the_one_who_asked(db: None) -> None:
    asker = create_user(roles=[Role.AUTHOR, Role.APPROVER])
    request = create_request(requested_by=asker)

    with pytest.raises(Forbidden):
        approvals.approve(request, actor=asker)


def test_a_superuser_without_the_role_is_refused(db: None) -> None:
    request = create_request()

    with pytest.raises(Forbidden) as caught:
        approvals.approve(request, actor=create_user(roles=[Role.ADMIN], is_superuser=True))

    assert caught.value.code == "needs_approver"


def test_a_service_account_is_refused_whatever_its_roles(db: None) -> None:
    request = create_request()

    with pytest.raises(Forbidden):
        approvals.approve(request, actor=create_user(roles=[Role.APPROVER], is_service=True))


def test_high_risk_needs_two_different_approvers(approver: User, second_approver: User) -> None:
    request = create_request(version=create_version(model=create_model(risk="high")))

    approvals.approve(request, actor=approver)
    assert request.state == State.WAITING
    with pytest.raises(Refused) as caught:
        approvals.approve(request, actor=approver)
    assert caught.value.code == "decided_before"

    approvals.approve(request, actor=second_approver)
    assert request.state == State.APPROVED


@pytest.mark.parametrize(
    ("risk", "format", "policy", "needed"),
    [
        ("medium", "joblib", {"extra_approval_for_pickle": True}, 2),
        ("medium", "pickle", {"extra_approval_for_pickle": True}, 2),
        ("high", "joblib", {"extra_approval_for_pickle": True}, 3),
        ("medium", "skops", {"extra_approval_for_pickle": True}, 1),
        ("medium", "joblib", {"extra_approval_for_pickle": False}, 1),
        ("medium", "joblib", {}, 1),
    ],
)
def test_a_pickle_needs_one_more_approver_where_the_policy_says_so(
    db: None, risk: str, format: str, policy: dict[str, bool], needed: int
) -> None:
    model = create_model(risk=risk, policy=policy)
    request = create_request(version=create_version(model=model, format=format))

    for _each in range(needed):
        assert request.state == State.WAITING
        approvals.approve(request, actor=create_user(roles=[Role.APPROVER]))

    assert (request.approvals_needed, request.state) == (needed, State.APPROVED)


def test_a_stale_object_cannot_decide_twice(approver: User, second_approver: User) -> None:
    request = create_request()
    stale = ReleaseRequest.objects.get(pk=request.pk)
    approvals.reject(request, comment="no, the data is old", actor=approver)

    with pytest.raises(Refused) as caught:
        approvals.approve(stale, actor=second_approver)

    assert caught.value.code == "request_rejected"


def test_rejecting_needs_a_comment(approver: User) -> None:
    request = create_request()

    with pytest.raises(Invalid):
        approvals.reject(request, comment="  ", actor=approver)

    assert ReleaseRequest.objects.get().state == State.WAITING


@pytest.mark.parametrize("change", ["schema", "environment", "measured_metrics"])
def test_it_turns_stale_when_what_was_asked_about_has_moved(approver: User, change: str) -> None:
    request = create_request()
    ModelVersion.objects.filter(pk=request.version_id).update(**{change: {"moved": True}})

    with pytest.raises(Refused) as caught:
        approvals.approve(request, actor=approver)

    assert caught.value.code == "request_stale"
    assert ReleaseRequest.objects.get().state == State.STALE
    assert AuditEvent.objects.get().action == "request.stale"


def test_it_turns_stale_when_another_version_is_released_meanwhile(approver: User, operator: User) -> None:
    model = create_model()
    waiting = create_request(version=create_version(model=model))
    other = create_version(model=model)
    create_approval(version=other)

    releases.release(model, version=other, reason="this one first", actor=operator)

    waiting.refresh_from_db()
    assert waiting.state == State.STALE


def test_it_expires(approver: User) -> None:
    request = create_request(expires_at=timezone.now() - timedelta(seconds=1))

    with pytest.raises(Refused) as caught:
        approvals.approve(request, actor=approver)

    assert caught.value.code == "request_expired"


def test_asking_twice_is_refused_while_the_first_waits(author: User) -> None:
    version = create_version(uploaded_by=author)
    approvals.ask(version, reason="retrained on spring data", actor=author)

    with pytest.raises(Refused) as caught:
        approvals.ask(version, reason="once more", actor=author)

    assert caught.value.code == "already_waiting"


@pytest.mark.parametrize("state", [s for s in ModelVersion.State if s != ModelVersion.State.CHECKED])
def test_only_a_checked_version_can_be_asked_for(author: User, state: str) -> None:
    with pytest.raises(Refused) as caught:
        approvals.ask(create_version(state=state), reason="please", actor=author)

    assert caught.value.code == "not_checked"


def test_canary_is_refused_with_a_clear_code(author: User) -> None:
    with pytest.raises(Refused) as caught:
        approvals.ask(create_version(), reason="carefully", mode="canary", actor=author)

    assert (caught.value.code, caught.value.status) == ("mode_not_available", 422)


def test_only_the_one_who_asked_withdraws(author: User) -> None:
    request = create_request(requested_by=author)

    with pytest.raises(Forbidden):
        approvals.withdraw(request, actor=create_user(roles=[Role.AUTHOR]))
    approvals.withdraw(request, actor=author)

    assert request.state == State.WITHDRAWN


@pytest.mark.django_db(transaction=True)
def test_recording_outside_a_transaction_is_a_mistake() -> None:
    from registry import audit

    with pytest.raises(RuntimeError):
        audit.record(audit.Action.REQUEST_MADE, target=None, actor=None)
    with transaction.atomic():
        audit.record(audit.Action.REQUEST_MADE, target=None, actor=None)
    assert audit.verify().ok


def test_a_release_needs_an_approval_for_that_environment(operator: User) -> None:
    version = create_version()
    create_approval(version=version, environment="staging")

    with pytest.raises(Refused) as caught:
        releases.release(version.model, version=version, reason="it is better", actor=operator)

    assert caught.value.code in {"not_approved", "reason_length"}
    with pytest.raises(Refused) as caught:
        releases.release(version.model, version=version, reason="go on then", actor=operator)
    assert caught.value.code == "not_approved"


def test_an_approval_is_used_once(operator: User) -> None:
    model = create_model()
    first = create_release(version=create_version(model=model))
    second = create_version(model=model)
    create_approval(version=second)
    releases.release(model, version=second, reason="better answers", actor=operator)

    with pytest.raises(Refused) as caught:
        releases.release(model, version=first.version, reason="again please", actor=operator)

    assert caught.value.code == "not_approved"


def test_an_approval_whose_time_is_over_releases_nothing(operator: User) -> None:
    request = create_approval(expires_at=timezone.now() - timedelta(seconds=1))

    with pytest.raises(Refused) as caught:
        releases.release(request.version.model, version=request.version, reason="too late", actor=operator)

    assert caught.value.code == "not_approved"
    assert approvals.expire_due() == 1
    assert ReleaseRequest.objects.get().state == State.EXPIRED


def test_an_approval_that_was_released_stays_approved(operator: User) -> None:
    request = create_approval()
    releases.release(request.version.model, version=request.version, reason="it is better", actor=operator)
    ReleaseRequest.objects.update(expires_at=timezone.now() - timedelta(days=1))

    approvals.settle(request)
    approvals.expire_due()

    assert ReleaseRequest.objects.get().state == State.APPROVED
