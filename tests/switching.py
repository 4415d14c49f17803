"""Load on one model while its releases change: which web process gave which answer, when, and of which version."""

import http.client
import json
import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """One whole answer to the one question that is asked again and again."""

    ended: float  # as `time.monotonic` has it
    process: int
    version: int
    release: int
    said: str  # all its rows, without their ids

    @classmethod
    def of(cls, body: dict[str, Any], process: int) -> "Answer":
        rows = [{name: each[name] for name in sorted(each) if name != "id"} for each in body["predictions"]]
        said = json.dumps(_rounded(rows))
        return cls(time.monotonic(), process, body["version"], body["release"], said)


@dataclass
class Load:
    """Callers that ask without a pause over kept connections, as many to each web process."""

    port: int
    slug: str
    key: str
    body: bytes
    processes: int = 2
    callers: int = 4
    answers: list[Answer] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _held: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Load":
        for _each in range(self.callers):
            self._threads.append(threading.Thread(target=self._run, daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection, process = self._connect()
        while not self.stopped.is_set():
            try:
                connection.request("POST", f"/api/v1/models/{self.slug}/predict/", self.body, headers)
                response = connection.getresponse()
                told = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                with self._lock:
                    self._held[process] -= 1
                connection, process = self._connect()
                continue
            if response.status == 200:
                self.answers.append(Answer.of(json.loads(told), process))
            else:
                self.failed.append(f"{response.status} {told[:300]!r}")
        connection.close()

    def _connect(self) -> tuple[http.client.HTTPConnection, int]:
        """A connection to a process that has not its share of them yet; the kernel deals them out as it likes."""
        give_up = time.monotonic() + PATIENCE
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/livez")
                connection.getresponse().read()
                process = process_behind(self.port, connection.sock.getsockname()[1])
                with self._lock:
                    if self._held[process] < -(-self.callers // self.processes):
                        self._held[process] += 1
                        return connection, process
            connection.close()
            select.select([], [], [], 0.02)
            if time.monotonic() > give_up:
                raise AssertionError(f"no connection to every web process: {self._held}")

    def wait_for(self, is_true: Callable[[list[Answer]], bool], since: int) -> None:
        """Until the answers since that one are as wanted."""
        give_up = time.monotonic() + PATIENCE
        while not is_true(self.answers[since:]):
            if time.monotonic() > give_up:
                raise AssertionError(f"{len(self.answers)} answers; {self.failed[-3:]}")
            select.select([], [], [], 0.005)

    def first_of(self, release: int, since: int = 0) -> dict[int, float]:
        """When each web process gave its first whole answer under this release."""
        firsts: dict[int, float] = {}
        for answer in self.answers[since:]:
            if answer.release == release:
                firsts.setdefault(answer.process, answer.ended)
        return firsts


@dataclass
class Switching:
    """Rollbacks back and forth between two versions under load."""

    load: Load
    operator: str
    releases: dict[int, int] = field(default_factory=dict)  # number → version
    expected: dict[int, str] = field(default_factory=dict)  # version → what it says
    seconds: list[float] = field(default_factory=list)  # from confirming to each process's first new answer

    def learn(self) -> None:
        """What the version that serves now says: every caller has heard the same."""
        since = len(self.load.answers)
        self.load.wait_for(lambda new: len(new) >= 4 * self.load.callers, since)
        heard = {(one.release, one.version, one.said) for one in self.load.answers[since:]}
        if len(heard) != 1:
            raise AssertionError(f"nothing has changed, and there are {len(heard)} answers")
        ((release, version, said),) = heard
        self.releases[release], self.expected[version] = version, said

    def back_to(self, version: int) -> None:
        """Roll back, and wait until every web process has answered so."""
        since, confirmed = len(self.load.answers), time.monotonic()
        made = self._roll_back(version)
        self.releases[made["number"]] = version
        release = made["number"]
        self.load.wait_for(
            lambda new: len({one.process for one in new if one.release == release}) == self.load.processes,
            since,
        )
        self.seconds += [at - confirmed for at in self.load.first_of(release, since).values()]

    def mixed(self) -> list[Answer]:
        """Answers that name another version than their release has, or have rows that this version does not give."""
        return [
            one
            for one in self.load.answers
            if self.releases.get(one.release) != one.version or self.expected[one.version] != one.said
        ]

    def _roll_back(self, version: int) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.load.port, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {self.operator}", "Content-Type": "application/json"}
        body = json.dumps({"to": version, "reason": "Back and forth"})
        connection.request("POST", f"/api/v1/models/{self.load.slug}/rollback/", body, headers)
        response = connection.getresponse()
        told: dict[str, Any] = json.loads(response.read())
        connection.close()
        if response.status != 201:
            raise AssertionError(f"no rollback: {told}")
        return told


def process_behind(port: int, caller: int) -> int:
    """The process on this machine that holds the other end of a connection to `port`, asked by the caller's port."""
    ends = (f":{port:04X}", f":{caller:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (fields[1][-5:], fields[2][-5:]) == ends:
            return _holder_of(f"socket:[{fields[9]}]")
    raise OSError("the connection is gone")


def _holder_of(socket: str) -> int:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if any(os.readlink(one) == socket for one in (folder / "fd").iterdir()):
                    return int(folder.name)
    raise OSError("nobody holds the connection")


def _rounded(value: Any) -> Any:
    """Far finer than two versions differ, and coarser than what a sum in another order does."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
