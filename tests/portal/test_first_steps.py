"""The first administrator: a link as long as nobody can get in without it, and never a password."""

import pytest

from portal import first_steps
from portal.launcher import CannotStart
from registry.models import Role, User

pytestmark = pytest.mark.django_db


def test_it_invites_an_administrator_without_a_password() -> None:
    administrator = first_steps.first_administrator("root@example.com")

    assert administrator
    assert administrator.user.roles == {Role.ADMIN}
    assert not administrator.user.has_usable_password()
    assert administrator.link("http://127.0.0.1:8000/").startswith(
        "http://127.0.0.1:8000/accounts/password/reset/key/"
    )


def test_the_same_one_is_offered_again_until_they_have_a_password() -> None:
    first = first_steps.first_administrator(None)
    again = first_steps.first_administrator("other@example.com")
    assert first
    assert again
    assert first.user == again.user

    first.user.set_password("a long enough one 7")
    first.user.save()

    assert first_steps.first_administrator(None) is None
    assert User.objects.count() == 1


def test_one_administrator_who_can_sign_in_is_enough() -> None:
    able = first_steps.first_administrator("able@example.com")
    assert able
    able.user.set_password("a long enough one 7")
    able.user.save()

    assert first_steps.first_administrator("second@example.com") is None


def test_it_refuses_what_is_no_address() -> None:
    with pytest.raises(CannotStart, match="nobody"):
        first_steps.first_administrator("nobody")


def test_demo_links_wait_for_all_of_its_people() -> None:
    assert first_steps.demo_links("http://127.0.0.1:8000/") == []
