"""Whoever may read a prediction may say what is wrong with it, and whoever looks after the model is told."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from inference import erasing, ids, reports
from inference.models import Prediction, ProblemReport
from portal.models import Notice
from registry.errors import Invalid, NotFound, Refused
from registry.models import AuditEvent, User
from tests.api import ok, problem, program
from tests.portal.world import World, create_world

ID = "p_0000000000000000000000test"


@pytest.fixture
def world(db: None) -> World:
    return create_world()


def report(world: World, who: str = "business", **given: Any) -> ProblemReport:
    return reports.report_problem(ID, actor=world.people[who], **{"reason": "wrong", **given})


def page(user: User, path: str) -> str:
    browser = Client()
    browser.force_login(user)
    return browser.get(path).content.decode()


def test_a_report_is_kept_and_audited(world: World) -> None:
    made = report(world, reason="unfair", text=" The same flat next door got a yes. ")

    assert (made.model.slug, made.reason, made.text) == (
        "loans",
        "unfair",
        "The same flat next door got a yes.",
    )
    event = AuditEvent.objects.get(action="prediction.reported")
    assert (event.actor_id, event.details["prediction"]) == (world.people["business"].pk, ID)
    assert "next door" not in str(event.__dict__)  # the words may be erased, and the log is for ever


def test_owners_and_operators_are_told_and_see_it_on_the_page_of_the_model(
    world: World, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        report(world, text="Too low for Pune")

    told = Notice.objects.filter(kind="problem_reported")
    assert {notice.user.email for notice in told} == {"author@example.com", "operator@example.com"}
    address = reverse("model-detail", args=["loans"])
    for who in ("author", "operator", "auditor"):
        assert "Too low for Pune" in page(world.people[who], address)
    for who in ("business", "integrator", "approver"):
        assert "Too low for Pune" not in page(world.people[who], address)
    assert reverse("prediction", args=[ID]) in page(world.people["auditor"], address)
    assert reverse("prediction", args=[ID]) not in page(world.people["operator"], address)
    assert "reports a problem" in page(world.people["operator"], reverse("notices"))


def test_a_prediction_that_one_may_not_read_cannot_be_reported(world: World) -> None:
    with pytest.raises(NotFound):
        report(world, "integrator")


@pytest.mark.parametrize(
    ("given", "field"),
    [({"reason": "ugly"}, "reason"), ({"reason": "other"}, "text"), ({"text": "x" * 2_001}, "text")],
)
def test_a_report_says_something(world: World, given: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        report(world, **given)

    assert [each["field"] for each in caught.value.errors] == [field]


def test_one_person_says_one_thing_once(world: World) -> None:
    report(world)
    report(world, reason="surprising")

    with pytest.raises(Refused, match="already"):
        report(world)
    assert ProblemReport.objects.count() == 2


def test_the_words_go_with_the_prediction_that_is_erased(world: World) -> None:
    report(world, text="Mr Rao of Pune")

    erasing.erase([ID], actor=world.people["admin"], reason="He asked us to")

    left = ProblemReport.objects.get()
    assert (left.prediction_id, left.text, left.reason) == ("", "", "wrong")


def test_the_page_takes_it_and_shows_what_was_said(world: World) -> None:
    browser = Client()
    browser.force_login(world.people["business"])
    address = reverse("prediction-report", args=[ID])

    refused = browser.post(address, {"reason": "other", "text": ""})
    taken = browser.post(address, {"reason": "surprising", "text": "Never seen"}, follow=True)

    assert refused.status_code == 422
    assert "in a few words" in refused.content.decode()
    assert "Never seen" in taken.content.decode()


def test_the_api_takes_it(world: World) -> None:
    caller = program(world.people["business"], "predict")

    made = ok(caller.post(f"/predictions/{ID}/report/", {"reason": "wrong"}), 201)

    assert (made["prediction"], made["reason"]) == (ID, "wrong")
    problem(caller.post(f"/predictions/{ID}/report/", {"reason": "wrong"}), 409, "reported_already")
    problem(caller.post(f"/predictions/{ids.new_ids(1)[0]}/report/", {"reason": "wrong"}), 404)
    assert Prediction.objects.count() == 1
