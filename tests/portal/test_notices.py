"""Who is told what, once, in one sentence with one link."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inference.batches import finishing
from inference.models import BatchJob
from monitoring import incidents
from monitoring.models import Incident
from portal import notices, telling
from portal.models import Notice
from portal.notices import sentence
from registry.actions import approvals, keys, people, releases
from registry.models import ApiKey, RegisteredModel, Role, User
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return factories.create_model(slug="loans", owners=[author])


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Any:
    """What is told after commit is told when the block ends."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def told(user: User) -> list[str]:
    return [sentence(one.kind, one.names) for one in Notice.objects.of(user)]


def test_approvers_of_the_model_are_asked(
    author: User, approver: User, business: User, model: RegisteredModel, committed: Any
) -> None:
    with committed():
        request = approvals.ask(factories.create_version(model=model), reason="better", actor=author)

    assert told(approver) == ["author@example.com asks to serve loans v1 in production."]
    notice = Notice.objects.get(user=approver)
    assert (notice.url, notice.about) == (request.get_absolute_url(), request.public_id)
    assert told(business) == told(author) == []


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (approvals.approve, "loans v1 is approved for production."),
        (approvals.reject, "loans v1 was rejected for production."),
        (approvals.ask_changes, "An approver asks for changes to loans v1."),
    ],
)
def test_who_asked_hears_what_was_decided(
    verb: Any, words: str, author: User, approver: User, model: RegisteredModel, committed: Any
) -> None:
    request = factories.create_request(version=factories.create_version(model=model), requested_by=author)

    with committed():
        verb(request, comment="looked at it", actor=approver)

    assert told(author) == [words]


def test_one_of_two_approvals_decides_nothing_yet(author: User, approver: User, committed: Any) -> None:
    model = factories.create_model(owners=[author], risk="high")
    request = factories.create_request(version=factories.create_version(model=model), requested_by=author)

    with committed():
        approvals.approve(request, actor=approver)

    assert told(author) == []


def test_a_release_and_a_rollback_are_told_to_all_but_who_did_it(
    author: User, approver: User, operator: User, business: User, model: RegisteredModel, committed: Any
) -> None:
    factories.create_release(version=factories.create_version(model=model))
    second = factories.create_version(model=model)
    factories.create_approval(version=second)

    with committed():
        releases.release(model, version=second, reason="better", actor=operator)
        releases.roll_back(model, reason="more errors", actor=operator)

    for user in (author, approver):
        assert told(user) == [
            "operator@example.com rolled back to loans v1 in production.",
            "operator@example.com released loans v2 to production.",
        ]
    assert told(operator) == told(business) == []


def test_a_rollback_is_made_even_if_nobody_can_be_told(
    operator: User, author: User, model: RegisteredModel, committed: Any, monkeypatch: Any
) -> None:
    for _ in range(2):
        factories.create_release(version=factories.create_version(model=model))
    monkeypatch.setattr(telling, "tell", lambda *args, **kwargs: 1 / 0)

    with committed():
        made = releases.roll_back(model, reason="more errors", actor=operator)

    assert made.version.number == 1
    assert told(author) == []


def test_who_started_a_batch_hears_how_it_ended(
    business: User, model: RegisteredModel, committed: Any
) -> None:
    release = factories.create_release(version=factories.create_version(model=model))
    job = BatchJob.objects.create(
        model=model,
        version=release.version,
        release=release,
        environment="production",
        filename="loans.csv",
        sha256="0" * 64,
        size=1,
        state=BatchJob.State.RUNNING,
        created_by=business,
    )

    with committed():
        finishing.fail(job, "row 7 holds 123456")

    [words] = told(business)
    assert words == "loans.csv could not be scored."
    assert "123456" not in str(Notice.objects.get().names)


def test_an_incident_is_told_when_it_opens_and_when_it_ends(
    author: User, operator: User, approver: User, model: RegisteredModel, committed: Any
) -> None:
    version = factories.create_version(model=model)
    with committed():
        incidents.open_or_update(
            model, Incident.Kind.DRIFT, "age drifts", severity=Incident.Severity.WARNING, version=version
        )
    with committed():
        incidents.resolve_by_itself(model, Incident.Kind.DRIFT, "it is over")

    assert told(author) == told(operator) == ["Loans: Drift is resolved.", "Loans: Drift."]
    assert told(approver) == []


def key_that_ends_in(days: float, owner: User, lived: int = 90) -> ApiKey:
    key, _secret = keys.create_key(owner=owner, name="reports", actions=["predict"], actor=owner)
    ends = timezone.now() + timedelta(days=days)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=ends, created_at=ends - timedelta(days=lived))
    return key


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (15, []),
        (13.5, ["The key reports ends in 14 days."]),
        (2.5, ["The key reports ends in 3 days."]),
        (0.5, ["The key reports ends in 1 day."]),
        (-1, ["The key reports has ended."]),
        (-8, []),
    ],
)
def test_the_owner_of_a_key_hears_of_its_end_once(days: float, words: list[str], business: User) -> None:
    key_that_ends_in(days, business)

    notices.tick()
    notices.tick()

    assert told(business) == words


def test_a_key_made_for_a_week_ends_without_two_weeks_of_warning(business: User) -> None:
    key_that_ends_in(6, business, lived=7)

    notices.tick()

    assert told(business) == []


def test_the_end_of_a_programs_key_is_told_to_integrators(integrator: User) -> None:
    robot = factories.create_user(roles=[Role.BUSINESS], is_service=True)
    _key, _secret = keys.create_key(owner=robot, name="nightly", actions=["read"], actor=integrator)
    now = timezone.now()
    ApiKey.objects.update(created_at=now - timedelta(days=90), expires_at=now + timedelta(days=2))

    notices.tick()

    assert (told(integrator), told(robot)) == (["The key nightly ends in 2 days."], [])


def test_a_closed_account_is_told_nothing(approver: User, author: User, model: RegisteredModel) -> None:
    approver.is_active = False
    approver.save()

    notices.tell([approver], "key_ended", url="/", about="x", once="x", key="x")

    assert not Notice.objects.exists()


def notice(user: User, once: str = "1", **fields: Any) -> Notice:
    given = {"kind": "key_ended", "names": {"key": f"no. {once}"}, "url": "/keys/", "about": "mg_1"}
    return Notice.objects.create(user=user, once=once, **given | fields)


def test_the_bell_counts_what_is_not_read(business: User, client: Client) -> None:
    client.force_login(business)
    assert "notices that you have not read" not in client.get("/").content.decode()
    notice(business)
    notice(business, "2", read_at=timezone.now())

    assert client.get("/").context["unread_notices"] == "1"
    assert "notices that you have not read" in client.get("/").content.decode()


def test_the_page_shows_the_unread_first_and_only_my_own(
    business: User, author: User, client: Client
) -> None:
    notice(business, "1", read_at=timezone.now())
    old = notice(business, "2", at=timezone.now() - timedelta(days=3))
    notice(author, "3")
    client.force_login(business)

    rows = client.get(reverse("notices")).context["rows"]

    assert [(row[0].pk == old.pk, row[1]) for row in rows] == [
        (True, "The key no. 2 has ended."),
        (False, "The key no. 1 has ended."),
    ]


def test_opening_a_notice_reads_it_and_leads_to_what_it_is_about(business: User, client: Client) -> None:
    own = notice(business)
    client.force_login(business)

    answer = client.get(reverse("notice-open", args=[own.pk]))

    assert (answer.status_code, answer["Location"]) == (302, "/keys/")
    assert not Notice.objects.unread().exists()


def test_one_or_all_are_marked_as_read_and_nobody_elses(business: User, author: User, client: Client) -> None:
    first, _second, strange = notice(business, "1"), notice(business, "2"), notice(author, "3")
    client.force_login(business)

    client.post(reverse("notice-read"), {"notice": first.pk})
    assert Notice.objects.of(business).unread().count() == 1
    client.post(reverse("notice-read"), {"notice": strange.pk})
    client.post(reverse("notice-read"))

    assert list(Notice.objects.unread()) == [strange]


def test_what_was_read_a_month_ago_is_forgotten(business: User) -> None:
    long_ago = timezone.now() - timedelta(days=31)
    notice(business, "1", read_at=long_ago)
    unread = notice(business, "2", at=long_ago)

    notices.tick()

    assert list(Notice.objects.all()) == [unread]


def test_whoever_gets_another_way_in_opened_for_them_hears_of_it(
    administrator: User, approver: User, author: User, committed: Any
) -> None:
    User.objects.filter(pk=approver.pk).update(last_login=timezone.now())
    TOTP.activate(approver, "JBSWY3DPEHPK3PXP")

    with committed():
        people.one_time_link(approver, actor=administrator)
        people.remove_second_factor(approver, actor=administrator)
        people.one_time_link(author, actor=administrator)

    removed, link = told(approver)
    assert removed == "admin@example.com removed your second factor. Set it up again."
    assert link.startswith("admin@example.com made a link with which your password can be set.")
    assert told(author) == [], "who never signed in gets the first one"
