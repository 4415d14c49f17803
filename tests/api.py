"""Calls of the API as a program makes them: with a key, over the whole stack."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from registry.models import ApiKey, KeyAction, RegisteredModel, User

V1 = "/api/v1"
PROBLEM = "application/problem+json"
PROBLEM_FIELDS = {"type", "title", "status", "code", "detail", "fix", "request_id", "errors"}
ENTRY_FIELDS = {"field", "row", "code", "value", "expected", "fix"}


def create_key(
    user: User,
    *actions: str,
    secret: str = "",
    models: Iterable[RegisteredModel] | None = None,
    **fields: Any,
) -> str:
    """The secret of a key with these actions (all unless given), whether or not its owner's roles allow them."""
    secret = secret or f"mg_{user.email}-{ApiKey.objects.count()}"
    key = ApiKey.objects.create(
        user=user,
        name=fields.pop("name", "test"),
        prefix=secret[:9],
        digest=ApiKey.digest_of(secret),
        actions=list(actions) or list(KeyAction.values),
        all_models=models is None,
        expires_at=fields.pop("expires_at", timezone.now() + timedelta(days=1)),
        **fields,
    )
    key.only_models.set(models or [])
    return secret


class Program:
    """Calls with one key; `last` is the response of the last call."""

    def __init__(self, key: str = "", **headers: str) -> None:
        self.client = Client()
        self.headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **headers}

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(V1 + path, query, headers=self.headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("post", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("patch", path, body, **headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes | str) else json.dumps({} if body is None else body)
        call = getattr(self.client, method)
        return call(V1 + path, content, content_type="application/json", headers={**self.headers, **named})

    def upload(self, path: str, **fields: Any) -> Any:
        """A form; values that are `(name, bytes)` are files."""
        query = fields.pop("query", "")
        parts = {
            name: SimpleUploadedFile(value[0], value[1]) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }
        return self.client.post(V1 + path + query, parts, headers=self.headers)


def program(user: User, *actions: str, **fields: Any) -> Program:
    """A program with a fresh key of this person."""
    return Program(create_key(user, *actions, **fields))


def problem(response: Any, status: int, code: str = "") -> dict[str, Any]:
    """The problem that was answered, after a look at its shape."""
    assert response.status_code == status, (response.status_code, body_of(response))
    assert response["Content-Type"] == PROBLEM
    found: dict[str, Any] = response.json()
    assert set(found) == PROBLEM_FIELDS
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert found["request_id"] == response["X-Request-ID"]
    for entry in found["errors"]:
        assert set(entry) >= ENTRY_FIELDS
    if code:
        assert found["code"] == code, found
    return found


def body_of(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def ok(response: Any, status: int = 200) -> Any:
    """The JSON that was answered."""
    assert response.status_code == status, (response.status_code, body_of(response))
    return response.json()
