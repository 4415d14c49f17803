"""Is everything there that an installation needs? Asked by `/readyz` in a word, and by the System check page at length.

Each part is looked at by itself: one that cannot be looked at says so, and the others stand.
"""

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Count, Sum
from django.db.utils import DatabaseError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import cold, heartbeats, log, runners
from inference.models import ColdFile, Leftover
from inference.runners import jail
from portal.celery import app
from registry import storage

logger = structlog.get_logger(__name__)

BROKER_SECONDS = 2
#: The tick comes every 15 seconds.
HEARTBEAT = timedelta(seconds=90)
CLOCKS_APART = timedelta(seconds=5)
#: What should have been moved or deleted for so long is not going to be by itself.
COLD_LATE = timedelta(hours=3)
DISK_WARN, DISK_BAD = 5 << 30, 1 << 30
PACKAGES = (
    "Django", "celery", "uvicorn", "redis", "psycopg", "pyarrow", "numpy", "pandas", "scipy", "scikit-learn", "joblib",
    "skops", "onnx", "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One part: `ok`, `warn` (it works, and not for ever, or not as it should), `bad`, or `mute` (nobody can say)."""

    title: str
    state: str
    told: str
    fix: str = ""


def readiness() -> dict[str, str]:
    """What an answer needs, each in a word: "ok…", or what is wrong with it."""
    return {
        "database": _database(),
        "storage": _storage(),
        "log": _log(),
        "models": _models(),
        "jail": _jail(),
    }


def is_ready(parts: Mapping[str, str]) -> bool:
    return all(state == "ok" or state.startswith("ok ") for state in parts.values())


def parts() -> list[Part]:
    """Everything that a person should know, in the order of what the rest stands on."""
    looks: list[tuple[str, Callable[[], Part]]] = [
        (_("Database"), look_at_database),
        (_("Storage"), look_at_storage),
        (_("Broker"), look_at_broker),
        (_("Scheduler"), look_at_scheduler),
        (_("Worker"), look_at_worker),
        (_("Model service"), look_at_models),
        (_("Disk"), look_at_disk),
        (_("Clock"), look_at_clock),
        (_("Prediction log"), look_at_log),
        (_("Older predictions"), look_at_cold),
    ]
    return [_safely(title, look) for title, look in looks]


def layers() -> list[jail.Layer]:
    """The jail, layer by layer; nothing where nobody can say."""
    try:
        return jail.layers(runners.client().status())
    except runners.ModelError:
        return []


def versions() -> Iterator[tuple[str, str]]:
    """What runs here, and which."""
    yield "Python", platform.python_version()
    yield "Linux", platform.release()
    yield connection.display_name, ".".join(map(str, connection.get_database_version()))
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _safely(title: str, look: Callable[[], Part]) -> Part:
    try:
        return look()
    except Exception as error:
        logger.exception("system_check_failed", part=title)
        return Part(
            title, "bad", _("It could not be looked at (%s).") % type(error).__name__, _("See the log.")
        )


# --- in a word ---


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


def _models() -> str:
    return "ok" if runners.is_alive() else "the model supervisor does not answer"


def _jail() -> str:
    try:
        return jail.state(runners.client())
    except runners.ModelError:
        return "unknown: the model supervisor does not answer"


# --- at length ---


def look_at_database() -> Part:
    title, state = _("Database"), _database()
    if state == "ok":
        told = _("%(kind)s answers, and all migrations are applied.") % {"kind": connection.display_name}
        return Part(title, "ok", told)
    if state == "unreachable":
        return Part(title, "bad", _("The database does not answer."), _("Start it, or mend DATABASE_URL."))
    fix = _("Run: python3 manage.py migrate")
    return Part(title, "bad", _("Some migrations have not been applied."), fix)


def look_at_storage() -> Part:
    """Write, read and delete a few bytes, as an upload would."""
    title, key, sent = _("Storage"), f"system-check/{timezone.now().timestamp()}", b"Is anybody there?"
    fix = _("Look at the disk and its permissions, or at the bucket and its credentials.")
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(sent)
            file.flush()
            storage.put(key, Path(file.name))
        with storage.open_read(key) as stored:
            came_back = stored.read() == sent
        storage.delete(key)
    except Exception as error:
        return Part(title, "bad", _("A file could not be kept (%s).") % type(error).__name__, fix)
    if not came_back:
        return Part(title, "bad", _("A file came back changed."), fix)
    return Part(title, "ok", _("A file was written, read and deleted again."))


def look_at_broker() -> Part:
    title = _("Broker")
    try:
        with app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            kind = str(broker.transport.driver_name or broker.transport_cls)
    except Exception as error:
        told = _("The broker does not answer (%s).") % type(error).__name__
        fix = _("Start Redis, or mend REDIS_URL. Nothing is lost: the periodic tick hands on what waits.")
        return Part(title, "bad", told, fix)
    return Part(title, "ok", _("It takes messages (%(kind)s).") % {"kind": kind})


def look_at_scheduler() -> Part:
    return _look_at_sign_of_life(
        _("Scheduler"),
        heartbeats.BEAT,
        _("Start: python3 manage.py beat (exactly one; `up` does so itself)."),
    )


def look_at_worker() -> Part:
    return _look_at_sign_of_life(_("Worker"), heartbeats.WORKER, _("Start: python3 manage.py worker"))


def _look_at_sign_of_life(title: str, name: str, fix: str) -> Part:
    last = heartbeats.last(name)
    if last is None:
        return Part(title, "bad", _("It has never shown a sign of life."), fix)
    seconds = int((timezone.now() - last).total_seconds())
    told = _("Last sign of life %(count)d s ago.") % {"count": seconds}
    return Part(title, "ok", told) if seconds < HEARTBEAT.total_seconds() else Part(title, "bad", told, fix)


def look_at_models() -> Part:
    title = _("Model service")
    try:
        status = runners.client().status()
    except runners.ModelError as error:
        return Part(title, "bad", str(error), _("Start: python3 manage.py modeld"))
    return _look_at_jail(title, status)


def _look_at_jail(title: str, status: Mapping[str, Any]) -> Part:
    said, running = jail.said(status), len(status.get("runners") or [])
    if said == "ok":
        told = _("It answers; %(count)d models are loaded, each in the whole jail.") % {"count": running}
        return Part(title, "ok", told)
    if said == jail.NOT_TRIED:
        return Part(title, "mute", _("It is starting; the jail has not been tried yet."))
    fix = _("What is missing, and what to do about it, stands below.")
    if said.startswith("ok "):
        return Part(
            title, "warn", _("A part of the jail is missing; only skops and ONNX files are loaded."), fix
        )
    return Part(title, "bad", _("A part of the jail is missing; no model is loaded."), fix)


def look_at_disk() -> Part:
    title, usage = _("Disk"), shutil.disk_usage(settings.DATA_DIR)
    told = _("%(free)s of %(total)s are free in the data folder.") % {
        "free": filesizeformat(usage.free),
        "total": filesizeformat(usage.total),
    }
    if usage.free >= DISK_WARN:
        return Part(title, "ok", told)
    fix = _("Make room: without it neither uploads nor predictions can be kept.")
    return Part(title, "bad" if usage.free < DISK_BAD else "warn", told, fix)


def look_at_clock() -> Part:
    """Leases and expiries compare both clocks. SQLite has none of its own."""
    title = _("Clock")
    if connection.vendor != "postgresql":
        return Part(title, "ok", _("The database uses this machine's clock."))
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs: datetime = cursor.fetchone()[0]
    apart = abs(timezone.now() - theirs)
    told = _("%(seconds).1f s apart from the database's clock.") % {"seconds": apart.total_seconds()}
    if apart < CLOCKS_APART:
        return Part(title, "ok", told)
    return Part(title, "warn", told, _("Let both machines set their clocks by NTP."))


def look_at_log() -> Part:
    title, waiting = _("Prediction log"), log.waiting_bytes()
    told = _("%(size)s wait to be taken into the database.") % {"size": filesizeformat(waiting)}
    if waiting >> 20 < settings.MODELGATE_LOG_LAG_MIB:
        return Part(title, "ok", told)
    fix = _("The worker is away or too slow; predictions are recorded, and are seen later.")
    return Part(title, "warn", told, fix)


def look_at_cold() -> Part:
    """Whether the inputs of days that are over have left the database, and whether spare files are being deleted."""
    title = _("Older predictions")
    late = timezone.now() - COLD_LATE
    kept = ColdFile.objects.aggregate(
        files=Count("pk"), rows=Sum("rows", default=0), size=Sum("size", default=0)
    )
    told = _("Predictions in columnar files: %(rows)d; files: %(files)d; size: %(size)s.") % {
        **kept,
        "size": filesizeformat(kept["size"]),
    }
    if Leftover.objects.filter(due__lt=late).exists():
        fix = _("Files that are to be deleted cannot be: look at the storage, and at the log.")
        return Part(title, "warn", told, fix)
    if cold.due(late).exists():
        fix = _(
            "Older ones wait in the database to be moved: the worker is away or too slow, or the storage is full."
        )
        return Part(title, "warn", told, fix)
    return Part(title, "ok", told)
