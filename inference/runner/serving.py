"""One runner's life: enter the jail, open the model, say so, answer until nobody listens."""

import os
import socket
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from . import compiling, explaining, graphs, jail, limits, loading, scoring, together, wire

MAX_ERROR = 2000

#: Errors of our own, whose words need no name of a class before them.
SPEAKING = (
    jail.Missing,
    loading.NotAdmitted,
    loading.NotInstalled,
    scoring.NotServable,
    explaining.Unexplainable,
)


def run(control: socket.socket) -> None:
    """Never returns to the zygote's code: the caller exits the process afterwards."""
    order, fds = wire.receive_with_fds(control)
    try:
        scorer, ready = _prepare(order, fds[0])
    except BaseException as error:  # past the jail's door, everything raised is the model's doing
        wire.send(control, {"ok": False, "code": _code(error), "error": _text(error)})
        return
    wire.send(control, ready)
    line = together.Line(partial(_score, scorer), _failure)
    while True:
        message, fds = wire.receive_with_fds(control)
        for fd in fds:
            _open_conversation(socket.socket(fileno=fd), scorer, line, only=bool(message.get("only")))


Scorer = scoring.Scorer | graphs.GraphScorer


def _prepare(order: dict[str, Any], fd: int) -> tuple[Scorer, dict[str, Any]]:
    layers = jail.enter(limits.Limits(**order["limits"]), order["without"])
    jail.demand(layers, order["required"])
    started = time.perf_counter()
    scoring.notes.listen()
    scorer: Scorer
    with os.fdopen(fd, "rb") as file:
        if order["format"] == "onnx":
            scorer = graphs.GraphScorer(graphs.open_graph(file), order["classes"])
        else:
            admitted = frozenset((module, name) for module, name in order["admitted"])
            scorer = scoring.Scorer(loading.load(file, order["format"], admitted))
    return scorer, {
        "ok": True,
        "layers": layers,
        "versions": graphs.versions() if order["format"] == "onnx" else scoring.versions(),
        "warnings": scoring.notes.take(),
        "seconds": time.perf_counter() - started,
        **scorer.describe(),
    }


def _open_conversation(sock: socket.socket, scorer: Scorer, line: together.Line, *, only: bool) -> None:
    try:
        threading.Thread(target=_converse, args=(sock, scorer, line, only), daemon=True).start()
    except RuntimeError:  # no thread to be had: this client asks again, the others go on
        sock.close()


def _converse(sock: socket.socket, scorer: Scorer, line: together.Line, only: bool) -> None:
    """Answer one client."""
    try:
        while True:
            request = wire.receive(sock, wire.MAX_REQUEST)
            if only and "compile" in request:
                wire.send(
                    sock, _compiled(scorer, request["compile"], whole=request.get("whole") is not False)
                )
            elif "why" in request:
                wire.send(sock, _reasons(scorer, request))
            else:
                _answer(sock, line, request)
    except Exception:  # the client hung up or is not understood, or there is no memory left to answer it
        sock.close()
        if only:
            os._exit(0)


def _answer(sock: socket.socket, line: together.Line, request: dict[str, Any]) -> None:
    try:
        table = scoring.read_rows(request["rows"])
    except Exception as error:
        wire.send(sock, _failure(error))
        return

    letters = wire.Letters(sock)
    line.ask(table, letters.send, alone=bool(request.get("alone")))
    letters.finish()


def _reasons(scorer: Scorer, request: dict[str, Any]) -> dict[str, Any]:
    """Asked of a runner that does nothing else, so that nobody's answer waits for another's explanation."""
    try:
        why = request["why"]
        rows, background = scoring.read_rows(request["rows"]), scoring.read_rows(why["background"])
        found = scorer.reasoner.explain(
            rows, background, outputs=why["outputs"], seconds=float(why["seconds"])
        )
        return {"ok": True, **found}
    except Exception as error:
        return _failure(error)


def _score(scorer: Scorer, tables: Sequence[pa.Table]) -> list[dict[str, Any]]:
    scoring.notes.take()  # a joined call that failed left the warnings of others here
    answers = scorer.answer(tables)
    notes = scoring.notes.take()
    if len(tables) > 1:  # a warning may quote a value, and it would be another caller's
        notes = []
    return [{"ok": True, **answer, "warnings": notes} for answer in answers]


def _failure(error: BaseException) -> dict[str, Any]:
    return {"ok": False, "code": _code(error), "error": _text(error), "warnings": scoring.notes.take()}


def _compiled(scorer: Scorer, columns: list[list[str]], *, whole: bool) -> dict[str, Any]:
    """The model's compiled form for rows with these columns, or why there is none. Nobody else asks meanwhile."""
    started = time.perf_counter()
    typed = [(name, kind) for name, kind in columns]
    try:
        if isinstance(scorer, graphs.GraphScorer):
            form = compiling.compile_upload(scorer, typed)
        else:
            form = compiling.compile_form(scorer, typed, whole=whole)
        reply: dict[str, Any] = {"ok": True, "form": form}
    except compiling.NotCompiled as reason:
        reply = {"ok": True, "reason": str(reason)[:MAX_ERROR]}
    except Exception as error:  # attributes of a model may be anything
        reply = _failure(error)
    return {**reply, "seconds": time.perf_counter() - started}


def _code(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, jail.Missing):
        return "jail_missing"
    if isinstance(error, loading.NotAdmitted):
        return "not_admitted"
    if isinstance(error, loading.NotInstalled):
        return "not_installed"
    if isinstance(error, explaining.Unexplainable):
        return "unexplainable"
    return "not_servable" if isinstance(error, scoring.NotServable) else "failed"


def _text(error: BaseException) -> str:
    if isinstance(error, SPEAKING):
        return str(error)[:MAX_ERROR]
    return f"{type(error).__name__}: {error}"[:MAX_ERROR]
