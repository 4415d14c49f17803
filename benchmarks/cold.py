"""What the columnar files spare the database, and what they cost: to write, and to look into.

    .venv/bin/python -m benchmarks.cold                            # 100,000 predictions without reasons, SQLite
    .venv/bin/python -m benchmarks.cold --explained 1              # each with its reasons
    .venv/bin/python -m benchmarks.cold --postgresql               # instead of SQLite, on a server of its own

Rows of 17 inputs are recorded as of three days ago and taken into the database as ever; then the tick's step moves
them. Printed: the size of the database before and after, each after VACUUM (on PostgreSQL that of the table with its
indexes), the files, the time of the step, and the time to find one prediction by its id, hot and cold.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from benchmarks import data
from tests.services import postgresql

if TYPE_CHECKING:
    from inference.logged import LoggedRow

CALL_ROWS = 100
LOOK_UPS = 300


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        os.environ["MODELGATE_DATA_DIR"] = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="modelgate-bench-")
        )
        os.environ["MODELGATE_LOG_LEVEL"] = "WARNING"
        if options.postgresql:
            os.environ["DATABASE_URL"] = stack.enter_context(postgresql())
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
        import django

        django.setup()
        try:
            _measure(options.rows, options.explained)
        finally:
            django.db.connections.close_all()


def _measure(count: int, explained: float) -> None:
    from django.core.management import call_command

    from inference import cold
    from inference.models import ColdFile

    call_command("migrate", verbosity=0)
    empty = _database_bytes()
    ids = _fill(count, explained)
    hot, hot_times = _database_bytes() - empty, _look_ups(ids)
    begun, used = time.perf_counter(), time.process_time()
    moved = cold.move_old(seconds=3600)
    took, used = time.perf_counter() - begun, time.process_time() - used
    files = list(ColdFile.objects.all())
    left, cold_times = _database_bytes() - empty, _look_ups(ids)
    kept = sum(file.size for file in files)
    print(f"moved {moved:,} of {count:,} predictions in {took:.1f} s ({used:.1f} s of processor time)")
    print(
        f"database {hot / 2**20:.1f} MiB → {left / 2**20:.1f} MiB, {len(files)} files of {kept / 2**20:.1f} MiB"
    )
    for name, times in (("hot", hot_times), ("cold", cold_times)):
        print(f"find one {name}: median {median(times):.1f} ms, p95 {quantiles(times, n=20)[-1]:.1f} ms")


def _fill(count: int, explained: float) -> list[str]:
    """Through the log, as answered calls come."""
    from inference import ids, log
    from inference.log import LoggedCall
    from tests import factories

    release = factories.create_release(version=factories.create_version(schema=_schema()))
    user = factories.create_user(email="business@example.com")
    dice, asked = random.Random(7), []
    noon = datetime.now(UTC).replace(hour=12) - timedelta(days=3)
    for rows in data.bodies(count // CALL_ROWS, CALL_ROWS):
        chances = [dice.random() for _row in rows]
        logged = [
            _row(public_id, row, chance, _why(row, dice) if dice.random() < explained else None)
            for public_id, row, chance in zip(ids.new_ids(len(rows)), rows, chances, strict=True)
        ]
        asked += [row["id"] for row in logged]
        log.record(
            LoggedCall(
                request_id=f"{dice.getrandbits(128):032x}",
                at=noon + timedelta(seconds=len(asked) / 100),
                model_id=release.model.pk,
                version_id=release.version.pk,
                release_id=release.pk,
                release_number=release.number,
                environment="production",
                channel="api",
                user_id=user.pk,
                user_name=str(user),
                key_id=None,
                key_name="nightly scores",
                status=200,
                latency_ms=1.5,
                asked=len(rows),
                rows=logged,
            )
        )
    log.ingest(wait=True)
    return asked


def _row(public_id: str, inputs: dict[str, Any], chance: float, why: dict[str, Any] | None) -> "LoggedRow":
    row: LoggedRow = {
        "id": public_id,
        "inputs": inputs,
        "label": int(chance > 0.5),
        "value": chance,
        "probabilities": {"0": 1 - chance, "1": chance},
        "warnings": [],
    }
    if why is not None:
        row["why"] = why
    return row


def _schema() -> dict[str, Any]:
    fields = [{"name": name, "type": _type(name), "required": False} for name in data.INPUTS]
    target = {"name": data.TARGET, "task": "classification", "classes": [0, 1], "positive": 1}
    return {"fields": fields, "target": target, "examples": []}


def _type(name: str) -> str:
    if name in data.WORDS:
        return "text"
    return "integer" if name in data._WHOLE else "number"


def _why(row: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    reasons = [
        {"field": name, "value": value, "contribution": dice.gauss(0, 1)} for name, value in row.items()
    ]
    return {"reasons": reasons, "base": 0.2, "scale": "probability"}


def _look_ups(ids: Sequence[str]) -> list[float]:
    """Milliseconds of each."""
    from inference import records

    dice, times = random.Random(3), []
    for public_id in dice.sample(ids, LOOK_UPS):
        begun = time.perf_counter()
        found = records.find(public_id)
        times.append((time.perf_counter() - begun) * 1000)
        assert found is not None and found.inputs
    return times


def _database_bytes() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM FULL inference_prediction")
            cursor.execute("SELECT pg_total_relation_size('inference_prediction')")
            return int(cursor.fetchone()[0])
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA page_count")
        pages = int(cursor.fetchone()[0])
        cursor.execute("PRAGMA page_size")
        return pages * int(cursor.fetchone()[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--explained", type=float, default=0.0, help="share of rows with reasons")
    parser.add_argument("--postgresql", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
