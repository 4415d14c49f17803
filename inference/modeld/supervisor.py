"""Which runner lives: one per version, started when asked for, replaced when dead, stopped when idle or too large."""

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from inference.runner import jail

from .processes import Gone, LoadFailed, Runner, Zygote
from .store import NotInStore, open_artifact

logger = logging.getLogger("modeld")

FIRST_UID = 60_000
UIDS = 1_000
CRASHES = 5
CRASH_WINDOW = 60.0
WATCH_SECONDS = 0.25
BASE_MEMORY = 1 << 30
LEAST_MEMORY = 2 << 30
MEMORY_PER_BYTE = 6
JAIL_MISSING = "jail_missing"


@dataclass(frozen=True)
class Settings:
    stores: tuple[Path, ...]
    idle: float = 900
    resident: int = 4 << 30
    is_jail_optional_for_skops: bool = False
    without: tuple[str, ...] = ()  # layers of the jail that a test leaves out

    def required(self, form: str) -> list[str]:
        """The layers of the jail without which a file of this format is not loaded."""
        if form == "skops" and self.is_jail_optional_for_skops:
            return []
        return [name for name in jail.REQUIRED if name not in self.without]


@dataclass(frozen=True)
class Spec:
    """What a client says about the version it wants."""

    key: str
    sha256: str
    path: Path
    format: str
    admitted: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, data: Any) -> "Spec":
        if not isinstance(data, dict):
            raise Refusal("bad_request", "a spec is a mapping")
        try:
            admitted = tuple((str(module), str(name)) for module, name in data.get("admitted", ()))
            return cls(
                str(data["key"]), str(data["sha256"]), Path(data["path"]), str(data["format"]), admitted
            )
        except (KeyError, TypeError, ValueError):
            raise Refusal("bad_request", "a spec needs key, sha256, path and format") from None


class Refusal(Exception):
    """The supervisor's no, with a code that the client maps to an error of its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Seat:
    """The place of one version: its runner, its recent deaths, and the lock under which it is replaced."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runner: Runner | None = None
    deaths: deque[float] = field(default_factory=deque)
    is_retired: bool = False


class Supervisor:
    def __init__(self, settings: Settings) -> None:
        self.settings = replace(settings, stores=tuple(store.absolute() for store in settings.stores))
        self.started = time.time()
        self._names = admitted_names()
        self._zygote = Zygote(self._names, settings.without)
        self._lock = threading.Lock()
        self._seats: dict[str, Seat] = {}
        self._others: set[Runner] = set()
        self._boot = secrets.token_hex(4)
        self._count = 0

    def start(self) -> None:
        self._zygote.start()
        threading.Thread(target=self._watch, name="watcher", daemon=True).start()

    def stop(self) -> None:
        self._zygote.stop()
        for runner in self._living():
            runner.kill()

    def get(self, spec: Spec) -> Runner:
        """The version's runner, started if need be. One client starts it, the others wait for the same one."""
        while True:
            with self._lock:
                seat = self._seats.setdefault(spec.key, Seat())
            with seat.lock:
                if not seat.is_retired:
                    return self._seated(seat, spec)

    def _seated(self, seat: Seat, spec: Spec) -> Runner:
        if seat.runner is not None and seat.runner.is_alive():
            return seat.runner
        self._bury(seat)
        self._refuse_crash_loop(seat)
        try:
            seat.runner = self._start(spec)
        except Refusal as refusal:
            if refusal.code != JAIL_MISSING:  # the machine's fault, and no crash of the model
                seat.deaths.append(time.monotonic())
            raise
        return seat.runner

    def fresh(self, spec: Spec) -> Runner:
        """A runner for one job alone, so that no row of one person can be remembered for another."""
        runner = self._start(spec)
        with self._lock:
            self._others.add(runner)
        return runner

    def end(self, runner: Runner) -> None:
        with self._lock:
            self._others.discard(runner)
        runner.close()

    def kill(self, key: str, generation: str) -> None:
        """Kill exactly the runner that kept somebody waiting; its successor is nobody's fault."""
        if self.lose(key, generation):
            logger.warning("runner of %s killed: over its deadline", key)

    def lose(self, key: str, generation: str) -> bool:
        """Never hand out this generation again: somebody saw it die, perhaps before we could."""
        seat = self._seats.get(key)
        runner = seat.runner if seat else None
        if runner is None or runner.generation != generation:
            return False
        runner.kill()
        return True

    def retire(self, key: str, drain: float) -> None:
        """No new conversations; the running ones have `drain` seconds to end."""
        with self._lock:
            seat = self._seats.pop(key, None)
        if seat is None:
            return
        with seat.lock:  # whoever waits for this seat looks for another one
            seat.is_retired = True
            runner = seat.runner
        if runner is None:
            return
        with self._lock:
            self._others.add(runner)
        timer = threading.Timer(drain, self.end, [runner])
        timer.daemon = True
        timer.start()

    def status(self) -> dict[str, Any]:
        living = self._living()
        return {
            "pid": os.getpid(),
            "started": self.started,
            "ready": self._zygote.is_ready(),
            "zygote": self._zygote.pid,
            "jail": self._jail(),
            "runners": [
                {
                    "key": runner.key,
                    "pid": runner.pid,
                    "generation": runner.generation,
                    "resident": runner.resident(),
                    "idle": time.monotonic() - runner.used,
                }
                for runner in living
                if runner.is_alive()
            ],
        }

    def _jail(self) -> dict[str, Any]:
        """Each layer, on or off, and the required ones that are off; None until it has been tried."""
        layers = self._zygote.layers
        return {
            "layers": layers,
            "missing": None if layers is None else jail.missing(layers),
            "optional_for_skops": self.settings.is_jail_optional_for_skops,
        }

    def _start(self, spec: Spec) -> Runner:
        started = time.monotonic()
        try:
            artifact = open_artifact(self.settings.stores, spec.path, spec.sha256)
        except NotInStore as error:
            raise Refusal("artifact", str(error)) from None
        try:
            runner, number = self._fork(spec)
            try:
                runner.load(self._order(spec, os.fstat(artifact).st_size, number), artifact)
            except LoadFailed as error:
                runner.close()
                raise Refusal(error.code, str(error)) from None
        finally:
            os.close(artifact)
        logger.info(
            "runner %s of %s ready in %.0f ms", runner.pid, spec.key, 1e3 * (time.monotonic() - started)
        )
        return runner

    def _fork(self, spec: Spec) -> tuple[Runner, int]:
        """Twice, because a zygote that died is noticed by asking it."""
        for attempt in (1, 2):
            try:
                pid, control = self._zygote.fork()
                with self._lock:
                    self._count += 1
                    number = self._count
                return Runner(spec.key, f"{self._boot}-{number}", pid, control), number
            except Gone as error:
                if attempt == 2:
                    raise Refusal("unavailable", str(error)) from None
        raise AssertionError("unreachable")

    def _order(self, spec: Spec, size: int, number: int) -> dict[str, Any]:
        uid = FIRST_UID + number % UIDS if self._zygote.drops_user else None
        memory = max(LEAST_MEMORY, BASE_MEMORY + MEMORY_PER_BYTE * size)
        return {
            "format": spec.format,
            "admitted": [*self._names, *[list(name) for name in spec.admitted]],
            "limits": {"memory": memory, "uid": uid},
            "required": self.settings.required(spec.format),
            "without": list(self.settings.without),
        }

    def _bury(self, seat: Seat) -> None:
        if seat.runner is None:
            return
        logger.warning("runner %s of %s has died", seat.runner.pid, seat.runner.key)
        seat.runner.close()
        seat.runner = None
        seat.deaths.append(time.monotonic())

    def _refuse_crash_loop(self, seat: Seat) -> None:
        """After the fifth death within a minute the version rests until a minute has passed since the first of them."""
        now = time.monotonic()
        while seat.deaths and seat.deaths[0] < now - CRASH_WINDOW:
            seat.deaths.popleft()
        if len(seat.deaths) >= CRASHES:
            wait = seat.deaths[0] + CRASH_WINDOW - now
            raise Refusal(
                "crash_loop", f"the model failed {CRASHES} times within a minute; it rests for {wait:.0f} s"
            )

    def _living(self) -> list[Runner]:
        with self._lock:
            seated = [seat.runner for seat in self._seats.values() if seat.runner is not None]
            return [*seated, *self._others]

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(WATCH_SECONDS):
            for runner in self._living():
                with contextlib.suppress(OSError):
                    self._check(runner)

    def _check(self, runner: Runner) -> None:
        if not runner.is_alive():
            return
        if runner.resident() > self.settings.resident:
            logger.warning("runner %s of %s killed: it occupies too much memory", runner.pid, runner.key)
            runner.kill()
        elif runner.has_worked():
            runner.used = time.monotonic()
        elif time.monotonic() - runner.used > self.settings.idle and runner not in self._others:
            logger.info("runner %s of %s stopped: idle", runner.pid, runner.key)
            self.retire(runner.key, drain=0)


def admitted_names() -> list[list[str]]:
    """The reviewed list of what a model file may name; a file beside the registry's code, not the registry itself."""
    text = resources.files("registry").joinpath("allowlist.json").read_text("utf-8")
    return [[module, name] for module, name in json.loads(text)["names"]]
