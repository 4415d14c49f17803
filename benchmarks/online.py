"""Online predictions against the textbook's server and against the limit of the machine.

    .venv/bin/python -m benchmarks.online                  # every model, 1, 8 and 32 connections, 1 and 100 rows
    .venv/bin/python -m benchmarks.online --models logistic --connections 8 --seconds 2 --rounds 1
    .venv/bin/python -m benchmarks.online --memory         # ten released models in one process, first answers

Same model file, same rows, kept connections. The sides take turns, so whatever else runs here slows all of them
down alike: read the ratios. Server processor time stands beside throughput, for the load runs on the same cores.
The textbook's packages go into an environment of their own (`--work`, kept between runs) by uv, else by pip.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path

import orjson

from benchmarks import data, load, models
from benchmarks.load import Seen
from benchmarks.portal import ROOT, Portal

BODIES = 500
RIVALS = Path(__file__).with_name("rivals")
#: What the issue asks of us, as ratios to the textbook's throughput with one row and with a hundred.
WANTED = {"logistic": (20, 8), "forest": (40, 4), "boosted": (20, 8), "neighbours": (1, 1)}


@dataclass(frozen=True)
class Side:
    """One server that can be asked."""

    name: str
    address: str
    pid: int
    bodies: Path
    token: str = ""


def main() -> None:
    options = _options()
    load.require_wrk()
    with ExitStack() as stack:
        work = Path(
            options.work or stack.enter_context(tempfile.TemporaryDirectory(prefix="modelgate-bench-"))
        )
        work.mkdir(parents=True, exist_ok=True)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="modelgate-data-"))
        portal = Portal(Path(folder) / "data")
        stack.callback(portal.stop)
        if options.memory:
            measure_memory(portal, work)
        else:
            python = textbook_environment(work)
            for name in options.models:
                compare(portal, name, work, python, options)


def compare(portal: Portal, name: str, work: Path, python: Path, options: argparse.Namespace) -> None:
    """One model on all sides."""
    artifact = models.make(name, work)
    reference = work / f"{name}.csv"
    models.training_rows(name).to_csv(reference, index=False)
    version = portal.release(name, artifact, reference, data.TARGET)
    form = portal.form_of(name)
    print(f"\n{models.NAMES[name]} (answers by {version['engine']})")
    with ExitStack() as stack:
        servers = {"textbook": stack.enter_context(textbook(python, artifact))}
        if form:
            servers["bare ASGI"] = stack.enter_context(bare(form))
        for rows in options.rows:
            sides = _sides(portal, name, rows, work, servers)
            for connections in options.connections:
                found = take_turns(sides, connections, options.seconds, options.rounds)
                _print(name, rows, connections, found)


def take_turns(sides: Sequence[Side], connections: int, seconds: int, rounds: int) -> dict[str, Seen]:
    """Each side in turn, several rounds; the medians."""
    runs: dict[str, list[Seen]] = {side.name: [] for side in sides}
    for turn in range(rounds + 1):
        for side in sides:
            seen = load.run(
                side.address,
                side.bodies,
                connections=connections,
                seconds=seconds if turn else 1,  # the first one only warms up
                pid=side.pid,
                token=side.token,
            )
            if turn:
                runs[side.name].append(seen)
    return {name: Seen.of(each) for name, each in runs.items()}


def _sides(
    portal: Portal, name: str, rows: int, work: Path, servers: dict[str, tuple[str, int]]
) -> list[Side]:
    asked = data.bodies(BODIES if rows == 1 else 50, rows)
    ours, plain = work / f"ours-{rows}.jsonl", work / f"plain-{rows}.jsonl"
    ours.write_bytes(
        b"\n".join(orjson.dumps({"rows": each} if rows > 1 else {"inputs": each[0]}) for each in asked)
    )
    plain.write_bytes(b"\n".join(orjson.dumps({"rows": each} if rows > 1 else each[0]) for each in asked))
    call = "predict_rows" if rows > 1 else "predict"
    sides = [Side(other, f"{address}/{call}", pid, plain) for other, (address, pid) in servers.items()]
    return [Side("modelgate", portal.path(name), portal.web, ours, portal.keys["integrator"]), *sides]


def _print(name: str, rows: int, connections: int, found: dict[str, Seen]) -> None:
    print(f"  {rows} row{'s' if rows > 1 else ''} a call, {connections} connections")
    for side, seen in found.items():
        failed = f"  {seen.failed} FAILED" if seen.failed else ""
        print(
            f"    {side:10} {seen.throughput:8.0f}/s   p50 {seen.p50:8.2f}  p95 {seen.p95:8.2f}"
            f"  p99 {seen.p99:8.2f} ms   {seen.cpu:7.2f} CPU s for 1,000{failed}"
        )
    ours, textbook_seen, limit = found["modelgate"], found["textbook"], found.get("bare ASGI")
    wanted = WANTED[name][rows > 1]
    line = f"    → {ours.throughput / textbook_seen.throughput:.1f}× the textbook (wanted {wanted}×)"
    line += f", p99 {textbook_seen.p99 / ours.p99:.1f}× shorter"
    if limit:
        line += f", {ours.throughput / limit.throughput:.2f} of the limit (wanted 0.33)"
    print(line, flush=True)


# --- the other servers ---


def textbook_environment(work: Path) -> Path:
    """The Python of an environment with the textbook's packages, in the versions that made the model."""
    folder = work / "textbook"
    python = folder / "bin" / "python"
    wanted = ["fastapi", "uvicorn[standard]"]
    wanted += [f"{name}=={version_of(name)}" for name in ("scikit-learn", "numpy", "pandas", "joblib")]
    if not python.exists():
        if shutil.which("uv"):
            subprocess.run(["uv", "venv", "-q", "-p", sys.executable, str(folder)], check=True)
            subprocess.run(["uv", "pip", "install", "-q", "-p", str(python), *wanted], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True)
    return python


@contextmanager
def textbook(python: Path, artifact: Path) -> Iterator[tuple[str, int]]:
    command = [str(python), "-m", "uvicorn", "textbook:app", "--log-level", "warning", "--no-access-log"]
    with _server(command, RIVALS, {"MODEL": str(artifact)}) as server:
        yield server


@contextmanager
def bare(form: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "uvicorn", "benchmarks.rivals.bare:app"]
    command += ["--log-level", "warning", "--no-access-log", "--lifespan", "off"]
    with _server(command, ROOT, {"FORM": str(form), "POSITIVE": "1"}) as server:
        yield server


@contextmanager
def _server(command: list[str], folder: Path, environ: dict[str, str]) -> Iterator[tuple[str, int]]:
    """A server on a free port of this machine, and its process."""
    port = _free_port()
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "MODELGATE_DATA_DIR": tempfile.gettempdir() + "/modelgate-bare", **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(address, process)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_it_answers(address: str, process: subprocess.Popen[bytes]) -> None:
    for _time in range(600):
        try:
            urllib.request.urlopen(f"{address}/predict", timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None:
                sys.exit("a rival's server ended")
            time.sleep(0.1)
    sys.exit("a rival's server did not start")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# --- memory, and the first answer after a release ---


def measure_memory(portal: Portal, work: Path) -> None:
    """Ten released models in one web process, all of them different; for each, how long the first answer takes."""
    kinds = ["forest", "logistic", "forest", "boosted"]
    reference = work / "reference.csv"
    models.training_rows("logistic").head(5_000).to_csv(reference, index=False)
    inputs = orjson.dumps({"inputs": data.bodies(1)[0][0]})
    before = load.memory_mib(load.tree(portal.web))
    for place in range(10):
        kind = kinds[place % len(kinds)]
        slug = f"{kind}-{place}"
        version = portal.release(slug, models.make(kind, work, place + 1), reference, data.TARGET)
        first, second = _answer_ms(portal, slug, inputs), _answer_ms(portal, slug, inputs)
        held = load.memory_mib(load.tree(portal.web))
        print(
            f"{place + 1:2} {slug:14} {version['engine']:9} first answer {first:7.1f} ms, second {second:6.1f} ms; "
            f"web {held:6.0f} MiB",
            flush=True,
        )
    held = load.memory_mib(load.tree(portal.web))
    print(f"web process: {before:.0f} MiB empty, {held:.0f} MiB with ten models (wanted: under 600)")


def _answer_ms(portal: Portal, slug: str, body: bytes) -> float:
    headers = {"Authorization": f"Bearer {portal.keys['integrator']}", "Content-Type": "application/json"}
    request = urllib.request.Request(portal.path(slug), body, headers)
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - began)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(models.NAMES), choices=models.NAMES)
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100])
    parser.add_argument("--seconds", type=int, default=4, help="of one run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", help="a folder for models and the textbook's environment, kept")
    parser.add_argument("--memory", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
