"""How long a rollback takes until every web process answers with the other version, under load.

    .venv/bin/python -m benchmarks.rollbacks                # 50 rollbacks back and forth, two web processes
    .venv/bin/python -m benchmarks.rollbacks --model neighbours --rollbacks 10 --callers 8
    .venv/bin/python -m benchmarks.rollbacks --postgresql   # instead of SQLite, on a server of the benchmark's own

Two versions of one model go the whole way through checks and approval on a portal of the benchmark's own. Callers ask
one question of several rows over kept connections, without a pause and as many to each process. Measured from sending
the confirmation to the first whole answer of the target version, for each process. An answer is mixed when it names
another version than its release has, or has a row that this version does not give.

Exit code 1 when p95 is 2 s or more, when any call failed, or when any answer was mixed.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

import joblib
import orjson

from benchmarks import data, models
from benchmarks.portal import Portal
from tests.services import postgresql
from tests.switching import Load, Switching

SLUG = "loans"
WANTED_SECONDS = 2.0


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelgate-bench-")))
        if options.postgresql:
            os.environ["DATABASE_URL"] = stack.enter_context(postgresql())
        portal = Portal(work / "data", "--web-processes", str(options.processes))
        try:
            engines = _release_two(portal, options.model, work)
            print(f"{models.NAMES[options.model]}, answers by {' and '.join(engines)}", flush=True)
            return _measure(portal, options)
        finally:
            portal.stop()


def _release_two(portal: Portal, name: str, work: Path) -> list[str]:
    """Version 1 as it is, version 2 with the outcomes turned round, so that each row tells which one answered."""
    rows = models.training_rows(name)
    reference = work / "reference.csv"
    rows.to_csv(reference, index=False)
    turned = work / "turned.joblib"
    joblib.dump(
        models.pipeline(models.estimators()[name]).fit(rows[data.INPUTS], 1 - rows[data.TARGET]), turned
    )
    made = (portal.release(SLUG, each, reference, data.TARGET) for each in (models.make(name, work), turned))
    return [version["engine"] for version in made]


def _measure(portal: Portal, options: argparse.Namespace) -> int:
    port = urlsplit(portal.address).port
    assert port is not None
    body = orjson.dumps({"rows": data.bodies(1, options.rows)[0]})
    load = Load(port, SLUG, portal.keys["integrator"], body, options.processes, options.callers)
    with load:
        switching = Switching(load, portal.keys["operator"])
        switching.learn()
        switching.back_to(1)
        switching.learn()
        switching.seconds.clear()
        began, before = time.monotonic(), len(load.answers)
        for turn in range(options.rollbacks):
            switching.back_to(1 + (turn + 1) % 2)
        spent, answered = time.monotonic() - began, len(load.answers) - before
    mixed = switching.mixed()
    parts = quantiles(switching.seconds, n=100, method="inclusive")
    print(
        f"{options.rollbacks} rollbacks, {options.processes} web processes, {options.callers} callers, "
        f"{options.rows} rows a call: {answered} answers in {spent:.1f} s ({answered / spent:.0f}/s)"
    )
    print(
        f"confirm to new answer: p50 {1000 * parts[49]:.0f} ms  p95 {1000 * parts[94]:.0f} ms"
        f"  max {1000 * max(switching.seconds):.0f} ms (wanted: p95 under {WANTED_SECONDS:.0f} s)"
    )
    print(f"failed calls: {len(load.failed)}, mixed answers: {len(mixed)}")
    for one in [*load.failed[:3], *mixed[:3]]:
        print(f"  {one}")
    return int(bool(load.failed or mixed or parts[94] >= WANTED_SECONDS))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rollbacks", type=int, default=50)
    parser.add_argument("--model", choices=models.NAMES, default="logistic")
    parser.add_argument("--processes", type=int, default=2, help="web processes (default: %(default)s)")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--postgresql", action="store_true", help="on PostgreSQL instead of SQLite")
    parser.add_argument("--rows", type=int, default=10, help="of each call (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
