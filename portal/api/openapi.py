"""What the OpenAPI document says beyond the views: how one signs in, and what every error looks like."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import build_bearer_security_scheme_object

PROBLEM = "Problem"
_TEXT = {"type": "string"}

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `code` never changes; `detail` and `fix` follow Accept-Language.",
    "required": ["type", "title", "status", "code", "detail", "fix", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "code": _TEXT,
        "detail": _TEXT,
        "fix": _TEXT,
        "request_id": _TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "row", "code", "value", "expected", "fix"],
                "properties": {
                    "field": _TEXT,
                    "row": {"type": "integer", "nullable": True, "description": "0-based"},
                    "code": _TEXT,
                    "value": {"nullable": True},
                    "expected": _TEXT,
                    "fix": _TEXT,
                },
            },
        },
    },
}

_ALWAYS = {
    "401": "No key, or one that is over",
    "403": "The role or the key's action is missing; `detail` names it",
    "404": "There is no such thing, or you may not see it",
    "503": "A part that is needed does not answer now; see Retry-After",
}
_WITH_BODY = {
    "400": "The body cannot be read",
    "409": "Wrong state, or somebody was faster",
    "413": "Over the limit, which `detail` names",
    "415": "Not a kind of content that is accepted",
    "422": "Readable but not right: one entry per mistake",
    "429": "Too many calls; see Retry-After",
}


class KeyScheme(OpenApiAuthenticationExtension):
    """`Authorization: Bearer mg_…`"""

    target_class = "portal.api.authentication.KeyAuthentication"
    name = "key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        scheme: dict[str, Any] = build_bearer_security_scheme_object("Authorization", "Bearer", "mg_…")
        return {**scheme, "description": "An API key; also accepted as the password of HTTP Basic."}


class SessionScheme(OpenApiAuthenticationExtension):
    """The browser's session."""

    target_class = "portal.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        from django.conf import settings

        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


def with_problems(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Every operation may answer with a problem; the shape is written down once."""
    result.setdefault("components", {}).setdefault("schemas", {})[PROBLEM] = _PROBLEM_SCHEMA
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            wanted = _failures(path, method, operation)
            operation["summary"] = operation["description"].partition(". ")[0].splitlines()[0].rstrip(".")
            operation["tags"] = [_subject_of(path)]
            for status, words in wanted.items():
                operation["responses"].setdefault(status, _response(words))
            if method == "post" and not path.endswith(("/check-file/", "/evaluate/")):
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    return result


def _failures(path: str, method: str, operation: Mapping[str, Any]) -> dict[str, str]:
    """How a call may fail, by status."""
    wanted = {**_ALWAYS} if method == "get" else {**_ALWAYS, **_WITH_BODY}
    if any(each["in"] == "query" for each in operation.get("parameters", ())):
        wanted["422"] = _WITH_BODY["422"]
    if path.startswith("/api/v1/batches/{batch}/"):
        wanted |= {"409": _WITH_BODY["409"], "410": "Its time is over, and its rows are deleted"}
    if path.startswith("/api/v1/predictions/{prediction}/") or path.endswith("/result/"):
        wanted |= {"503": "A file that holds it is missing or damaged"}
    if path.endswith("/predict/"):
        wanted |= {"503": "Nothing may answer here now", "504": "The model took too long"}
    return wanted


def _subject_of(path: str) -> str:
    """What a call is about, for the page's headings: the last word of its path that names a subject."""
    words = [word for word in path.removeprefix("/api/v1/").split("/") if word and not word.startswith("{")]
    return next((_SUBJECTS[word] for word in reversed(words) if word in _SUBJECTS), words[0])


_SUBJECTS = {
    **{
        word: word
        for word in ("models", "datasets", "versions", "requests", "releases", "predictions", "batches")
    },
    **dict.fromkeys(("predict", "feedback"), "predictions"),
    **dict.fromkeys(("rollback", "unfreeze", "at"), "releases"),
    **dict.fromkeys(("drift", "performance", "service", "monitoring"), "monitoring"),
    "compare": "versions",
    "check-file": "batches",
    "environments": "models",
    "usage": "usage",
}

_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "maxLength": 200},
    "description": "The same key and body give the same answer within 24 hours; another body gives 409.",
}


def _response(words: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{PROBLEM}"}
    return {"description": words, "content": {"application/problem+json": {"schema": reference}}}
