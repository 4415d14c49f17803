"""Deciding on the portal's page and in the admin site: the same panel, the same verb, the same refusals."""

import pytest
from django.urls import reverse

from registry.models import AuditEvent, Decision, Role
from tests import factories


def admin_url(request):
    return reverse("admin:registry_releaserequest_change", args=[request.pk])


def portal_url(request):
    return request.get_absolute_url()


both = pytest.mark.parametrize("place", [portal_url, admin_url], ids=["portal", "admin"])


@both
def test_it_approves(approver, client, place):
    request = factories.create_request()
    client.force_login(approver)

    response = client.post(place(request), {"verdict": "approve", "comment": ""})

    request.refresh_from_db()
    assert (response.status_code, request.state) == (302, "approved")
    event = AuditEvent.objects.get(action="request.approved")
    assert event.channel == ("page" if place is portal_url else "admin")


@both
@pytest.mark.parametrize(("verdict", "state"), [("reject", "rejected"), ("ask_changes", "changes_asked")])
def test_a_no_needs_a_comment(approver, client, place, verdict, state):
    request = factories.create_request()
    client.force_login(approver)

    refused = client.post(place(request), {"verdict": verdict, "comment": " "})
    assert refused.status_code == 422
    assert b"Say why" in refused.content
    assert not Decision.objects.exists()

    client.post(place(request), {"verdict": verdict, "comment": "Too few rows from the north."})
    request.refresh_from_db()
    assert request.state == state


@both
@pytest.mark.parametrize("superuser", [False, True])
def test_the_one_who_asked_sees_a_sentence_and_cannot_decide(author, client, place, superuser):
    author.grants.create(role=Role.APPROVER)
    author.is_superuser = author.is_staff = superuser
    author.save()
    request = factories.create_request(version=factories.create_version(uploaded_by=author))
    client.force_login(author)

    page = client.get(place(request))
    assert b"You asked for this, so another approver must decide." in page.content
    assert b'value="approve"' not in page.content

    refused = client.post(place(request), {"verdict": "approve"})
    request.refresh_from_db()
    assert (refused.status_code, request.state) == (403, "waiting")
    assert AuditEvent.objects.get(action="request.approved").result == "refused"


def test_somebody_who_is_no_approver_sees_no_buttons_and_is_refused(operator, client):
    request = factories.create_request()
    client.force_login(operator)

    assert b'value="approve"' not in client.get(portal_url(request)).content
    client.post(portal_url(request), {"verdict": "approve"})

    request.refresh_from_db()
    assert request.state == "waiting"
    assert AuditEvent.objects.get(action="request.approved").result == "refused"


def test_the_second_approver_completes_a_risky_one(approver, second_approver, client):
    request = factories.create_request(
        version=factories.create_version(model=factories.create_model(risk="high"))
    )
    client.force_login(approver)
    client.post(portal_url(request), {"verdict": "approve"})

    assert b"Another approver is needed" in client.get(portal_url(request)).content
    client.force_login(second_approver)
    client.post(admin_url(request), {"verdict": "approve"})

    request.refresh_from_db()
    assert request.state == "approved"


def test_the_panel_compares_with_what_serves(approver, client):
    model = factories.create_model()
    old = factories.create_version(model=model, measured_metrics={"accuracy": 0.80})
    factories.create_release(version=old)
    schema = {**factories.SCHEMA, "fields": [*factories.SCHEMA["fields"], {"name": "region", "type": "text"}]}
    new = factories.create_version(model=model, measured_metrics={"accuracy": 0.85}, schema=schema)
    client.force_login(approver)

    html = client.get(portal_url(factories.create_request(version=new))).content.decode()

    assert "replacing v1" in html
    assert "better" in html
    assert "<strong>region</strong> is new" in html


def test_a_request_about_something_that_changed_turns_stale_when_it_is_opened(approver, client):
    request = factories.create_request()
    factories.create_release(version=factories.create_version(model=request.version.model))
    client.force_login(approver)

    html = client.get(portal_url(request)).content.decode()

    assert "It must be asked again." in html
    assert 'value="approve"' not in html
    assert "Stale." not in html, "the badge says so already"
    assert "Nothing: it would be the first" in html
    assert "Now: r1 (v2)" in html


def test_the_panel_says_in_words_what_the_decision_is_bound_to(approver, client):
    gates = [{"metric": "accuracy", "at_least": 0.8}]
    model = factories.create_model(name="Loan default", policy={"gates": gates, "request_days": 3})
    factories.create_release(version=factories.create_version(model=model))
    request = factories.create_request(version=factories.create_version(model=model))
    client.force_login(approver)

    page = client.get(portal_url(request))

    said = {line.name: line.value for line in page.context["bound"]}
    assert said == {
        "Version": "Loan default v2",
        "Its file": f"SHA-256 {request.version.sha256[:12]}…",
        "Environment": "Production",
        "Replaces": "r1 (v1)",
        "As they were": "Inputs and answer, packages, measured figures",
        "Rules": "Accuracy at least 0.8.",
    }
    assert not any(line.now for line in page.context["bound"])


def test_the_list_shows_what_waits_for_me_first(approver, client):
    request = factories.create_request()
    client.force_login(approver)

    page = client.get(reverse("approval-list"))

    assert page.context["for_me"] == [request]


def test_the_one_who_asked_takes_it_back(author, client):
    request = factories.create_request(version=factories.create_version(uploaded_by=author))
    client.force_login(author)

    client.post(reverse("approval-withdraw", args=[request.public_id]))

    request.refresh_from_db()
    assert request.state == "withdrawn"


# The admin site as a whole


@pytest.mark.parametrize("role", ["business", "author", "operator", "auditor", "integrator"])
def test_the_admin_site_is_closed_to_others_superuser_or_not(db, client, role):
    client.force_login(factories.create_user(roles=[role], is_staff=True, is_superuser=True))

    assert client.get("/admin/").status_code in (302, 403)
    assert client.get(reverse("admin:registry_auditevent_changelist")).status_code in (302, 403)


@pytest.mark.parametrize(
    "name", ["registeredmodel", "modelversion", "release", "auditevent", "dataset", "releaserequest", "user"]
)
def test_nothing_is_added_changed_or_deleted_in_the_admin_site(approver, client, name):
    approver.is_superuser = True
    approver.grants.create(role=Role.ADMIN)
    approver.save()
    factories.create_release()
    client.force_login(approver)

    assert client.get(reverse(f"admin:registry_{name}_changelist")).status_code == 200
    assert client.post(reverse(f"admin:registry_{name}_add"), {}).status_code == 403
    assert client.post(reverse(f"admin:registry_{name}_delete", args=[1]), {"post": "yes"}).status_code in (
        302,
        403,
    )
    assert b'name="action"' not in client.get(reverse(f"admin:registry_{name}_changelist")).content


def test_roles_change_in_the_admin_site_through_the_verb(administrator, business, client):
    client.force_login(administrator)

    client.post(
        reverse("admin:registry_user_change", args=[business.pk]), {"roles": ["business", "operator"]}
    )

    assert set(business.grants.values_list("role", flat=True)) == {"business", "operator"}
    assert AuditEvent.objects.get(action="user.role_granted").channel == "admin"


def test_an_approver_does_not_give_roles(approver, business, client):
    client.force_login(approver)

    refused = client.post(reverse("admin:registry_user_change", args=[business.pk]), {"roles": ["admin"]})

    assert set(business.grants.values_list("role", flat=True)) == {"business"}
    assert refused.status_code == 403
