"""Invitations and roles."""

import pytest

from registry.actions import keys, people
from registry.errors import Forbidden, Invalid, Refused
from registry.models import ApiKey, AuditEvent, Role, User
from tests.factories import create_model, create_user


def test_inviting_gives_an_account_without_a_password(administrator: User) -> None:
    user = people.invite(email="new@example.com", roles=["author", "business"], actor=administrator)

    assert user.roles == {"author", "business"}
    assert not user.has_usable_password()
    assert [event.action for event in AuditEvent.objects.order_by("seq")] == [
        "user.invited",
        "user.role_granted",
        "user.role_granted",
    ]


@pytest.mark.parametrize("role", [role for role in Role if role != Role.ADMIN])
def test_only_administrators_invite(db: None, role: Role) -> None:
    with pytest.raises(Forbidden):
        people.invite(email="new@example.com", actor=create_user(roles=[role], is_superuser=True))
    assert not User.objects.filter(email="new@example.com").exists()


def test_an_address_is_used_once(administrator: User) -> None:
    people.invite(email="new@example.com", actor=administrator)
    with pytest.raises(Refused) as caught:
        people.invite(email="NEW@example.com", actor=administrator)
    assert caught.value.code == "email_in_use"


def test_a_bad_address_or_role_leaves_nothing(administrator: User) -> None:
    for email, roles in (("nonsense", []), ("new@example.com", ["king"])):
        with pytest.raises(Invalid):
            people.invite(email=email, roles=roles, actor=administrator)
    assert User.objects.count() == 1
    assert not AuditEvent.objects.exists()


def test_the_last_administrator_stays(administrator: User) -> None:
    for act in (
        lambda: people.set_roles(administrator, ["author"], actor=administrator),
        lambda: people.set_active(administrator, False, actor=administrator),
    ):
        with pytest.raises(Refused) as caught:
            act()
        assert caught.value.code == "last_administrator"


def test_only_approvers_and_administrators_are_staff(administrator: User) -> None:
    user = people.invite(email="new@example.com", roles=["approver"], actor=administrator)
    assert user.is_staff
    people.set_roles(user, ["business"], actor=administrator)
    assert not user.is_staff


def test_a_key_shows_its_secret_once_and_keeps_only_the_hash(author: User) -> None:
    key, secret = keys.create_key(owner=author, name="ci", actions=["upload"], actor=author)

    assert secret.startswith("mg_")
    assert secret not in str(ApiKey.objects.values().get())
    assert ApiKey.objects.usable().with_secret(secret).get() == key
    assert secret not in str(list(AuditEvent.objects.values()))


def test_a_key_never_does_more_than_its_owner(author: User) -> None:
    with pytest.raises(Invalid) as caught:
        keys.create_key(owner=author, name="x", actions=["upload", "approve"], actor=author)
    assert caught.value.code == "action_not_allowed"


def test_a_service_account_never_approves(administrator: User) -> None:
    robot = create_user(roles=[Role.APPROVER], is_service=True)
    with pytest.raises(Invalid):
        keys.create_key(owner=robot, name="x", actions=["approve"], actor=administrator)


def test_nobody_makes_keys_for_somebody_else(author: User, approver: User) -> None:
    with pytest.raises(Forbidden):
        keys.create_key(owner=approver, name="x", actions=["approve"], actor=author)


def test_revoking_and_rotating(author: User) -> None:
    key, secret = keys.create_key(
        owner=author, name="ci", actions=["upload"], models=[create_model()], actor=author
    )
    fresh, other = keys.rotate_key(key, keep_hours=1, actor=author)
    assert ApiKey.objects.usable().with_secret(secret).exists()
    assert (fresh.actions, fresh.only_models.count()) == (["upload"], 1)

    keys.revoke_key(fresh, actor=author)
    assert not ApiKey.objects.usable().with_secret(other).exists()


def test_an_administrator_gets_no_key_in_another_persons_name(administrator: User, approver: User) -> None:
    key, _secret = keys.create_key(owner=approver, name="ci", actions=["approve"], actor=approver)

    with pytest.raises(Forbidden):
        keys.create_key(owner=approver, name="x", actions=["approve"], actor=administrator)
    with pytest.raises(Forbidden):
        keys.rotate_key(key, actor=administrator)
    assert ApiKey.objects.get() == key

    keys.revoke_key(key, actor=administrator)
    assert not ApiKey.objects.usable().exists()
