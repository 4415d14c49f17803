"""What one prediction costs the web process, and in which part of its way: processor time, in this one process.

    .venv/bin/python -m benchmarks.short_path
    .venv/bin/python -m benchmarks.short_path --models logistic --rows 1 100 --profile

A portal of its own releases the models; then the door of the web server is called here, over and over, with what a
server would hand it. No sockets and no other threads, so that whatever else runs on the machine hardly counts. Each
part is timed by wrapping its function, in runs of its own: the total is measured without.
"""

import argparse
import cProfile
import io
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import orjson

from benchmarks import data, models
from benchmarks.portal import Portal

BODIES = 100
#: Where each part of the way begins and ends. What is left over is the door itself: headers, calling, joining.
PARTS = {
    "parse": "registry.api.strict.loads",
    "mark": "registry.changes.known",
    "key": "portal.short_path._caller",
    "release": "inference.served.answering",
    "validate": "inference.validation.RowJudge.judge",
    "compute": "inference.engines.predict_checked",
    "log": "inference.log.record",
    "render": "portal.short_path.as_json",
}

Door = Callable[[bytes], bytes]


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        work = Path(
            options.work or stack.enter_context(tempfile.TemporaryDirectory(prefix="modelgate-bench-"))
        )
        work.mkdir(parents=True, exist_ok=True)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelgate-data-"))) / "data"
        portal = Portal(folder)
        stack.callback(portal.stop)
        for name in options.models:
            reference = work / f"{name}.csv"
            models.training_rows(name).to_csv(reference, index=False)
            portal.release(name, models.make(name, work), reference, data.TARGET)
        application = _application(folder)
        for name in options.models:
            for rows in options.rows:
                measure(application, name, portal.keys["integrator"], rows, options)


def measure(application: Any, name: str, key: str, rows: int, options: argparse.Namespace) -> None:
    """The whole way, then its parts."""
    asked = [
        orjson.dumps({"rows": each} if rows > 1 else {"inputs": each[0]})
        for each in data.bodies(BODIES, rows)
    ]
    door = _door(application, f"/api/v1/models/{name}/predict/", key)
    for body in asked:
        door(body)  # warms up
    total = _microseconds(door, asked, options.seconds)
    with timed_parts() as spent:
        calls = 0
        began = time.perf_counter()
        while time.perf_counter() - began < options.seconds:
            for body in asked:
                door(body)
            calls += len(asked)
    parts = {part: 1e6 * seconds / calls for part, seconds in spent.items()}
    parts["the rest"] = total - sum(parts.values())
    told = "  ".join(f"{part} {each:.0f}" for part, each in parts.items())
    print(f"{models.NAMES[name]}, {rows} rows a call: {total:.0f} µs  ({told})", flush=True)
    if options.profile:
        profile(door, asked)


def profile(door: Door, asked: Sequence[bytes]) -> None:
    """Which functions the time goes to."""
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    for _round in range(20):
        for body in asked:
            door(body)
    profiler.disable()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(30)


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Each part wrapped in a clock; the seconds so far, by part."""
    spent = dict.fromkeys(PARTS, 0.0)
    with ExitStack() as stack:
        for part, path in PARTS.items():
            function = _named(path)
            stack.enter_context(mock.patch(path, _timed(function, part, spent)))
        yield spent


def _timed(function: Any, part: str, spent: dict[str, float]) -> Any:
    clock = time.thread_time

    def timed(*given: Any, **named: Any) -> Any:
        began = clock()
        try:
            return function(*given, **named)
        finally:
            spent[part] += clock() - began

    return timed


def _named(path: str) -> Any:
    """A function of a module, or of a class in one."""
    words = path.split(".")
    length = len(words) - (2 if words[-2][0].isupper() else 1)
    found: Any = import_module(".".join(words[:length]))
    for word in words[length:]:
        found = getattr(found, word)
    return found


def _door(application: Any, path: str, key: str) -> Door:
    """The web server's door as a function of bodies; ends with what was answered when that is no prediction."""
    common = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": f"Bearer {key}",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
    }

    def ask(body: bytes) -> bytes:
        told: list[str] = []
        environ = {**common, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
        answer = b"".join(application(environ, lambda status, _headers: told.append(status)))
        if told != ["200 OK"]:
            sys.exit(f"{told}: {answer.decode()}")
        return answer

    return ask


def _application(folder: Path) -> Any:
    """The portal's, on the data of another process that released the models."""
    os.environ["MODELGATE_DATA_DIR"] = str(folder)
    os.environ["MODELGATE_LOG_LEVEL"] = "WARNING"
    return import_module("portal.wsgi").application


def _microseconds(door: Door, asked: Sequence[bytes], seconds: float) -> float:
    """Processor time of one call: the best of several rounds, for others can only make it longer."""
    best = float("inf")
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        started = time.process_time()
        for body in asked:
            door(body)
        best = min(best, time.process_time() - started)
    return 1e6 * best / len(asked)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(models.NAMES), choices=models.NAMES)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100])
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of each measurement (default: %(default)s)"
    )
    parser.add_argument("--profile", action="store_true", help="also print the functions that cost most")
    parser.add_argument("--work", help="a folder for the fitted models, kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
