"""Signing in: by invitation, by e-mail, and on the record."""

import pytest
from django.test import Client

from registry.actions import people
from registry.models import AuditEvent, Role, User
from tests.factories import create_user

pytestmark = pytest.mark.django_db
SECRET = "a long enough phrase"


def test_a_one_time_link_sets_a_password_signs_in_and_works_once(client: Client) -> None:
    user = people.invite(email="Dana@Example.com", name="Dana", roles=[Role.AUTHOR], actor=people.SYSTEM)
    link = people.one_time_link(user, actor=people.SYSTEM)

    form = client.get(link, follow=True)
    page = form.redirect_chain[-1][0]
    answer = client.post(page, {"password1": SECRET, "password2": SECRET})

    assert answer.status_code == 302
    assert client.session["_auth_user_id"] == str(user.pk)
    user.refresh_from_db()
    assert user.email == "dana@example.com"
    assert user.check_password(SECRET)
    assert AuditEvent.objects.filter(action="user.password_set").exists()
    stale = Client().get(link, follow=True)
    assert b"password1" not in stale.content


def test_signing_up_is_closed(client: Client) -> None:
    answer = client.post(
        "/accounts/signup/", {"email": "x@example.com", "password1": SECRET, "password2": SECRET}
    )

    assert not User.objects.exists()
    assert answer.status_code == 200


def test_a_failed_login_is_on_the_record(client: Client) -> None:
    create_user(email="dana@example.com", password=SECRET)

    client.post("/accounts/login/", {"login": "dana@example.com", "password": "a bad guess"})

    event = AuditEvent.objects.get()
    assert (event.action, event.result, event.actor_name) == (
        "user.login_failed",
        "refused",
        "dana@example.com",
    )
    assert "a bad guess" not in str(event.details)


def test_login_and_logout_are_on_the_record(client: Client) -> None:
    create_user(email="dana@example.com", password=SECRET, roles=[Role.BUSINESS])

    client.post("/accounts/login/", {"login": "dana@example.com", "password": SECRET})
    client.post("/accounts/logout/")

    actions = list(AuditEvent.objects.order_by("seq").values_list("action", "channel", "ip"))
    assert actions == [("user.logged_in", "page", "127.0.0.1"), ("user.logged_out", "page", "127.0.0.1")]


def test_an_email_is_the_same_in_any_case(client: Client) -> None:
    create_user(email="dana@example.com", password=SECRET)

    answer = client.post("/accounts/login/", {"login": "DANA@example.com", "password": SECRET})

    assert answer.status_code == 302


def test_a_closed_account_cannot_sign_in(client: Client) -> None:
    user = create_user(email="dana@example.com", password=SECRET, roles=[Role.BUSINESS])
    people.set_active(user, False, actor=people.SYSTEM)

    client.post("/accounts/login/", {"login": "dana@example.com", "password": SECRET})

    assert "_auth_user_id" not in client.session


def test_a_stranger_is_sent_to_the_login_page(client: Client) -> None:
    answer = client.get("/models/?q=1")

    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=/models/%3Fq%3D1"
