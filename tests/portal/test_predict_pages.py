"""The predict form, the result and the history: generated from the schema, useful without any script."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from inference import log, runners
from inference.models import Feedback, Prediction
from portal import answers as shown
from registry.models import Release, Role, User
from tests import factories
from tests.inference import answers

pytestmark = pytest.mark.django_db

FIELDS: list[dict[str, Any]] = [
    {
        "name": "age",
        "type": "integer",
        "min": 0,
        "max": 120,
        "unit": "years",
        "label": {"en": "Age"},
        "help": {"en": "At the last birthday."},
        "training": {"min": 18, "max": 90},
    },
    {"name": "income", "type": "number", "required": False, "label": {"en": "Income"}},
    {"name": "married", "type": "boolean"},
    {"name": "city", "type": "category", "categories": ["Delhi", "Pune"]},
    {"name": "trade", "type": "category", "categories": [f"trade {n}" for n in range(30)]},
    {"name": "remarks", "type": "text", "required": False},
]
SCHEMA: dict[str, Any] = {
    "fields": FIELDS,
    "target": {
        "name": "repaid",
        "task": "classification",
        "classes": ["no", "yes"],
        "positive": "yes",
        "words": {"yes": {"en": "Likely to repay"}, "no": {"en": "Unlikely to repay"}},
        "question": {"en": "Will this person repay?"},
    },
    "examples": [
        {"name": "Young in Pune", "inputs": {"age": 24, "income": 1200.5, "married": True, "city": "Pune"}},
    ],
}
TYPED = {"in0": "40", "in1": "", "in2": "yes", "in3": "Pune", "in4": "trade 7", "in5": ""}


@pytest.fixture(autouse=True)
def _runner(monkeypatch: pytest.MonkeyPatch) -> None:
    answers.install(monkeypatch)


@pytest.fixture
def release(db: None) -> Release:
    return factories.create_release(version=factories.create_version(schema=SCHEMA))


@pytest.fixture
def page(client: Client, business: User) -> Client:
    client.force_login(business)
    return client


def url(release: Release) -> str:
    return reverse("predict", args=[release.model.slug])


def token_of(response: Any) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found
    return unescape(found.group(1))


def text_of(response: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def test_it_shows_one_control_for_each_field(page: Client, release: Release) -> None:
    html = page.get(url(release)).content.decode()

    assert html.count('type="radio" name="in2"') == 2
    assert html.count('type="radio" name="in3"') == 2
    assert '<select name="in4"' in html
    assert '<textarea name="in5"' in html
    assert 'inputmode="decimal"' in html
    assert '<span class="suffix">years</span>' in html
    assert "At the last birthday. A whole number from 0 to 120." in html
    assert "Will this person repay?" in html
    assert html.count("(optional)") == 2


def test_an_example_fills_the_form_and_does_not_submit_it(page: Client, release: Release) -> None:
    html = page.get(f"{url(release)}?example=0").content.decode()

    assert 'value="24"' in html
    assert 'value="1200.5"' in html
    assert re.search(r'<input type="radio" name="in3" value="Pune"[^>]* checked', html)
    assert not Prediction.objects.exists()


@pytest.mark.parametrize("example", ["9", "-1", "x", "²"])
def test_an_example_that_is_not_there_is_an_empty_form(page: Client, release: Release, example: str) -> None:
    assert page.get(url(release), {"example": example}).status_code == 200


def test_it_answers_in_the_words_of_the_business(page: Client, release: Release) -> None:
    response = page.post(url(release), TYPED)

    text = text_of(response)
    assert response.status_code == 200
    assert "Unlikely to repay" in text
    assert "40.0 % chance: Likely to repay" in text
    assert "curl -sS" in text
    assert '"city": "Pune"' in text
    log.ingest()
    assert Prediction.objects.get().channel == "page"


def test_a_bar_and_the_sentence_above_it_tell_a_chance_alike() -> None:
    shares = {"no": 0.00004, "yes": 0.99996}
    target = factories.create_version(schema=SCHEMA).schema_object.target

    assert shown.chance(target, "yes", shares) == ">99.9 % chance: Likely to repay"
    assert [bar.told for bar in shown.bars(target, "yes", shares)] == [">99.9 %", "<0.1 %"]


def test_it_prints_warnings_with_the_answer(page: Client, release: Release) -> None:
    text = text_of(page.post(url(release), TYPED | {"in0": "95"}))

    assert "Likely to repay" in text
    assert "Age 95 is above anything this model was trained on (18 to 90). Treat with care." in text


def test_it_lists_what_to_fix_and_keeps_what_was_typed(page: Client, release: Release) -> None:
    response = page.post(url(release), TYPED | {"in0": "old", "in1": "1,50", "in4": ""})

    html, text = response.content.decode(), text_of(response)
    assert response.status_code == 422
    assert "3 things to fix" in text
    assert '<a href="#id_in0">' in html
    assert 'value="1,50"' in html
    assert "Write the decimal point as “.”: 1.50" in text
    assert "Give a value: this field is required." in text
    assert text.count("Expected:") == 2 * 2, "at the top and at the field; not where nothing was typed"
    log.ingest()
    assert not Prediction.objects.exists()


def test_a_form_that_is_sent_twice_gives_the_same_prediction(page: Client, release: Release) -> None:
    token = token_of(page.get(url(release)))

    first, second = (page.post(url(release), TYPED | {"token": token}) for _again in range(2))

    assert Prediction.objects.count() == 1
    public_id = Prediction.objects.get().public_id
    assert public_id in text_of(first)
    assert public_id in text_of(second)


def test_other_values_under_the_same_token_are_another_question(page: Client, release: Release) -> None:
    token = token_of(page.get(url(release)))
    page.post(url(release), TYPED | {"token": token})
    page.post(url(release), TYPED | {"token": token, "in0": "60"})
    log.ingest()

    assert sorted(each.inputs["age"] for each in Prediction.objects.all()) == [40, 60]


@pytest.mark.parametrize("token", ["", "forged", "1:p_00000000000000000000000001:x"])
def test_a_forged_token_reserves_nothing(page: Client, release: Release, token: str) -> None:
    page.post(url(release), TYPED | {"token": token})
    log.ingest()

    assert Prediction.objects.get().public_id != "p_00000000000000000000000001"


def test_a_changed_value_is_compared_with_the_answer_before(page: Client, release: Release) -> None:
    first = page.post(url(release), TYPED)
    previous = re.search(r'name="previous" value="([^"]+)"', first.content.decode())
    assert previous

    text = text_of(page.post(url(release), TYPED | {"in0": "60", "previous": previous.group(1)}))

    assert "Before: Unlikely to repay" in text
    assert "Age was 40, now 60" in text


def test_it_says_why_when_nothing_serves(page: Client) -> None:
    version = factories.create_version()

    response = page.get(reverse("predict", args=[version.model.slug]))

    assert "No approved version" in text_of(response)
    assert "disabled" in response.content.decode()


def test_a_model_that_fails_leaves_the_form_as_it_was(
    page: Client, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.install(
        monkeypatch, answers.failing(runners.ModelTimeout("The model did not answer within 10 seconds."))
    )

    response = page.post(url(release), TYPED)

    assert response.status_code == 504
    assert "did not answer within 10 seconds" in text_of(response)
    assert 'value="40"' in response.content.decode()


def test_somebody_who_may_only_read_is_told_so(client: Client, auditor: User, release: Release) -> None:
    client.force_login(auditor)

    assert client.get(url(release)).status_code == 403


def test_a_model_that_is_not_shared_is_not_there(page: Client, release: Release) -> None:
    release.model.groups.create(name="others")

    assert page.get(url(release)).status_code == 404


def predicted(page: Client, release: Release, **changes: str) -> Prediction:
    page.post(url(release), TYPED | changes)
    log.ingest()
    return Prediction.objects.latest("at")


def test_a_result_can_be_read_again(page: Client, release: Release) -> None:
    prediction = predicted(page, release)

    text = text_of(page.get(prediction.get_absolute_url()))

    assert "Unlikely to repay" in text
    assert prediction.public_id in text
    assert prediction.request_id in text
    assert "trade 7" in text


def test_a_result_is_not_there_for_a_colleague(page: Client, release: Release, client: Client) -> None:
    prediction = predicted(page, release)
    client.force_login(factories.create_user(roles=[Role.BUSINESS]))

    assert client.get(prediction.get_absolute_url()).status_code == 404


def test_an_outcome_is_recorded_and_corrected(page: Client, release: Release) -> None:
    prediction = predicted(page, release)
    outcome = reverse("prediction-outcome", args=[prediction.public_id])

    page.post(outcome, {"actual": "yes"})
    response = page.post(outcome, {"actual": "no"}, follow=True)

    assert [each.actual for each in Feedback.objects.order_by("pk")] == ["yes", "no"]
    assert Feedback.objects.current().get().actual == "no"
    assert "The outcome is corrected." in text_of(response)


def test_an_outcome_that_is_no_class_is_refused(page: Client, release: Release) -> None:
    prediction = predicted(page, release)

    response = page.post(reverse("prediction-outcome", args=[prediction.public_id]), {"actual": "perhaps"})

    assert response.status_code == 422
    assert not Feedback.objects.exists()


def test_an_earlier_prediction_fills_the_form(page: Client, release: Release) -> None:
    prediction = predicted(page, release)

    html = page.get(f"{url(release)}?from={prediction.public_id}").content.decode()

    assert 'value="40"' in html
    assert re.search(r'name="in2" value="yes"[^>]* checked', html)


def test_the_history_shows_ones_own_answers_at_once(page: Client, release: Release) -> None:
    page.post(url(release), TYPED)

    text = text_of(page.get(reverse("history")))

    assert "Unlikely to repay" in text
    assert release.model.name in text


def test_the_history_of_somebody_new_says_where_to_begin(page: Client) -> None:
    assert "You have not asked anything yet" in text_of(page.get(reverse("history")))


def test_the_history_costs_the_same_for_one_row_and_for_many(
    page: Client, release: Release, django_assert_max_num_queries: Any
) -> None:
    for age in range(20, 30):
        page.post(url(release), TYPED | {"in0": str(age)})
    page.get(reverse("history"))

    with django_assert_max_num_queries(30):
        page.get(reverse("history"))


def test_pages_have_no_inline_style_or_script(page: Client, release: Release) -> None:
    prediction = predicted(page, release)

    for response in (page.post(url(release), TYPED), page.get(prediction.get_absolute_url())):
        html = response.content.decode()
        assert not re.search(r"<[^>]+ (style|on[a-z]+)=", html)
        assert not re.search(r"<script(?![^>]+src=)", html)


# --- why ---


def test_the_answer_comes_with_its_reasons_and_keeps_them(page: Client, release: Release) -> None:
    token = token_of(page.get(url(release)))

    response = page.post(url(release), {**TYPED, "token": token})

    told = "Age (40 years) lowered the chance of “Likely to repay”"
    assert told in text_of(response)
    log.ingest()
    assert told in text_of(page.get(Prediction.objects.get().get_absolute_url()))


def test_an_answer_without_reasons_says_why_there_are_none(
    page: Client, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = runners.ModelError("No reasons for this model.", code="unexplainable")
    monkeypatch.setattr(runners, "explain", answers.failing(error))
    token = token_of(page.get(url(release)))

    shown = text_of(page.post(url(release), {**TYPED, "token": token}))

    assert "Unlikely to repay" in shown
    assert "Why this answer: No reasons for this model." in shown
    assert "Read this with the answer" not in shown
