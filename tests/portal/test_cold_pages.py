"""Pages and API of predictions whose inputs left the database: nobody can tell, and damage is said in a sentence."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inference import cold, log
from inference.models import ColdFile, Leftover, Prediction
from inference.predictions import predict
from portal import system
from registry import storage
from registry.models import Release, User
from tests import factories
from tests.api import Program, create_key
from tests.inference import answers

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


@pytest.fixture
def asked(release: Release, business: User) -> str:
    """A prediction of last week, in its file."""
    rows = [answers.row(city="Delhi", age=47)]
    [row] = predict(release.model, rows, actor=business, channel="api", explain=True).rows
    log.ingest(wait=True)
    Prediction.objects.update(at=timezone.now() - timedelta(days=7))
    assert cold.move_old() == 1
    return row.id


def damage() -> None:
    path = storage.local_path(ColdFile.objects.get().key)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-20])


def test_page_form_and_history_show_what_was_asked(
    release: Release, business: User, client: Client, asked: str
) -> None:
    client.force_login(business)

    page = client.get(reverse("prediction", args=[asked])).content.decode()
    again = client.get(reverse("predict", args=[release.model.slug]), {"from": asked}).content.decode()
    history = client.get(reverse("history")).content.decode()

    assert "Delhi" in page and "47" in page
    assert 'value="47"' in again
    assert asked in history


def test_the_api_answers_as_before(business: User, asked: str) -> None:
    told = Program(create_key(business, "predict")).get(f"/predictions/{asked}/").json()

    assert told["inputs"]["age"] == 47
    assert told["reasons"][0]["field"] == "age"


def test_a_damaged_file_is_said_in_a_sentence(business: User, client: Client, asked: str) -> None:
    damage()
    client.force_login(business)

    page = client.get(reverse("prediction", args=[asked]))
    told = Program(create_key(business, "predict")).get(f"/predictions/{asked}/")

    assert page.status_code == 503 and "cannot be read" in page.content.decode()
    assert (told.status_code, told.json()["code"]) == (503, "cold_file_damaged")
    assert client.get(reverse("history")).status_code == 200


def test_who_may_not_see_it_does_not_learn_of_the_damage(asked: str, client: Client) -> None:
    damage()
    client.force_login(factories.create_user(email="other@example.com", roles=["business"]))

    assert client.get(reverse("prediction", args=[asked])).status_code == 404


def look() -> system.Part:
    return next(each for each in system.parts() if each.title == "Older predictions")


def test_the_system_page_tells_how_much_is_in_files(asked: str) -> None:
    assert look().state == "ok"
    assert look().told.startswith("Predictions in columnar files: 1; files: 1;")


def test_the_system_page_tells_when_nobody_moves_them(release: Release, business: User) -> None:
    predict(release.model, [answers.row()], actor=business, channel="api")
    log.ingest(wait=True)
    assert look().state == "ok"

    Prediction.objects.update(at=timezone.now() - timedelta(days=3))
    assert "wait in the database" in look().fix


def test_the_system_page_tells_of_files_that_do_not_go(db: None) -> None:
    Leftover.objects.create(key="predictions/1/old", due=timezone.now() - timedelta(hours=4))

    assert (look().state, "to be deleted" in look().fix) == ("warn", True)
