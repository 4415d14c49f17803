"""A second factor: set up, asked for at every door, lost, and taken away, all on the record."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from registry import audit
from registry.actions import people
from registry.models import AuditEvent, Role, User
from tests.api import Program, create_key
from tests.factories import create_user

pytestmark = pytest.mark.django_db(transaction=True)  # allauth tells of a change once it is committed
PASSWORD = "a long enough phrase"
HERE = "/accounts/second-factor/"


@pytest.fixture
def dana(db: None) -> User:
    return create_user(email="dana@example.com", password=PASSWORD, roles=[Role.APPROVER])


def sign_in(client: Client, onwards: str = "") -> str:
    """Where the password leads to."""
    given = {"login": "dana@example.com", "password": PASSWORD} | ({"next": onwards} if onwards else {})
    return client.post("/accounts/login/", given)["Location"]


def code_of(secret: str, steps: int = 0) -> str:
    """What an authenticator app shows now, or so many times 30 seconds later."""
    return format_hotp_value(hotp_value(secret, int(timezone.now().timestamp()) // 30 + steps))


def set_up(client: Client) -> str:
    """The secret that the page gives to the app; the person has confirmed with their password."""
    client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": HERE})
    page = client.get(f"{HERE}totp/activate/")
    secret = re.search(r'id="secret">([A-Z2-7]+)<', page.content.decode())[1]
    assert client.post(f"{HERE}totp/activate/", {"code": code_of(secret)}).status_code == 302
    return secret


def codes_on(client: Client) -> list[str]:
    return client.get(f"{HERE}recovery-codes/download/").content.decode().split()


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def acts() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.order_by("seq").values_list("action", "result"))


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Time that stands still until it is moved: a code holds for 30 seconds, and works once."""
    with time_machine.travel("2026-11-20T10:00:05Z", tick=False) as traveller:
        yield traveller


def test_a_code_is_asked_for_after_the_password(dana, client, clock):
    sign_in(client)
    secret = set_up(client)
    client.post("/accounts/logout/")

    assert sign_in(client) == f"{HERE}authenticate/"
    assert not is_in(client)
    wrong = client.post(f"{HERE}authenticate/", {"code": code_of(secret, 7)})
    assert wrong.status_code == 200
    assert "Incorrect code" in wrong.content.decode()
    assert not is_in(client)
    clock.shift(30)
    assert client.post(f"{HERE}authenticate/", {"code": code_of(secret)}).status_code == 302
    assert is_in(client)

    assert acts() == [
        ("user.logged_in", "done"),
        ("user.second_factor_added", "done"),
        ("user.recovery_codes_made", "done"),
        ("user.logged_out", "done"),
        ("user.second_factor_failed", "refused"),
        ("user.logged_in", "done"),
    ]
    failed = AuditEvent.objects.get(result="refused")
    assert (failed.actor_name, failed.target_id) == (str(dana), str(dana.pk))
    assert audit.verify().ok


def test_a_code_works_once(dana, client, clock):
    sign_in(client)
    secret = set_up(client)
    clock.shift(30)
    for is_first in (True, False):
        client.post("/accounts/logout/")
        sign_in(client)
        client.post(f"{HERE}authenticate/", {"code": code_of(secret)})
        assert is_in(client) == is_first


def test_a_recovery_code_works_once(dana, client, clock):
    sign_in(client)
    set_up(client)
    codes = codes_on(client)
    assert len(set(codes)) == 10

    for is_first in (True, False):
        client.post("/accounts/logout/")
        sign_in(client)
        client.post(f"{HERE}authenticate/", {"code": codes[3]})
        assert is_in(client) == is_first

    used = AuditEvent.objects.get(action="user.recovery_code_used")
    assert used.details == {"left": 9}
    assert ("user.second_factor_failed", "refused") in acts()
    assert audit.verify().ok


def test_it_is_removed_with_a_code_and_not_with_the_password_alone(dana, client, clock):
    sign_in(client)
    secret = set_up(client)
    client.post("/accounts/logout/")
    clock.shift(30)
    sign_in(client)
    client.post(f"{HERE}authenticate/", {"code": code_of(secret)})

    asked = client.get(f"{HERE}totp/deactivate/")
    assert asked["Location"].startswith(f"{HERE}reauthenticate/")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    client.post(f"{HERE}totp/deactivate/")
    assert people.has_second_factor(dana)

    clock.shift(30)
    client.post(f"{HERE}reauthenticate/", {"code": code_of(secret)})
    assert client.post(f"{HERE}totp/deactivate/")["Location"] == HERE
    assert not people.has_second_factor(dana)
    client.post("/accounts/logout/")
    sign_in(client)
    assert is_in(client)
    assert acts()[-4:] == [
        ("user.second_factor_removed", "done"),
        ("user.recovery_codes_ended", "done"),
        ("user.logged_out", "done"),
        ("user.logged_in", "done"),
    ]
    assert audit.verify().ok


def test_new_recovery_codes_end_the_old_ones(dana, client, clock):
    sign_in(client)
    set_up(client)
    before = codes_on(client)

    client.post(f"{HERE}recovery-codes/generate/")

    after = codes_on(client)
    assert set(before).isdisjoint(after)
    assert acts()[-1] == ("user.recovery_codes_made", "done")
    page = client.get(f"{HERE}recovery-codes/").content.decode()
    assert all(code in page for code in after)


def test_the_admin_site_asks_for_it_too(dana, client, clock):
    sign_in(client)
    set_up(client)
    client.post("/accounts/logout/")

    assert client.get("/admin/login/")["Location"].startswith("/accounts/login/")
    direct = client.post("/admin/login/", {"username": "dana@example.com", "password": PASSWORD})
    assert direct["Location"].startswith("/accounts/login/")
    assert sign_in(client, "/admin/").startswith(f"{HERE}authenticate/")
    assert client.get("/admin/").status_code == 302
    assert not is_in(client)


def test_a_one_time_link_asks_for_it_too(dana, client, clock):
    sign_in(client)
    set_up(client)
    dana.refresh_from_db()
    stranger = Client()

    form = stranger.get(people.one_time_link(dana, actor=people.SYSTEM), follow=True)
    answer = stranger.post(
        form.redirect_chain[-1][0], {"password1": "another long phrase", "password2": "another long phrase"}
    )

    assert answer["Location"].startswith(f"{HERE}authenticate/")
    assert not is_in(stranger)


def test_keys_of_programs_are_not_affected(dana, client, clock):
    sign_in(client)
    set_up(client)
    create_key(dana, "read", secret="mg_hers")

    assert Program("mg_hers").get("/models/").status_code == 200


def test_secrets_lie_encrypted_in_the_database(dana, client, clock, settings):
    sign_in(client)
    secret = set_up(client)
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert not any(code in stored for code in codes_on(client))
    assert secret not in str(list(AuditEvent.objects.values_list("details", "after")))

    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key that is long enough for anybody"
    assert Authenticator.objects.get(type="totp").wrap().validate_code(code_of(secret, 0))

    settings.SECRET_KEY_FALLBACKS = []
    sign_in(other := Client())
    lost = other.post(f"{HERE}authenticate/", {"code": code_of(secret)})
    assert lost.status_code == 409
    assert "Ask an administrator" in lost.content.decode()
    assert not is_in(other)


def test_an_administrator_removes_what_somebody_lost(dana, client, clock, administrator):
    sign_in(client)
    set_up(client)
    office = Client()
    office.force_login(administrator)
    assert "Remove second factor" in office.get(f"/people/{dana.pk}/").content.decode()

    office.post(f"/people/{dana.pk}/second-factor/remove/")

    event = AuditEvent.objects.filter(action="user.second_factor_removed").get()
    assert (event.actor_name, event.target_id) == (str(administrator), str(dana.pk))
    assert "Remove second factor" not in office.get(f"/people/{dana.pk}/").content.decode()
    sign_in(again := Client())
    assert is_in(again)
    office.post(f"/people/{dana.pk}/second-factor/remove/")
    office.post(f"/people/{administrator.pk}/second-factor/remove/")
    codes = [event.details["code"] for event in AuditEvent.objects.filter(result="refused").order_by("seq")]
    assert codes == ["no_second_factor", "own_second_factor"]


@pytest.fixture
def office(db: None) -> Client:
    """The browser of an administrator who signed in with a password."""
    create_user(email="asta@example.com", password=PASSWORD, roles=[Role.ADMIN])
    client = Client()
    client.post("/accounts/login/", {"login": "asta@example.com", "password": PASSWORD})
    return client


def confirm(client: Client, where: str, **given: str) -> Any:
    """What the page asks that an act was sent to first."""
    assert where.startswith(("/accounts/reauthenticate/?", f"{HERE}reauthenticate/?"))
    path, query = where.split("?next=")
    return client.post(path, {"next": unquote(query), **given})


def test_an_administrator_confirms_with_the_password_before_a_second_factor_is_removed(
    dana, client, clock, office
):
    sign_in(client)
    set_up(client)
    url = f"/people/{dana.pk}/second-factor/remove/"

    asked = office.post(url)
    assert people.has_second_factor(dana)
    wrong = confirm(office, asked["Location"], password="not the phrase")
    assert (wrong.status_code, people.has_second_factor(dana)) == (200, True)

    done = confirm(office, asked["Location"], password=PASSWORD)

    assert (done.status_code, done["Location"]) == (302, f"/people/{dana.pk}/")
    assert not people.has_second_factor(dana)
    event = AuditEvent.objects.get(action="user.second_factor_removed")
    assert (event.actor_name, event.result) == ("asta@example.com", "done")


def test_an_administrator_confirms_before_a_link_is_made_for_another_and_not_again_at_once(
    dana, office, clock
):
    url = f"/people/{dana.pk}/link/"
    asked = office.post(url)
    assert not AuditEvent.objects.filter(action="user.link_issued").exists()

    page = confirm(office, asked["Location"], password=PASSWORD)

    assert page.status_code == 201
    assert 'id="link">http://testserver/accounts/password/reset/key/' in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert office.post(url).status_code == 201
    clock.shift(timedelta(minutes=6))
    assert office.post(url).status_code == 302


def test_an_administrator_with_a_second_factor_confirms_with_a_code(dana, office, clock):
    office.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": HERE})
    secret = set_up(office)
    clock.shift(timedelta(minutes=6))

    asked = office.post(f"/people/{dana.pk}/link/")

    assert asked["Location"].startswith(f"{HERE}reauthenticate/")
    assert confirm(office, asked["Location"], code=code_of(secret)).status_code == 201


def test_who_may_not_is_refused_without_being_asked(dana, client):
    other = create_user(email="elin@example.com")
    sign_in(client)

    assert client.post(f"/people/{other.pk}/link/").status_code == 403
    assert ("user.link_issued", "refused") in acts()


def test_a_command_lets_the_last_administrator_in_again(dana, client, clock, capsys):
    sign_in(client)
    set_up(client)

    call_command("signin", dana.email, "--remove-second-factor")

    assert "/accounts/password/reset/key/" in capsys.readouterr().out
    assert not people.has_second_factor(dana)


@pytest.mark.parametrize("page", ["", "totp/activate/", "recovery-codes/", "recovery-codes/generate/"])
def test_its_pages_keep_the_strict_policy(dana, client, clock, page):
    sign_in(client)
    if page != "totp/activate/":
        set_up(client)
    else:
        client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": HERE})

    answer = client.get(f"{HERE}{page}")

    html = answer.content.decode()
    assert answer.status_code == 200
    assert "img-src 'self' data:" in answer["Content-Security-Policy"]
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*src=)|\son[a-z]+=\"", html)
    assert len(re.findall(r"<h1[\s>]", html)) == 1
    assert ("data:image/svg+xml;base64," in html) == (page == "totp/activate/")
