"""Is it alive, is it ready: for load balancers and for `manage.py up`."""

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from inference import log, runners
from inference.runners import jail
from registry import storage


@never_cache
def live(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """200 when everything that an answer needs is there, else 503 with what is missing."""
    parts = {
        "database": _database(),
        "storage": _storage(),
        "log": _log(),
        "models": _models(),
        "jail": _jail(),
    }
    is_ready = all(state == "ok" or state.startswith("ok ") for state in parts.values())
    return JsonResponse({"ready": is_ready, **parts}, status=200 if is_ready else 503)


def _database() -> str:
    try:
        connection.ensure_connection()
        return "ok" if _is_migrated() else "migrations are missing"
    except DatabaseError:
        return "unreachable"


def _is_migrated() -> bool:
    """Reading all migrations is slow, and a database does not lose them: a yes is remembered."""
    if not _migrated:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return False
        _migrated.append(True)
    return True


_migrated: list[bool] = []


def _storage() -> str:
    try:
        storage.exists("readyz")
    except Exception:
        return "unreachable"
    return "ok"


def _log() -> str:
    """A worker that lags behind is a warning: answers are recorded all the same."""
    try:
        waiting = log.waiting_bytes() >> 20
    except DatabaseError:
        return "unknown: the database does not answer"
    if waiting < settings.MODELGATE_LOG_LAG_MIB:
        return "ok"
    return (
        f"ok but {waiting} MiB of answered predictions wait to be read in: does a worker run on this machine?"
    )


def _jail() -> str:
    try:
        return jail.state(runners.client())
    except runners.ModelError:
        return "unknown: the model supervisor does not answer"


def _models() -> str:
    return "ok" if runners.is_alive() else "the model supervisor does not answer"
