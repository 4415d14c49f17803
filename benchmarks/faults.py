"""What faults cost: parts of an installation are killed with -9 under load, and its disk is filled.

    .venv/bin/python -m benchmarks.faults --rounds 20 [--fault web --fault disk] [--seed 1]

Every installation runs on a PostgreSQL and a Redis of its own. Each round lets answers come, strikes at a random
moment, brings the part back (what the installation brings back by itself is left to it) and waits for answers again.
At the end of each fault every answered id is looked up. Exit code 1 when an answered prediction is not recorded, is
recorded or counted twice, or when answers do not come back.

Needs root for the full disk (a small tmpfs under the log); without it that fault is left out and said so.
"""

import argparse
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.modeld import address
from inference.runner import wire
from tests import services
from tests.inference.installation import TRAIN, Installation
from tests.inference.load import KEY, RECORDED, Load, free_port

CALLERS = 4
ENOUGH = 30  # answered rows before and after each strike
PATIENCE = 120.0


class Daemon:
    """A server of the system that may be killed and comes back on the same port, with the same data."""

    def __init__(self, command: list[str], user: str | None, is_ready: Callable[[], bool]) -> None:
        self.command, self.user, self.is_ready = command, user, is_ready
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            user=self.user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if not services.wait_for(self.is_ready, seconds=60):
            raise RuntimeError(f"{self.command[0]} did not start")

    def kill(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[Daemon, str]]:
    initdb = services.required("initdb", "postgresql")
    user, port, data = services._unprivileged(), free_port(), folder / "data"
    folder.mkdir()
    if user:
        shutil.chown(folder, user)
    command = [initdb, "-D", str(data), "-U", "modelgate", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    postgres = [str(Path(initdb).with_name("postgres")), "-D", str(data), "-p", str(port), "-k", str(folder)]
    daemon = Daemon(
        [*postgres, "-c", "listen_addresses=127.0.0.1"], user, lambda: services._accepts_queries(port)
    )
    daemon.start()
    try:
        yield daemon, f"postgres://modelgate@127.0.0.1:{port}/postgres"
    finally:
        daemon.kill()


@contextmanager
def redis(folder: Path) -> Iterator[tuple[Daemon, str]]:
    server, port = services.required("redis-server", "redis-server"), free_port()
    folder.mkdir()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    daemon = Daemon(command, None, lambda: services._answers_ping(port))
    daemon.start()
    try:
        yield daemon, f"redis://127.0.0.1:{port}/0"
    finally:
        daemon.kill()


@dataclass
class Site:
    """One installation under load, and the ways to hurt it."""

    place: Installation
    load: Load
    database: Daemon
    broker: Daemon
    random: random.Random
    units: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        more = {"web": ("--port", str(self.load.port), "--web-processes", "2"), "worker": ("--with-beat",)}
        self.units[name] = self.place.start(name, *more.get(name, ()))

    def strike_unit(self, name: str) -> None:
        self.place.kill(self.units[name])
        self.start(name)

    def strike_daemon(self, daemon: Daemon) -> None:
        daemon.kill()
        self.breathe()
        daemon.start()

    def strike_runner(self) -> None:
        for runner in self.modeld()["runners"]:
            _kill(runner["pid"])

    def strike_zygote(self) -> None:
        _kill(self.modeld()["zygote"])

    def modeld(self) -> dict[str, Any]:
        with address.connect(self.place.folder / "run" / "modeld.sock", 10) as sock:
            wire.send(sock, {"op": "status"})
            return wire.receive(sock, deadline=wire.Deadline(10))

    def fill_disk(self) -> None:
        """Until calls are refused; then there is room again."""
        before = len(self.load.refused)
        full = self.place.folder / "log" / "predictions" / "full"
        with suppress(OSError), full.open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass
        try:
            if not services.wait_for(lambda: len(self.load.refused) > before, seconds=PATIENCE):
                raise RuntimeError("a full disk refused nothing")
        finally:
            full.unlink()

    def breathe(self) -> None:
        """A random moment."""
        select.select([], [], [], self.random.uniform(0, 0.7))

    def wait_for_answers(self) -> None:
        self.load.wait_for(len(self.load.answered) + ENOUGH, PATIENCE)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


FAULTS: dict[str, Callable[[Site], None]] = {
    "web": lambda site: site.strike_unit("web"),
    "runner": Site.strike_runner,
    "modeld": lambda site: site.strike_unit("modeld"),
    "zygote": Site.strike_zygote,
    "worker": lambda site: site.strike_unit("worker"),
    "redis": lambda site: site.strike_daemon(site.broker),
    "postgresql": lambda site: site.strike_daemon(site.database),
    "disk": Site.fill_disk,
}


@contextmanager
def running(folder: Path, seed: int, *, has_small_disk: bool) -> Iterator[Site]:
    with (
        postgresql(folder / "pg") as (database, database_url),
        redis(folder / "redis") as (broker, redis_url),
        Installation(folder / "data", DATABASE_URL=database_url, REDIS_URL=redis_url) as place,
        _small_disk(place.folder / "log" / "predictions", wanted=has_small_disk),
    ):
        place.folder.mkdir(exist_ok=True)
        place.manage("migrate")
        slug, key = place.run(TRAIN), place.run(KEY).splitlines()[-1]
        load = Load(free_port(), f"/api/v1/models/{slug}/predict/", key, place.folder / "web.log")
        site = Site(place, load, database, broker, random.Random(seed))
        for name in ("modeld", "web", "worker"):
            site.start(name)
        yield site
        load.stopped.set()
        for process in site.units.values():
            place.kill(process)


@contextmanager
def _small_disk(folder: Path, *, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@dataclass(frozen=True)
class Result:
    """What one fault cost."""

    fault: str
    rounds: int
    answered: int
    recorded: int
    lost: int
    doubled: int
    refused: Counter[int]
    longest: float  # seconds from a strike to the next answers
    trouble: str = ""

    @property
    def is_bad(self) -> bool:
        return bool(self.lost or self.doubled or self.trouble or not self.answered)

    def line(self) -> str:
        refused = " ".join(f"{status}:{count}" for status, count in sorted(self.refused.items())) or "0"
        numbers = f"{self.rounds:>6} {self.answered:>9} {self.recorded:>9} {self.lost:>5} {self.doubled:>8}"
        return f"{self.fault:<11}{numbers} {self.longest:>9.1f}  {refused} {self.trouble}"


def suffer(fault: str, rounds: int, seed: int) -> Result:
    """All rounds of one fault, on an installation of its own."""
    with tempfile.TemporaryDirectory(prefix="mg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # PostgreSQL runs as another user
        with running(Path(name), seed, has_small_disk=fault == "disk") as site:
            callers = [threading.Thread(target=site.load.run, daemon=True) for _each in range(CALLERS)]
            for caller in callers:
                caller.start()
            struck_times, longest, trouble = 0, 0.0, ""
            try:
                site.wait_for_answers()
                for _round in range(rounds):
                    site.breathe()
                    FAULTS[fault](site)
                    struck, struck_times = time.monotonic(), struck_times + 1
                    site.wait_for_answers()
                    longest = max(longest, time.monotonic() - struck)
            except (AssertionError, RuntimeError, OSError) as error:
                trouble = f"{type(error).__name__}: {str(error)[:300]}"
            site.load.stopped.set()
            for caller in callers:
                caller.join(60)
            return _count(site, fault, struck_times, longest, trouble)


def _count(site: Site, fault: str, rounds: int, longest: float, trouble: str) -> Result:
    for unit in ("web", "worker"):
        site.place.kill(site.units[unit])
    asked = site.place.folder / "asked.json"
    asked.write_text(json.dumps(site.load.answered))
    found = json.loads(site.place.run(RECORDED, str(asked)))
    twice = len(site.load.answered) - len(set(site.load.answered)) + found["rows"] - found["ids"]
    return Result(
        fault=fault,
        rounds=rounds,
        answered=len(site.load.answered),
        recorded=found["rows"],
        lost=len(found["missing"]),
        doubled=twice + abs(found["counted"] - found["rows"]),
        refused=Counter(site.load.refused),
        longest=longest,
        trouble=trouble,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="of each fault (default: %(default)s)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="repeatable (default: all)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}, {CALLERS} callers, rows of predictions", flush=True)
    print(
        "fault      rounds  answered  recorded  lost  doubled  longest s  refused calls by status", flush=True
    )
    bad = False
    for fault in options.fault or FAULTS:
        if fault == "disk" and os.geteuid() != 0:
            print("disk       left out: mounting a small disk needs root", flush=True)
            continue
        result = suffer(fault, options.rounds, options.seed)
        bad = bad or result.is_bad
        print(result.line(), flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
