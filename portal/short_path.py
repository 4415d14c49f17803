"""The short path: a plain prediction of a program with a key is answered before Django's machinery begins.

It asks the same verb, under the same permissions, and its answers are the view's to the byte (a test holds both to
that). It takes only what is plain: one POST with a bearer key and a JSON body, by a caller who may, to a version that
answers. Everything else (sessions, gzip, mistakes in the body, unknown keys, models that do not exist) goes on to
Django untouched, where it is answered, recorded and explained as ever.
"""

import io
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import structlog
from csp.middleware import CSPMiddleware
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import DatabaseError, close_old_connections, connection
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils import translation

from inference import predictions
from inference.api import refusals
from inference.api.rendering import as_json
from inference.models import Prediction
from portal.api import problems
from portal.api.authentication import is_use_due, note_use
from portal.gateway import WSGI, Environ, Header, Response, StartResponse
from portal.middleware import REQUEST_ID, client_ip
from portal.packing import packed
from registry import audit, changes, permissions
from registry.api import strict
from registry.api.access import models_for
from registry.audit import Action
from registry.changes import Known, MustWait
from registry.errors import Refused
from registry.models import PRODUCTION, ApiKey, KeyAction, RegisteredModel

logger = structlog.get_logger(__name__)

_BEARER = re.compile(r"Bearer (mg_[A-Za-z0-9_-]+)")
_ENVIRONMENT = re.compile(r"[a-z0-9-]{1,20}")
_JSON = frozenset({"application/json", "application/json; charset=utf-8"})
_ACCEPTED = frozenset({"", "*/*", "application/json"})
_UNUSUAL = frozenset(
    {"HTTP_COOKIE", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING", "HTTP_IDEMPOTENCY_KEY"}
)
_FIELDS = frozenset({"inputs", "rows", "environment", "version", "explain"})
_LONGEST_BODY = 8 << 20  # longer ones are rare, and Django reads them as well
_MOST_VERSIONS = 10**9

ALLOW: Header = ("Allow", "POST, OPTIONS")


@dataclass(frozen=True)
class _Caller:
    """A usable key, its owner, and the model that both may ask."""

    key: ApiKey
    model: RegisteredModel


@dataclass(frozen=True)
class _Question:
    """What a body asks."""

    rows: Sequence[Any]
    environment: str
    version: int | None


class ShortPath:
    """WSGI in front of WSGI; a thread that must never wait asks `at_once`."""

    PATH = re.compile(r"/api/v1/models/([a-z0-9-]+)/predict/")

    def __init__(self, django: WSGI) -> None:
        self.django = django
        self._is_pooled = connection.vendor != "sqlite"  # there an open file costs nobody anything
        self._headers: dict[tuple[str, bool], list[Header]] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = self.PATH.fullmatch(environ["PATH_INFO"])
        if path is None or not _is_plain(environ):
            return self.django(environ, start_response)
        try:
            response = self._answer(environ, path[1])
        finally:
            if self._is_pooled:
                close_old_connections()
        if response is None:
            return self.django(environ, start_response)
        start_response(response.status, response.headers)
        return [response.body]

    def at_once(self, environ: Environ) -> Response | None:
        """The answer where it takes no waiting; None, and nothing done, where a thread has to be asked."""
        path = self.PATH.fullmatch(environ["PATH_INFO"])
        if path is None or not _is_plain(environ):
            return None
        try:
            known = changes.remembered()
            caller = _caller(environ["HTTP_AUTHORIZATION"], path[1], known)
        except MustWait:
            return None
        question = _question(environ) if caller and not is_use_due(caller.key) else None
        if caller is None or question is None:
            return None
        request_id, language = _request_id(environ), _language(environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        with _speaking(language):
            answer = predictions.predict_at_once(
                caller.model, question.rows, known=known, **_asked(caller, question, request_id)
            )
        return self._answered(answer, environ, request_id, language) if answer else None

    def _answer(self, environ: Environ, slug: str) -> Response | None:
        try:
            known = changes.known()
            caller = _caller(environ["HTTP_AUTHORIZATION"], slug, known)
            if caller:
                note_use(caller.key)
        except DatabaseError:  # Django has an answer for it, and a line in the log
            return None
        question = _question(environ) if caller else None
        if caller is None or question is None:
            return None
        request_id, language = _request_id(environ), _language(environ.get("HTTP_ACCEPT_LANGUAGE", ""))
        with _speaking(language):
            try:
                answer = predictions.predict(
                    caller.model, question.rows, known=known, **_asked(caller, question, request_id)
                )
            except Exception as error:  # answered here: Django would compute and record it again
                problem = _problem(error, caller, request_id, environ)
                return self._refused(problem, environ, request_id, language)
            return self._answered(answer, environ, request_id, language)

    def _answered(
        self, answer: predictions.Answer, environ: Environ, request_id: str, language: str
    ) -> Response:
        own = [("Content-Type", "application/json"), ALLOW]
        return self._response("200 OK", own, as_json(answer.to_json()), environ, request_id, language)

    def _refused(self, problem: HttpResponse, environ: Environ, request_id: str, language: str) -> Response:
        own = [(name, value) for name, value in problem.items() if name != "Content-Length"]
        if problem.status_code != 500:  # there no view has answered
            own.append(ALLOW)
        status = f"{problem.status_code} {problem.reason_phrase}"
        return self._response(status, own, problem.content, environ, request_id, language)

    def _response(
        self, status: str, own: list[Header], body: bytes, environ: Environ, request_id: str, language: str
    ) -> Response:
        common = self._common_headers(language, environ)
        small = packed(body, dict(own)["Content-Type"], environ)
        if small is not None:
            body = small
            common = [
                (name, f"{value}, Accept-Encoding" if name == "Vary" else value) for name, value in common
            ]
            own.append(("Content-Encoding", "gzip"))
        own += [("X-Request-ID", request_id), ("Content-Length", str(len(body)))]
        return Response(status, [*common, *own], body)

    def _common_headers(self, language: str, environ: Environ) -> list[Header]:
        """What the middleware adds to everything, asked once for each language."""
        name = (language, _is_secure(environ))
        if name not in self._headers:
            self._headers[name] = _headers_by_middleware(language, environ)
        return self._headers[name]


def _is_plain(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH") or ""
    return (
        environ["REQUEST_METHOD"] == "POST"
        and environ.get("CONTENT_TYPE", "").lower() in _JSON
        and environ.get("HTTP_ACCEPT", "") in _ACCEPTED
        and "HTTP_AUTHORIZATION" in environ
        and not environ.get("QUERY_STRING")
        and not environ.get("SCRIPT_NAME")
        and _UNUSUAL.isdisjoint(environ)
        and length.isdecimal()
        and len(length) < 9
        and int(length) <= _LONGEST_BODY
        and _is_allowed_host(environ.get("HTTP_HOST", ""))
        and (_is_secure(environ) or not settings.SECURE_SSL_REDIRECT)
    )


@lru_cache(maxsize=256)
def _is_allowed_host(host: str) -> bool:
    domain, _port = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def _is_secure(environ: Environ) -> bool:
    if settings.SECURE_PROXY_SSL_HEADER:
        header, secure = settings.SECURE_PROXY_SSL_HEADER
        if header in environ:
            return environ[header].split(",", 1)[0].strip() == secure
    return environ.get("wsgi.url_scheme") == "https"


# --- who calls ---


def _caller(authorization: str, slug: str, known: Known) -> _Caller | None:
    """Who may ask this model, remembered until something changes; None when Django has to look closer."""
    bearer = _BEARER.fullmatch(authorization)
    if bearer is None:
        return None
    digest = ApiKey.digest_of(bearer[1])
    try:
        caller = known.recall(("caller", digest, slug), lambda: _find_caller(digest, slug))
    except _NotPlain:
        return None
    return caller if caller.key.state == "active" else None


class _NotPlain(LookupError):
    """The view would refuse this caller."""


def _find_caller(digest: str, slug: str) -> _Caller:
    """As authentication and permissions of the view decide; _NotPlain where any of them would refuse."""
    key = ApiKey.objects.filter(digest=digest).select_related("user").first()
    if key is None or key.state != "active" or not key.user.is_active:
        raise _NotPlain
    if not key.allows(KeyAction.PREDICT) or not permissions.can_use_key_action(key.user, KeyAction.PREDICT):
        raise _NotPlain
    model = models_for(key.user, key).filter(slug=slug).first()
    if model is None:
        raise _NotPlain
    return _Caller(key, model)


# --- what is asked ---


def _question(environ: Environ) -> _Question | None:
    """The body, when it plainly is one that the view's serializer takes; else it is put back for Django to read."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)
    try:
        asked = strict.loads(body)
    except strict.NotStrict:
        return None
    if type(asked) is not dict or not _FIELDS.issuperset(asked) or ("inputs" in asked) == ("rows" in asked):
        return None
    rows = asked["rows"] if "rows" in asked else [asked["inputs"]]
    environment, version = asked.get("environment", PRODUCTION), asked.get("version")
    is_plain = (
        type(rows) is list
        and ("rows" in asked or type(rows[0]) is dict)
        and asked.get("explain", False) is False
        and type(environment) is str
        and _ENVIRONMENT.fullmatch(environment)
        and ("version" not in asked or (type(version) is int and 0 < version < _MOST_VERSIONS))
    )
    return _Question(rows, environment, version) if is_plain else None


def _request_id(environ: Environ) -> str:
    """The caller's own, or one that Django will use as well."""
    request_id: str = environ.get("HTTP_X_REQUEST_ID", "")
    if not REQUEST_ID.match(request_id):
        request_id = environ["HTTP_X_REQUEST_ID"] = secrets.token_hex(16)
    return request_id


def _asked(caller: _Caller, question: _Question, request_id: str) -> dict[str, Any]:
    return {
        "actor": caller.key.user,
        "key": caller.key,
        "channel": Prediction.Channel.API,
        "environment": question.environment,
        "version_number": question.version,
        "request_id": request_id,
    }


# --- how it is answered ---


def _speaking(language: str) -> AbstractContextManager[Any]:
    """What is spoken already needs no change, which takes longer than most of an answer's parts."""
    return nullcontext() if translation.get_language() == language else translation.override(language)


def _problem(error: Exception, caller: _Caller, request_id: str, environ: Environ) -> HttpResponse:
    """The problem that the view would answer, and the event that it would record."""
    request = WSGIRequest(environ)
    where = {"channel": "api", "ip": client_ip(request), "request_id": request_id}
    with audit.context(**where, key_prefix=caller.key.prefix):
        actor, model = caller.key.user, caller.model
        if isinstance(error, Refused) and refusals.is_worth_recording(error, actor=actor, model=model):
            audit.record_refusal(Action.PREDICTION_MADE, target=model, actor=actor, error=error)
        problem = problems.exception_handler(error, {})
        if problem is None:
            logger.error("prediction_failed", request_id=request_id, exc_info=error)
            problem = problems.of(500).response()
        return problem


@lru_cache(maxsize=256)
def _language(accepted: str) -> str:
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = accepted
    return translation.get_language_from_request(request)


def _headers_by_middleware(language: str, environ: Environ) -> list[Header]:
    response = HttpResponse()
    response["Vary"] = "Accept-Language, Cookie"
    response["Content-Language"] = language
    request = WSGIRequest(environ)
    for middleware in (XFrameOptionsMiddleware, CSPMiddleware, SecurityMiddleware):
        response = cast(Any, middleware)(lambda _request, inner=response: inner)(request)
    return [
        (name, value) for name, value in response.items() if name not in ("Content-Type", "Content-Length")
    ]
