"""Acts as of another time: only where the installation allows it, never in the future, never out of order."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from registry import history
from registry.actions import approvals, releases
from registry.errors import Invalid, Refused
from registry.models import AuditEvent, ReleaseRequest, User
from tests.factories import create_request, create_version

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def demo(settings: Any) -> None:
    settings.MODELGATE_ALLOW_AS_OF = True


def test_no_other_installation_sets_a_time_back(author: User, approver: User) -> None:
    request = create_request()
    yesterday = timezone.now() - DAY

    with pytest.raises(Refused) as asked:
        approvals.ask(create_version(), reason="better", as_of=yesterday, actor=author)
    with pytest.raises(Refused) as decided:
        approvals.approve(request, as_of=yesterday, actor=approver)

    assert {asked.value.code, decided.value.code} == {"as_of_not_allowed"}
    assert list(ReleaseRequest.objects.waiting()) == [request]


def test_one_story_from_the_question_to_the_answer(
    demo: None, author: User, approver: User, operator: User
) -> None:
    now, version = timezone.now(), create_version()
    request = approvals.ask(version, reason="better", as_of=now - 400 * DAY, actor=author)
    approvals.approve(request, as_of=now - 399 * DAY, actor=approver)

    releases.release(version.model, version=version, reason="live", as_of=now - 398 * DAY, actor=operator)

    answered = history.answered_at(version.model, now - 397 * DAY)
    assert answered and answered.request
    assert answered.approvers == [approver]
    assert (answered.request.requested_at, answered.request.decided_at) == (now - 400 * DAY, now - 399 * DAY)
    events = AuditEvent.objects.filter(action__in=["request.made", "request.approved", "release.made"])
    assert [event.details["as_of"][:10] for event in events.order_by("seq")] == [
        (now - days * DAY).date().isoformat() for days in (400, 399, 398)
    ]


def test_nothing_is_decided_before_it_was_asked_nor_released_before_it_was_decided(
    demo: None, author: User, approver: User, operator: User
) -> None:
    now, version = timezone.now(), create_version()
    request = approvals.ask(version, reason="better", as_of=now - 10 * DAY, actor=author)
    with pytest.raises(Refused) as decided:
        approvals.reject(request, comment="too early", as_of=now - 11 * DAY, actor=approver)
    approvals.approve(request, as_of=now - 5 * DAY, actor=approver)

    with pytest.raises(Refused) as released:
        releases.release(version.model, version=version, reason="live", as_of=now - 6 * DAY, actor=operator)

    assert {decided.value.code, released.value.code} == {"as_of_too_early"}


def test_what_is_yet_to_come_is_not_recorded(demo: None, author: User) -> None:
    with pytest.raises(Invalid) as caught:
        approvals.ask(create_version(), reason="better", as_of=timezone.now() + DAY, actor=author)

    assert caught.value.code == "as_of_in_future"
