"""The OpenAPI document against the API that it describes: for every call, only documented answers.

Each operation is asked what its own schema allows and what it does not, about things that exist and things that do
not. More of it: `SCHEMATHESIS_EXAMPLES=200 manage.py test tests/portal/test_api_schemathesis.py`.
"""

import gzip
import os
from typing import Any

import pytest
import requests
import schemathesis
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from registry.models import Role
from tests.api import create_key
from tests.factories import create_user
from tests.inference import answers
from tests.portal.world import World, create_world

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
HOST = "http://testserver"
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "8"))
BOUNDED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def operations() -> list[Any]:
    document = SchemaGenerator().get_schema(request=None, public=True)
    schema = schemathesis.openapi.from_dict(document)
    return [each.ok() for each in schema.get_all_operations()]


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    answers.install(monkeypatch)
    return create_world()


@pytest.fixture
def key(world: World) -> str:
    """Of somebody who may do everything, so that what is asked is reached."""
    return create_key(create_user(email="everybody@example.com", roles=Role.values))


def strategy(operation: Any, world: World) -> st.SearchStrategy[Any]:
    names = {**world.names, "request_id": world.names["request"], "id": world.names["key"]}
    real = {each.name: names[each.name] for each in operation.path_parameters if each.name in names}
    return st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE, path_parameters=real),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE, path_parameters=real),
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
    )


def send(case: Any, key: str) -> Response:
    """The answer of the whole stack; what it changed is undone."""
    asked = requests.Request(**case.as_transport_kwargs(base_url=HOST)).prepare()
    headers = {name: value for name, value in asked.headers.items() if name.lower() != "content-length"}
    kind = headers.pop("Content-Type", "application/octet-stream")
    body = asked.body if isinstance(asked.body, bytes) else (asked.body or "").encode()
    cache.clear()
    with transaction.atomic():
        got: Any = Client().generic(
            str(asked.method),
            str(asked.path_url),
            body,
            content_type=kind,
            headers={**headers, "Authorization": f"Bearer {key}"},  # type: ignore[dict-item]
        )
        content = b"".join(got.streaming_content) if got.streaming else got.content
        transaction.set_rollback(True)
    if got.headers.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return Response(
        status_code=got.status_code,
        headers={name: [value] for name, value in got.headers.items()},
        content=content,
        request=asked,
        elapsed=0.0,
        verify=False,
    )


@pytest.mark.slow
def test_every_call_gives_only_documented_answers(world: World, key: str) -> None:
    found = operations()
    assert len(found) > 50
    for operation in found:

        @BOUNDED
        @given(case=strategy(operation, world))
        def ask(case: Any) -> None:
            response = send(case, key)
            case.validate_response(response, checks=CHECKS)
            not_ours(case, response)

        ask()


def not_ours(case: Any, response: Response) -> None:
    """503 and 504 are answers that are documented where a model may not answer; a fault never is."""
    assert response.status_code < 500 or response.status_code in (503, 504), (case, response.content)
