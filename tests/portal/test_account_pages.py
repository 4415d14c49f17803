"""Keys that are shown once, people who come by invitation."""

import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from portal.views import home
from registry.models import ApiKey, AuditEvent, User
from tests import factories


def test_a_key_is_shown_once(business, client):
    client.force_login(business)

    response = client.post(
        reverse("key-create"), {"name": "nightly", "owner": business.pk, "actions": ["predict"], "days": 90}
    )

    secret = re.search(r'id="secret">(mg_[^<]+)<', response.content.decode()).group(1)
    assert ApiKey.objects.with_secret(secret).get().name == "nightly"
    assert "no-store" in response["Cache-Control"]
    assert secret not in client.get(reverse("key-list")).content.decode()


def first_call(client, owner, *actions):
    """The line that the page of a new key shows, the address it calls, and the key's secret."""
    form = {"name": "n", "owner": owner.pk, "actions": actions, "days": 30}
    html = unescape(client.post(reverse("key-create"), form).content.decode())
    text = re.search(r'id="first-call">export MODELGATE_KEY=mg_\S+\n(.+?)</pre>', html, re.DOTALL)
    secret = re.search(r'id="secret">(mg_[^<]+)<', html).group(1)
    address = re.search(r"http://testserver(/[^\s']+)", text.group(1)) if text else None
    return html, text and text.group(1), address and address.group(1), secret


@pytest.mark.parametrize("action", ["read", "batch", "monitor"])
def test_the_first_call_that_is_shown_with_a_key_is_one_that_it_may_make(action, business, client):
    factories.create_release()
    client.force_login(business)

    _html, _text, address, secret = first_call(client, business, action)

    assert Client().get(address, headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_the_first_call_of_a_key_that_only_predicts_asks_a_model_that_answers_with_its_example(
    business, client
):
    factories.create_model(slug="a-first", name="A first one that does not serve")
    version = factories.create_version()
    version.schema = {**version.schema, "examples": [{"name": "typical", "inputs": {"age": 30}}]}
    version.save(update_fields=["schema"])
    factories.create_release(version=version)
    client.force_login(business)

    html, text, address, _secret = first_call(client, business, "predict")

    assert address == f"/api/v1/models/{version.model.slug}/predict/"
    assert '{"inputs": {"age": 30}}' in text
    assert "until one does" not in html


def test_the_first_call_of_a_key_says_when_its_only_model_does_not_answer_yet(business, client):
    version = factories.create_version()
    client.force_login(business)

    html, _text, address, _secret = first_call(client, business, "predict")

    assert address == f"/api/v1/models/{version.model.slug}/predict/"
    assert "until one does, the answer is 503" in html


def test_a_key_that_may_neither_ask_nor_look_is_shown_without_a_call(operator, client):
    factories.create_release()
    client.force_login(operator)

    _html, text, _address, _secret = first_call(client, operator, "rollback")

    assert text is None


def test_a_key_does_no_more_than_its_owner(business, client):
    client.force_login(business)

    html = client.post(
        reverse("key-create"), {"name": "x", "owner": business.pk, "actions": ["release"], "days": 90}
    ).content.decode()

    assert not ApiKey.objects.exists()
    assert "thing to fix" in html


def test_an_integrator_makes_a_key_for_a_service_account(integrator, client):
    service = factories.create_user(roles=["business"], is_service=True, name="Nightly")
    client.force_login(integrator)

    client.post(reverse("key-create"), {"name": "n", "owner": service.pk, "actions": ["predict"], "days": 30})

    assert ApiKey.objects.get().user == service


def test_a_key_is_revoked_at_once(business, client):
    client.force_login(business)
    client.post(reverse("key-create"), {"name": "n", "owner": business.pk, "actions": ["read"], "days": 30})
    key = ApiKey.objects.get()

    client.post(reverse("key-revoke", args=[key.pk]))

    assert not ApiKey.objects.usable().exists()


def test_a_rotated_key_is_shown_once_and_the_old_one_ends(business, client):
    client.force_login(business)
    client.post(reverse("key-create"), {"name": "n", "owner": business.pk, "actions": ["read"], "days": 30})
    key = ApiKey.objects.get()

    response = client.post(reverse("key-rotate", args=[key.pk]), {"keep_hours": "0"})

    assert 'id="secret">mg_' in response.content.decode()
    key.refresh_from_db()
    assert key.state == "revoked"


def test_somebody_elses_key_is_not_found(business, author, client):
    client.force_login(business)
    client.post(reverse("key-create"), {"name": "n", "owner": business.pk, "actions": ["read"], "days": 30})
    client.force_login(author)

    assert client.post(reverse("key-revoke", args=[ApiKey.objects.get().pk])).status_code == 404


def test_an_administrator_invites_by_a_link_that_lets_in_once(administrator, client):
    client.force_login(administrator)
    response = client.post(
        reverse("person-invite"), {"email": "New@example.com", "name": "N", "roles": ["business"]}
    )
    link = re.search(r'id="link">http://testserver([^<]+)<', response.content.decode()).group(1)
    client.logout()

    page = client.get(link, follow=True)
    client.post(
        page.redirect_chain[-1][0], {"password1": "a-long-password-9", "password2": "a-long-password-9"}
    )

    user = User.objects.get(email="new@example.com")
    assert user.check_password("a-long-password-9")
    assert user.roles == {"business"}
    client.logout()
    assert b"no longer works" in client.get(link, follow=True).content


def test_only_an_administrator_invites(auditor, client):
    client.force_login(auditor)

    assert client.get(reverse("person-invite")).status_code == 403
    assert client.get(reverse("people")).status_code == 200


def test_roles_are_given_and_taken(administrator, business, client):
    client.force_login(administrator)

    client.post(reverse("person", args=[business.pk]), {"roles": ["operator"]})

    assert set(business.grants.values_list("role", flat=True)) == {"operator"}
    assert AuditEvent.objects.filter(action__in=["user.role_granted", "user.role_revoked"]).count() == 2


def test_teams_are_made_and_left(administrator, business, client):
    client.force_login(administrator)
    url = reverse("person", args=[business.pk])

    client.post(url, {"roles": ["business"], "groups": "Lending, North"})
    assert sorted(business.groups.values_list("name", flat=True)) == ["Lending", "North"]

    client.post(url, {"roles": ["business"], "groups": "North"})
    assert list(business.groups.values_list("name", flat=True)) == ["North"]
    assert AuditEvent.objects.filter(action="user.groups_changed").count() == 2


def test_the_last_administrator_stays(administrator, client):
    client.force_login(administrator)

    html = client.post(reverse("person", args=[administrator.pk]), {"roles": []}).content.decode()

    assert "is the last administrator" in html
    assert administrator.grants.filter(role="admin").exists()


def test_a_closed_account_is_out_at_once(administrator, business, client):
    other = type(client)()
    other.force_login(business)
    client.force_login(administrator)

    client.post(reverse("person-active", args=[business.pk]), {"active": "no"})

    assert other.get("/").status_code == 302


@pytest.mark.parametrize("name", ["account_login", "account_reset_password"])
def test_pages_before_sign_in_are_ours(db, client, name):
    html = client.get(reverse(name)).content.decode()

    assert "plain-card" in html


def test_there_is_no_open_sign_up(db, client):
    response = client.get("/accounts/signup/")

    assert response.status_code in (200, 302, 404)
    assert b"password1" not in response.content


@pytest.mark.parametrize(("path", "status"), [("/nothing-here/", 404), ("/models/nothing/", 404)])
def test_an_error_page_says_what_to_do_and_quotes_the_request(business, client, path, status):
    client.force_login(business)

    response = client.get(path)

    assert response.status_code == status
    assert response["X-Request-ID"] in response.content.decode()
    assert "Go to the start page" in response.content.decode()


def test_an_error_of_ours_shows_no_trace(business, client, monkeypatch):

    monkeypatch.setattr(home, "needs_of", lambda user: 1 / 0)
    client.force_login(business)
    client.raise_request_exception = False

    response = client.get("/")

    assert response.status_code == 500
    assert "ZeroDivision" not in response.content.decode()
    assert response["X-Request-ID"] in response.content.decode()
