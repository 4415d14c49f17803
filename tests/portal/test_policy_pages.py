"""A model's policy on its page: read by everybody who sees the model, changed by its owners and administrators."""

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from registry.models import AuditEvent
from tests import factories
from tests.api import program

FORM = {
    "request_days": "7",
    "extra_approval_for_pickle": "on",
    "accuracy_bound": "0.8",
    "accuracy_loss": "0.01",
    "log_loss_bound": "0.5",
    "p95_ms": "50",
    "slices": "city, age",
    "slice_metric": "accuracy",
    "max_loss": "0.03",
    "min_rows": "25",
}


@pytest.fixture
def model(author):
    return factories.create_model(slug="loans", owners=[author])


def url(model):
    return reverse("model-policy", args=[model.slug])


def test_an_owner_fills_in_the_form_and_it_is_one_policy(author, client, model):
    Group.objects.create(name="Risk")
    client.force_login(author)

    answer = client.post(url(model), {**FORM, "approver_groups": ["Risk"]})

    model.refresh_from_db()
    assert answer.status_code == 302
    assert model.policy == {
        "extra_approval_for_pickle": True,
        "request_days": 7,
        "approver_groups": ["Risk"],
        "gates": [
            {"metric": "accuracy", "at_least": 0.8, "not_worse_than_serving_by": 0.01},
            {"metric": "log_loss", "at_most": 0.5},
            {"p95_ms": 50.0},
            {"slices": ["city", "age"], "metric": "accuracy", "max_loss": 0.03, "min_rows": 25},
        ],
    }
    event = AuditEvent.objects.get(action="model.policy_changed")
    assert (event.channel, event.before) == ("page", {})


def test_the_form_shows_what_is_there_so_that_saving_it_changes_nothing(author, client, model):
    client.force_login(author)
    client.post(url(model), FORM)
    form = client.get(url(model)).context["form"]

    client.post(url(model), {field.html_name: field.value() for field in form if field.value() is not None})

    assert AuditEvent.objects.filter(action="model.policy_changed").count() == 1


def test_a_slip_is_shown_at_its_field(author, client, model):
    client.force_login(author)

    answer = client.post(url(model), {"slices": "city", "accuracy_bound": "much"})

    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"max_loss", "accuracy_bound"}
    model.refresh_from_db()
    assert model.policy == {}


def test_others_read_it_in_words_and_are_refused(business, client, model):
    model.policy = {"gates": [{"metric": "auc", "at_least": 0.8}]}
    model.save()
    client.force_login(business)

    html = client.get(url(model)).content.decode()
    assert "AUC at least 0.8." in html
    assert "Save the policy" not in html

    assert client.post(url(model), FORM).status_code == 403
    assert AuditEvent.objects.get(action="model.policy_changed").result == "refused"


def test_it_says_what_became_of_the_requests(author, client, model):
    factories.create_request(version=factories.create_version(model=model))
    client.force_login(author)

    html = client.post(url(model), FORM, follow=True).content.decode()

    assert "1 request was made under other rules and is stale now." in html


def test_it_says_when_there_are_too_few_approvers(author, approver, client, model):
    team = Group.objects.create(name="Risk")
    model.policy = {"approver_groups": ["Risk"]}
    model.save()
    version = factories.create_version(model=model, uploaded_by=author)
    client.force_login(author)

    assert "Only 0 approvers are in these teams" in client.get(url(model)).content.decode()
    asking = reverse("version-request", args=["loans", version.number])
    assert "1 approver is missing" in client.get(asking).content.decode()

    approver.groups.add(team)
    assert "are in these teams" not in client.get(url(model)).content.decode()
    assert approver.display_name in client.get(asking).content.decode()


def test_the_api_takes_and_tells_the_same_policy(author, model):
    caller = program(author)
    policy = {"gates": [{"metric": "auc", "at_least": 0.8}], "request_days": 3}

    assert caller.patch("/models/loans/", {"policy": policy}).status_code == 200

    assert caller.get("/models/loans/").json()["policy"] == policy
    refused = caller.patch("/models/loans/", {"policy": {"gates": [{"metric": "auc", "at_last": 1}]}})
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_policy")
