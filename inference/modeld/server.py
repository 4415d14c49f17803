"""The socket where our own processes ask for a runner. Whoever is not our user is turned away by the kernel's word."""

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from inference.runner import wire

from . import address
from .processes import Gone, Runner
from .supervisor import Refusal, Spec, Supervisor

logger = logging.getLogger("modeld")

PEER = struct.Struct("3i")
Message = dict[str, Any]


class AlreadyRunning(RuntimeError):
    """Another supervisor serves this socket."""


class Server:
    def __init__(self, path: Path, supervisor: Supervisor) -> None:
        self.path = path
        self.supervisor = supervisor
        self._operations: dict[str, Callable[[socket.socket, Message], None]] = {
            "ping": self._ping,
            "status": self._status,
            "connect": self._connect,
            "warm": self._warm,
            "fresh": self._fresh,
            "kill": self._kill,
            "retire": self._retire,
            "keep": self._keep,
        }

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; the lock falls with the process, however it ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._only_one(), _stop_signals() as stop, address.listen(self.path) as listener:
            self.supervisor.start()
            logger.info("listening on %s", self.path)
            poller = select.poll()
            poller.register(listener, select.POLLIN)
            poller.register(stop, select.POLLIN)
            while all(fd != stop for fd, _event in poller.poll()):
                client, _address = listener.accept()
                threading.Thread(target=self._converse, args=(client,), daemon=True).start()
            self.path.unlink(missing_ok=True)
            self.supervisor.stop()
            logger.info("stopped")

    @contextlib.contextmanager
    def _only_one(self) -> "Any":
        with open(self.path.with_name(self.path.name + ".lock"), "a") as lock:
            self._take(lock)
            yield

    def _take(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another model supervisor serves {self.path}") from None

    def _converse(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            if not _is_ours(client):
                wire.send(client, {"ok": False, "code": "forbidden", "error": "another user's process"})
                return
            while True:
                message = wire.receive(client)
                try:
                    operation = self._operations.get(str(message.get("op")))
                    if operation is None:
                        raise Refusal("bad_request", "no such operation")
                    operation(client, message)
                except Refusal as refusal:
                    wire.send(client, {"ok": False, "code": refusal.code, "error": str(refusal)})

    def _ping(self, client: socket.socket, _message: Message) -> None:
        wire.send(client, {"ok": True})

    def _status(self, client: socket.socket, _message: Message) -> None:
        wire.send(client, {"ok": True, **self.supervisor.status()})

    def _connect(self, client: socket.socket, message: Message) -> None:
        spec = Spec.read(message.get("spec"))
        for generation in _names(message.get("dead")):
            self.supervisor.lose(spec.key, generation)
        runner, conversation = self._open(spec, _names(message.get("busy")))
        introduction = {**_introduction(runner), "copies": self.supervisor.settings.copies}
        with conversation:
            wire.send(client, introduction, [conversation.fileno()])

    def _open(self, spec: Spec, busy: list[str]) -> tuple[Runner, socket.socket]:
        """Twice, because a runner may die between being found alive and being asked."""
        for attempt in (1, 2):
            runner = self.supervisor.get(spec, busy)
            try:
                return runner, runner.connect()
            except Gone as error:
                runner.kill()
                if attempt == 2:
                    raise Refusal("unavailable", str(error)) from None
        raise AssertionError("unreachable")

    def _warm(self, client: socket.socket, message: Message) -> None:
        wire.send(client, _introduction(self.supervisor.get(Spec.read(message.get("spec")))))

    def _fresh(self, client: socket.socket, message: Message) -> None:
        """The runner lives as long as this connection: a client that dies, or hangs up, takes its runner along."""
        runner = self.supervisor.fresh(Spec.read(message.get("spec")))
        try:
            try:
                conversation = runner.connect(only=True)
            except Gone as error:
                raise Refusal("unavailable", str(error)) from None
            with conversation:
                wire.send(client, _introduction(runner), [conversation.fileno()])
            with contextlib.suppress(wire.Closed):
                wire.receive(client)
        finally:
            self.supervisor.end(runner)

    def _kill(self, client: socket.socket, message: Message) -> None:
        self.supervisor.kill(str(message.get("key")), str(message.get("generation")))
        wire.send(client, {"ok": True})

    def _keep(self, client: socket.socket, message: Message) -> None:
        specs = message.get("specs")
        self.supervisor.keep([Spec.read(each) for each in specs] if isinstance(specs, list) else [])
        wire.send(client, {"ok": True})

    def _retire(self, client: socket.socket, message: Message) -> None:
        self.supervisor.retire(str(message.get("key")), float(message.get("drain", 30)))
        wire.send(client, {"ok": True})


def _names(generations: Any) -> list[str]:
    return [str(each) for each in generations] if isinstance(generations, list) else []


def _introduction(runner: Runner) -> Message:
    return {"ok": True, "generation": runner.generation, "pid": runner.pid, "facts": runner.facts}


def _is_ours(client: socket.socket) -> bool:
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    _pid, uid, _gid = PEER.unpack(credentials)
    return uid in (0, os.geteuid())


@contextlib.contextmanager
def _stop_signals() -> "Any":
    """A descriptor that becomes readable when we are asked to stop."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    previous = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
