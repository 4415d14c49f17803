"""The start page: what needs a person, and what is new."""

import pytest
from django.urls import reverse

from inference.models import BatchJob
from portal.demo import progress
from portal.views import needs
from registry.models import ModelVersion
from tests import factories


def texts(found):
    return " | ".join(need.text for need in found)


def needs_of(user):
    found, failed = needs.needs_of(user)
    assert failed == []
    return texts(found)


def test_it_shows_an_approver_what_waits(approver, client):
    request = factories.create_request()
    client.force_login(approver)

    page = client.get("/")

    assert request.get_absolute_url() in page.content.decode()


def test_it_does_not_show_an_approver_their_own_request(author):
    author.grants.create(role="approver")
    version = factories.create_version(uploaded_by=author)
    factories.create_request(version=version)

    assert "asks to serve" not in needs_of(author)


def test_it_shows_an_author_failed_checks_drafts_and_what_to_ask_for(author):
    model = factories.create_model(owners=[author], name="Loans")
    for state in ("draft", "checks_failed", "checked"):
        factories.create_version(model=model, uploaded_by=author, state=state)

    said = needs_of(author)

    assert "Loans v1 is a draft" in said
    assert "The checks of Loans v2 failed" in said
    assert "Loans v3 is checked" in said


def test_it_shows_an_operator_what_is_approved(operator):
    factories.create_approval(version=factories.create_version(model=factories.create_model(name="Loans")))

    assert "Loans v1 is approved" in needs_of(operator)


def test_it_says_that_nothing_waits(business, client):
    client.force_login(business)

    assert "Nothing needs you" in client.get("/").content.decode()


def test_a_part_that_fails_fails_alone(business, client, monkeypatch):
    def broken(user):
        raise RuntimeError

    monkeypatch.setattr(needs, "_keys", broken)
    client.force_login(business)

    page = client.get("/")

    assert page.status_code == 200
    assert "Could not load keys" in page.content.decode()


def test_a_person_without_a_role_is_told_so(stranger, client):
    client.force_login(stranger)

    assert "You have no role yet" in client.get("/").content.decode()


def test_it_hides_models_that_are_not_shared(business, client):
    group = factories.create_model(name="Hidden").groups.create(name="Others")
    factories.create_model(name="Open")
    client.force_login(business)

    html = client.get("/").content.decode()

    assert "Open" in html
    assert "Hidden" not in html
    assert group.name not in html


def test_the_demo_tells_how_far_it_is(business, client):
    progress.write(state="running", step="Training v2", done=3, total=12)
    client.force_login(business)

    html = client.get(reverse("demo-progress")).content.decode()

    assert "Training v2" in html
    assert "every 2s" in html


def test_the_demo_stops_asking_when_it_is_done(business, client):
    progress.write(state="done", done=12, total=12)
    client.force_login(business)

    assert "hx-get" not in client.get(reverse("demo-progress")).content.decode()


@pytest.mark.parametrize(
    ("role", "has", "has_not"),
    [
        ("business", ["My history", "Models"], ["Upload a version", "Users and roles", "Admin site"]),
        ("author", ["Upload a version", "Approvals"], ["Users and roles", "Admin site"]),
        ("approver", ["Approvals", "Admin site"], ["Upload a version", "Users and roles"]),
        ("auditor", ["Audit log", "Users and roles"], ["Upload a version", "My history"]),
        ("admin", ["Users and roles", "Admin site"], ["Upload a version"]),
    ],
)
def test_navigation_shows_what_a_role_has(db, client, role, has, has_not):
    client.force_login(factories.create_user(roles=[role]))

    html = client.get(reverse("help")).content.decode()
    navigation = html[html.index('id="sidebar"') : html.index("</aside>")]

    assert all(f"<span>{title}</span>" in navigation for title in has)
    assert not any(f"<span>{title}</span>" in navigation for title in has_not)


def test_a_failed_job_of_mine_needs_me(business):
    version = factories.create_version()
    BatchJob.objects.create(
        model=version.model, version=version, environment="production", filename="loans.csv", sha256="0" * 64,
        size=1, state="failed", error="The worker was lost three times.", created_by=business,
    )  # fmt: skip

    assert "loans.csv could not be scored" in needs_of(business)
    assert ModelVersion.objects.count() == 1


def test_a_fragment_asked_for_after_the_session_ended_reloads_the_page(db, client):
    response = client.get(reverse("demo-progress"), headers={"HX-Request": "true"})

    assert (response.status_code, response["HX-Refresh"]) == (204, "true")
