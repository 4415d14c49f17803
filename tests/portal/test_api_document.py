"""The OpenAPI document is made from the code, and agrees with it."""

import io
import re
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, get_resolver

from inference.api.serializers import AnswerSerializer
from portal.api.openapi import PROBLEM
from registry.api.access import actions_of
from registry.api.base import Endpoint
from registry.models import KeyAction, User
from tests.api import PROBLEM_FIELDS, V1, ok, problem, program
from tests.factories import create_model, create_release, create_version
from tests.inference import answers

#: Every call of the contract: nothing of it may go missing.
CONTRACT = """
GET POST /models/
GET PATCH /models/{slug}/
GET POST /models/{slug}/datasets/
GET /models/{slug}/datasets/{dataset}/
GET POST /models/{slug}/versions/
GET PATCH /models/{slug}/versions/{number}/
POST /models/{slug}/versions/{number}/checks/
POST /models/{slug}/versions/{number}/admit/
POST /models/{slug}/versions/{number}/retire/
GET /models/{slug}/versions/{number}/artifact/
GET /models/{slug}/compare/
POST /models/{slug}/versions/{number}/requests/
GET /requests/
GET /requests/{request_id}/
POST /requests/{request_id}/approve/
POST /requests/{request_id}/reject/
POST /requests/{request_id}/request-changes/
POST /requests/{request_id}/withdraw/
GET POST /models/{slug}/releases/
GET POST /models/{slug}/rollback/
POST /models/{slug}/unfreeze/
POST /models/{slug}/predict/
GET /predictions/{prediction}/
GET /models/{slug}/at/
POST /feedback/
POST /models/{slug}/batches/
GET /batches/
GET /batches/{batch}/
POST /batches/{batch}/run/
POST /batches/{batch}/cancel/
POST /batches/{batch}/retry/
POST /batches/{batch}/rerun/
GET /batches/{batch}/result/
GET /batches/{batch}/problems/
POST /models/{slug}/check-file/
POST /models/{slug}/drift/evaluate/
GET /models/{slug}/drift/
GET /models/{slug}/performance/
GET /models/{slug}/service/
GET PUT /models/{slug}/monitoring/
GET /audit/
GET /audit/verify/
GET /audit/export/
GET POST /keys/
POST /keys/{id}/rotate/
POST /keys/{id}/revoke/
"""


@pytest.fixture(scope="module")
def document(django_db_setup: None) -> dict[str, Any]:
    from drf_spectacular.generators import SchemaGenerator

    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


def endpoints() -> list[URLPattern]:
    """Every address below /api/v1/."""
    (v1,) = [each for each in get_resolver().url_patterns if str(each.pattern) == "api/v1/"]
    return [each for each in v1.url_patterns if isinstance(each, URLPattern)]


def test_it_is_valid_and_made_without_a_warning(db: None) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=io.StringIO())


def test_it_holds_every_call_of_the_contract(document: dict[str, Any]) -> None:
    for line in CONTRACT.strip().splitlines():
        *methods, path = line.split()
        operations = document["paths"].get(V1 + path)
        assert operations, path
        assert {method.lower() for method in methods} <= set(operations), path


def test_every_call_has_words_and_says_how_it_fails(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), (method, path)
            assert operation["summary"], (method, path)
            assert {"401", "403", "404"} <= set(operation["responses"]), (method, path)


def test_problems_have_the_shape_that_it_says(document: dict[str, Any], business: User) -> None:
    found = problem(program(business).get("/models/nowhere/"), 404)

    schema = document["components"]["schemas"][PROBLEM]
    assert set(schema["required"]) == set(schema["properties"]) == set(found) == PROBLEM_FIELDS


def test_every_view_says_what_a_key_must_carry() -> None:
    views = [(str(each.pattern), each.callback.view_class) for each in endpoints()]  # type: ignore[attr-defined]
    assert len(views) > 40
    for route, view in views:
        assert issubclass(view, Endpoint), route
        for method in [name.upper() for name in view.http_method_names if hasattr(view, name)]:
            if method == "OPTIONS":
                continue
            actions = actions_of(view, method)
            assert actions, (method, route)
            assert set(actions) <= {*KeyAction.values, "any"}, (method, route)


def test_it_is_served_to_whoever_may_call(business: User) -> None:
    assert Client().get("/api/schema/").status_code == 401
    client = program(business, "predict")

    response = client.client.get("/api/schema/", headers=client.headers)

    assert ok(response)["openapi"].startswith("3.")


def test_an_answer_has_the_fields_that_it_says(
    document: dict[str, Any], business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.install(monkeypatch)
    create_release(version=create_version(model=create_model(slug="loans")))

    found = ok(program(business).post("/models/loans/predict/", {"inputs": answers.row()}))

    assert set(found) == set(AnswerSerializer().fields)
    assert set(found["predictions"][0]) == set(document["components"]["schemas"]["Predicted"]["properties"])


def test_the_page_asks_to_sign_in_and_keeps_to_the_policy(business: User) -> None:
    browser = Client()
    assert browser.get("/api/docs/")["Location"].startswith("/accounts/login/")

    browser.force_login(business)
    response = browser.get("/api/docs/")

    text = response.content.decode()
    assert response.status_code == 200
    assert "style=" not in text
    assert not re.search(r"<script(?![^>]*(src=|application/json))", text)
    policy = response["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "style-src-attr 'unsafe-inline'" in policy
    assert 'href="/"' in text
