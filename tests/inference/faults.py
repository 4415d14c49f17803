"""Ways to hurt an installation under load: parts are killed with -9, its disk is filled; and what that cost.

The suite strikes each part once, `benchmarks/faults.py` as often as it is told.
"""

import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.modeld import address
from inference.runner import wire
from tests import processes, services
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


@dataclass(frozen=True)
class Count:
    """Answered predictions, and what is known of them afterwards; doubled ones are recorded or counted twice."""

    answered: int
    recorded: int
    lost: int
    doubled: int

    @property
    def is_exact(self) -> bool:
        return bool(self.answered) and not (self.lost or self.doubled)


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

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Needs no root: no file of the web processes may grow, as a full disk has it."""
        longest = max(path.stat().st_size for path in self.place.folder.glob("log/predictions/*.seg"))
        self._limit_files(longest + 4096)
        try:
            yield
        finally:
            self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        for pid in processes.of_session(self.units["web"].pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    @contextmanager
    def callers(self) -> Iterator[None]:
        """People ask without a pause."""
        threads = [threading.Thread(target=self.load.run, daemon=True) for _each in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.load.stopped.set()
            for thread in threads:
                thread.join(60)

    def count(self) -> "Count":
        """Every answered id looked up, once nobody answers any more."""
        for unit in ("web", "worker"):
            self.place.kill(self.units[unit])
        asked, answered = self.place.folder / "asked.json", self.load.answered
        asked.write_text(json.dumps(answered))
        found = json.loads(self.place.run(RECORDED, str(asked)))
        twice = len(answered) - len(set(answered)) + found["rows"] - found["ids"]
        return Count(
            answered=len(answered),
            recorded=found["rows"],
            lost=len(found["missing"]),
            doubled=twice + abs(found["counted"] - found["rows"]),
        )

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
