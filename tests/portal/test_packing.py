"""Large answers of the API are packed for whoever takes gzip; pages never are."""

import gzip
import json

import pytest

from portal.packing import takes_gzip
from registry.models import User
from tests.api import program
from tests.factories import create_model, create_release, create_version
from tests.inference import answers

ROWS = {"rows": list(answers.rows(50))}


@pytest.fixture(autouse=True)
def _model(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.install(monkeypatch)
    create_release(version=create_version(model=create_model(slug="loans")))


def test_a_large_answer_is_packed(business: User) -> None:
    caller = program(business)

    answer = caller.post("/models/loans/predict/", ROWS, Accept_Encoding="gzip")

    assert answer["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer["Vary"]
    assert int(answer["Content-Length"]) == len(answer.content)
    assert len(json.loads(gzip.decompress(answer.content))["predictions"]) == 50


def test_whoever_does_not_ask_gets_it_plain(business: User) -> None:
    answer = program(business).post("/models/loans/predict/", ROWS)

    assert "Content-Encoding" not in answer
    assert len(answer.json()["predictions"]) == 50


def test_a_small_answer_and_a_page_are_not_packed(business: User, client: object) -> None:
    caller = program(business)
    small = caller.post("/models/loans/predict/", {"rows": [answers.row()]}, Accept_Encoding="gzip")
    caller.client.force_login(business)
    page = caller.client.get("/models/", headers={"Accept-Encoding": "gzip", "Authorization": "Bearer x"})
    document = caller.client.get("/api/v1/models/", headers={"Accept-Encoding": "gzip"})

    assert len(page.content) > 2048
    for answer in (small, page, document):
        assert "Content-Encoding" not in answer


def test_a_packed_question_is_answered(business: User) -> None:
    body = gzip.compress(json.dumps(ROWS).encode())

    answer = program(business).post("/models/loans/predict/", body, Content_Encoding="gzip")

    assert len(answer.json()["predictions"]) == 50


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("br, gzip;q=0.2", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("br", False),
        ("", False),
        ("xgzip", False),
    ],
)
def test_what_accept_encoding_says(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes
