"""Which runner lives: a few per version, started when asked for, replaced when dead, stopped when idle or too large.

Versions that are to be kept have all their runners at all times; the others get one when somebody asks, and more when
all of theirs are busy.
"""

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
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
REST = 60.0
BACK_OFF = (0.0, 0.0, 0.2, 0.5, 1.0)  # seconds before the next start, after so many deaths within the window
DRAIN = 30.0
WATCH_SECONDS = 0.25
BASE_MEMORY = 1 << 30
LEAST_MEMORY = 2 << 30
MEMORY_PER_BYTE = 6
JAIL_MISSING = "jail_missing"
#: Formats that describe a model and run nothing by themselves: for these alone an administrator may lower the jail.
NO_PROGRAMS = ("skops", "onnx")


@dataclass(frozen=True)
class Settings:
    stores: tuple[Path, ...]
    idle: float = 900
    resident: int = 4 << 30
    copies: int = 1  # runners of one version
    is_jail_optional_for_skops_and_onnx: bool = False
    without: tuple[str, ...] = ()  # layers of the jail that a test leaves out

    def required(self, form: str) -> list[str]:
        """The layers of the jail without which a file of this format is not loaded."""
        if form in NO_PROGRAMS and self.is_jail_optional_for_skops_and_onnx:
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
    classes: tuple[Any, ...] = ()

    @classmethod
    def read(cls, data: Any) -> "Spec":
        if not isinstance(data, dict):
            raise Refusal("bad_request", "a spec is a mapping")
        try:
            admitted = tuple((str(module), str(name)) for module, name in data.get("admitted", ()))
            return cls(
                str(data["key"]),
                str(data["sha256"]),
                Path(data["path"]),
                str(data["format"]),
                admitted,
                tuple(data.get("classes", ())),
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
    """The place of one version: its runners, their recent deaths, and the lock under which they are replaced."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runners: list[Runner] = field(default_factory=list)
    deaths: deque[float] = field(default_factory=deque)
    rests_until: float = 0.0
    kept: Spec | None = None  # to be ready at all times, and as what
    is_retired: bool = False

    def died(self) -> None:
        """The fifth death within a minute lets the version rest for one."""
        now = time.monotonic()
        self.deaths.append(now)
        self._forget(now)
        if len(self.deaths) >= CRASHES:
            self.rests_until = now + REST
            self.deaths.clear()

    def rest(self) -> float:
        """How many seconds this version still rests."""
        return max(0.0, self.rests_until - time.monotonic())

    def back_off(self) -> float:
        """How many seconds to wait before the next start."""
        now = time.monotonic()
        self._forget(now)
        if not self.deaths:
            return 0.0
        return max(0.0, self.deaths[-1] + BACK_OFF[min(len(self.deaths), len(BACK_OFF) - 1)] - now)

    def _forget(self, now: float) -> None:
        while self.deaths and self.deaths[0] < now - CRASH_WINDOW:
            self.deaths.popleft()


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
        self._wanting = threading.Event()

    def start(self) -> None:
        self._zygote.start()
        threading.Thread(target=self._watch, name="watcher", daemon=True).start()
        threading.Thread(target=self._keep, name="keeper", daemon=True).start()

    def stop(self) -> None:
        self._zygote.stop()
        for runner in self._living():
            runner.kill()

    def get(self, spec: Spec, busy: Collection[str] = ()) -> Runner:
        """A runner of the version, started if need be; rather none of the `busy` generations.

        One client starts it, the others wait for the same one.
        """
        while True:
            seat = self._seat(spec.key)
            with seat.lock:
                if not seat.is_retired:
                    return self._seated(seat, spec, busy)

    def _seat(self, key: str) -> Seat:
        with self._lock:
            return self._seats.setdefault(key, Seat())

    def _seated(self, seat: Seat, spec: Spec, busy: Collection[str]) -> Runner:
        self._bury(seat)
        free = [runner for runner in seat.runners if runner.generation not in busy]
        if free:
            return min(free, key=lambda runner: runner.handed)
        if len(seat.runners) < self.settings.copies:
            try:
                return self._add(seat, spec)
            except Refusal:
                if not seat.runners:
                    raise
        return min(seat.runners, key=lambda runner: runner.handed)

    def _add(self, seat: Seat, spec: Spec) -> Runner:
        """One more runner, not before the version has rested from its crashes."""
        if rest := seat.rest():
            raise Refusal(
                "crash_loop", f"the model failed {CRASHES} times within a minute; it rests for {rest:.0f} s"
            )
        if pause := seat.back_off():
            threading.Event().wait(pause)
        try:
            runner = self._start(spec)
        except Refusal as refusal:
            if refusal.code != JAIL_MISSING:  # the machine's fault, and no crash of the model
                seat.died()
            raise
        seat.runners.append(runner)
        return runner

    def keep(self, specs: Sequence[Spec]) -> None:
        """Have these versions ready from now on; those that were kept before and are not named are retired."""
        wanted = {spec.key: spec for spec in specs}
        with self._lock:
            dropped = [key for key, seat in self._seats.items() if seat.kept and key not in wanted]
        for key in dropped:
            self.retire(key, DRAIN)
        for key, spec in wanted.items():
            self._seat(key).kept = spec
        self._wanting.set()

    def _keep(self) -> None:
        """Start what is to be kept and is not there: at once when told, and again and again when something died."""
        while True:
            self._wanting.wait(WATCH_SECONDS)
            self._wanting.clear()
            with self._lock:
                kept = [(seat, seat.kept) for seat in self._seats.values() if seat.kept is not None]
            for seat, spec in kept:
                with contextlib.suppress(Exception):  # it is in the log; others are still to be started
                    self._fill(seat, spec)

    def _fill(self, seat: Seat, spec: Spec) -> None:
        with seat.lock:
            self._bury(seat)
            if seat.is_retired or seat.rest() or seat.back_off():
                return
            if len(seat.runners) < self.settings.copies:
                self._add(seat, spec)
                self._wanting.set()

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
        lost = [runner for runner in list(seat.runners) if runner.generation == generation] if seat else []
        for runner in lost:
            runner.kill()
        return bool(lost)

    def retire(self, key: str, drain: float) -> None:
        """No new conversations; the running ones have `drain` seconds to end."""
        with self._lock:
            seat = self._seats.pop(key, None)
        if seat is None:
            return
        with seat.lock:  # whoever waits for this seat looks for another one
            seat.is_retired = True
            runners = list(seat.runners)
        for runner in runners:
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
            "resting": [key for key, seat in list(self._seats.items()) if seat.rest()],
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
            "optional_for_skops_and_onnx": self.settings.is_jail_optional_for_skops_and_onnx,
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
                parent = self._zygote.pid
                with self._lock:
                    self._count += 1
                    number = self._count
                return Runner(spec.key, f"{self._boot}-{number}", pid, control, parent), number
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
            "classes": list(spec.classes),
            "limits": {"memory": memory, "uid": uid},
            "required": self.settings.required(spec.format),
            "without": list(self.settings.without),
        }

    def _bury(self, seat: Seat) -> None:
        for runner in list(seat.runners):
            if not runner.is_alive():
                logger.warning("runner %s of %s has died", runner.pid, runner.key)
                runner.close()
                seat.runners.remove(runner)
                if self._zygote.is_alive(
                    runner.parent
                ):  # else it died with its parent, and no model is to blame
                    seat.died()

    def _living(self) -> list[Runner]:
        with self._lock:
            seated = [runner for seat in self._seats.values() for runner in list(seat.runners)]
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
        elif time.monotonic() - runner.used > self.settings.idle and not self._is_needed(runner):
            logger.info("runner %s of %s stopped: idle", runner.pid, runner.key)
            self.retire(runner.key, drain=0)

    def _is_needed(self, runner: Runner) -> bool:
        """Kept, or somebody's own."""
        seat = self._seats.get(runner.key)
        return runner in self._others or (seat is not None and seat.kept is not None)


def admitted_names() -> list[list[str]]:
    """The reviewed list of what a model file may name; a file beside the registry's code, not the registry itself."""
    text = resources.files("registry").joinpath("allowlist.json").read_text("utf-8")
    return [[module, name] for module, name in json.loads(text)["names"]]
