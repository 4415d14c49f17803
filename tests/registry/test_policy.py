"""A model's rules: read strictly, changed by who may, and no way to lower the bar for what waits already."""

from typing import Any

import pytest
from django.contrib.auth.models import Group

from registry.actions import approvals, policies, releases
from registry.errors import Forbidden, Invalid, Refused
from registry.models import AuditEvent, RegisteredModel, ReleaseRequest, Role, User
from registry.policy import Policy, differences
from tests.factories import create_approval, create_model, create_request, create_user, create_version

GATES: list[dict[str, Any]] = [
    {"metric": "auc", "at_least": 0.8, "not_worse_than_serving_by": 0.01},
    {"metric": "log_loss", "at_most": 0.5},
    {"p95_ms": 50},
    {"slices": ["sex", "age_band"], "min_rows": 30, "max_loss": 0.03, "metric": "accuracy"},
]


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(owners=[author])


# --- reading ---


def test_what_is_written_is_read_and_written_again() -> None:
    said = {"request_days": 7, "approver_groups": ["Risk"], "gates": GATES, "owners_see_inputs": True}

    assert Policy.read(said, "classification").to_json() == said
    assert Policy.read({}).to_json() == {}


def test_it_is_told_in_words() -> None:
    words = " ".join(Policy.read({"gates": GATES, "approver_groups": ["Risk"]}).sentences)

    assert "AUC at least 0.8, not worse than what serves by more than 0.01." in words
    assert "Approvers of these teams decide: Risk." in words
    assert "No group of sex, age_band with at least 30 rows loses more than 0.03 Accuracy." in words


@pytest.mark.parametrize(
    ("policy", "field", "code"),
    [
        ({"gate": []}, "policy.gate", "unknown_field"),
        ({"request_days": 0}, "policy.request_days", "out_of_range"),
        ({"request_days": "7"}, "policy.request_days", "out_of_range"),
        ({"approver_groups": "Risk"}, "policy.approver_groups", "wrong_type"),
        ({"gates": {}}, "policy.gates", "wrong_type"),
        ({"gates": [{"at_least": 1}]}, "policy.gates[0]", "unknown_gate"),
        ({"gates": [{"metric": "rmse", "at_most": 1}]}, "policy.gates[0].metric", "not_in_list"),
        ({"gates": [{"metric": "auc"}]}, "policy.gates[0]", "missing"),
        ({"gates": [{"metric": "auc", "at_most": 0.9}]}, "policy.gates[0].at_most", "wrong_direction"),
        ({"gates": [{"metric": "auc", "at_least": "0.9"}]}, "policy.gates[0].at_least", "not_a_number"),
        (
            {"gates": [{"metric": "auc", "at_least": float("nan")}]},
            "policy.gates[0].at_least",
            "not_a_number",
        ),
        ({"gates": [{"metric": "auc", "atleast": 0.9}]}, "policy.gates[0].atleast", "unknown_field"),
        ({"gates": [GATES[0], GATES[0]]}, "policy.gates[1]", "duplicate"),
        ({"gates": [{"p95_ms": 0}]}, "policy.gates[0].p95_ms", "not_a_number"),
        ({"gates": [{"slices": [], "metric": "f1", "max_loss": 0}]}, "policy.gates[0].slices", "missing"),
        (
            {"gates": [{"slices": ["a"], "metric": "auc", "max_loss": 0}]},
            "policy.gates[0].metric",
            "not_in_list",
        ),
        ({"gates": [{"slices": ["a"], "metric": "f1"}]}, "policy.gates[0].max_loss", "not_a_number"),
    ],
)
def test_a_mistake_is_named_with_its_place(policy: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        Policy.read(policy, "classification")

    assert (caught.value.code, caught.value.status) == ("bad_policy", 422)
    assert (field, code) in [(error["field"], error["code"]) for error in caught.value.errors]


def test_a_change_is_told_as_what_goes_and_what_comes() -> None:
    before = Policy.read({"gates": [{"metric": "auc", "at_least": 0.8}]})
    after = Policy.read({"gates": [{"metric": "auc", "at_least": 0.7}]})

    assert differences(before, after) == ["No more: AUC at least 0.8.", "New: AUC at least 0.7."]


# --- changing ---


def test_a_change_is_one_event_with_before_and_after(author: User, model: RegisteredModel) -> None:
    policies.change_policy(model, {"gates": GATES}, actor=author)
    policies.change_policy(model, {"request_days": 3}, actor=author)

    event = AuditEvent.objects.filter(action="model.policy_changed")[0]
    assert (event.before["gates"][0]["metric"], event.after) == ("auc", {"request_days": 3})
    assert any(line.startswith("No more: AUC") for line in event.details["changes"])


def test_nothing_is_written_when_nothing_changes(author: User, model: RegisteredModel) -> None:
    policies.change_policy(model, {"owners_see_inputs": False}, actor=author)

    assert not AuditEvent.objects.exists()


def test_an_administrator_may_and_others_may_not(administrator: User, model: RegisteredModel) -> None:
    policies.change_policy(model, {"request_days": 3}, actor=administrator)

    for roles in ([Role.AUTHOR], [Role.APPROVER, Role.OPERATOR, Role.AUDITOR], [Role.BUSINESS]):
        with pytest.raises(Forbidden):
            policies.change_policy(model, {}, actor=create_user(roles=roles))
    model.refresh_from_db()
    assert model.policy == {"request_days": 3}


def test_a_team_that_does_not_exist_is_refused(author: User, model: RegisteredModel) -> None:
    with pytest.raises(Invalid) as caught:
        policies.change_policy(model, {"approver_groups": ["Nobody"]}, actor=author)

    assert caught.value.errors[0]["code"] == "unknown_team"


# --- what follows from it ---


def test_lowering_the_bar_makes_what_waits_stale(
    author: User, approver: User, model: RegisteredModel
) -> None:
    policies.change_policy(model, {"extra_approval_for_pickle": True}, actor=author)
    request = create_request(version=create_version(model=model))

    policies.change_policy(model, {}, actor=author)

    request.refresh_from_db()
    assert request.state == ReleaseRequest.State.STALE
    with pytest.raises(Refused) as caught:
        approvals.approve(request, actor=approver)
    assert caught.value.code == "request_stale"


def test_an_approval_under_other_rules_releases_nothing(
    author: User, operator: User, model: RegisteredModel
) -> None:
    version = create_version(model=model)
    create_approval(version=version)

    policies.change_policy(model, {"gates": [{"p95_ms": 5}]}, actor=author)

    with pytest.raises(Refused) as caught:
        releases.release(model, version=version, reason="it was approved", actor=operator)
    assert caught.value.code == "not_approved"


def test_what_decides_nothing_leaves_requests_alone(author: User, model: RegisteredModel) -> None:
    request = create_request(version=create_version(model=model))

    policies.change_policy(model, {"owners_see_inputs": True, "request_days": 2}, actor=author)

    request.refresh_from_db()
    assert request.state == ReleaseRequest.State.WAITING


def test_a_request_ends_when_the_policy_says(author: User, model: RegisteredModel) -> None:
    policies.change_policy(model, {"request_days": 2}, actor=author)

    request = approvals.ask(create_version(model=model), reason="retrained", actor=author)

    assert (request.expires_at - request.requested_at).days in (1, 2)


def test_only_approvers_of_the_named_teams_decide(
    author: User, approver: User, model: RegisteredModel
) -> None:
    team = Group.objects.create(name="Risk")
    policies.change_policy(model, {"approver_groups": ["Risk"]}, actor=author)
    request = create_request(version=create_version(model=model, uploaded_by=author))

    with pytest.raises(Forbidden) as caught:
        approvals.approve(request, actor=approver)
    assert (caught.value.code, "Risk" in str(caught.value)) == ("not_in_team", True)
    assert list(approvals.approvers_of(request.version, asked_by=author)) == []

    approver.groups.add(team)
    assert list(approvals.approvers_of(request.version, asked_by=author)) == [approver]
    approvals.approve(request, actor=approver)
    assert request.state == ReleaseRequest.State.APPROVED


def test_being_in_the_team_without_the_role_is_not_enough(author: User, model: RegisteredModel) -> None:
    team = Group.objects.create(name="Risk")
    policies.change_policy(model, {"approver_groups": ["Risk"]}, actor=author)
    member = create_user(roles=[Role.OPERATOR])
    member.groups.add(team)
    request = create_request(version=create_version(model=model))

    with pytest.raises(Forbidden) as caught:
        approvals.approve(request, actor=member)
    assert caught.value.code == "needs_approver"
