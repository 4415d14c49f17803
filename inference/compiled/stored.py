"""A version's compiled form, opened once per process and kept.

A form whose file is missing, altered or unreadable is not used: the runner answers, which is exact, and the log says
so once a minute for as long as it lasts.
"""

import hashlib
import threading
import time
from collections import OrderedDict

import structlog

from inference.compiled.container import BadForm
from inference.compiled.form import UPLOAD, CompiledForm
from inference.models import stored_form
from registry import artifacts
from registry.errors import Refused
from registry.models import ModelVersion
from registry.schema import Label

logger = structlog.get_logger(__name__)

COMPILED = "compiled"
ENCODED = "encoded"
#: Engines of versions that a web process answers for by itself.
ENGINES = (COMPILED, UPLOAD)
#: And those whose rows it encodes at least.
WITH_FORM = (*ENGINES, ENCODED)
KEPT = 32
MOST_BYTES = 256 << 20  # of the files of open forms; an open one takes about twice its file
TRY_AGAIN_SECONDS = 60.0

#: The form, the uploaded graph where it is one of such, and the positive class; 1 and True are two classes.
Key = tuple[str, str | None, type | None, Label | None]


def form_of(version: ModelVersion) -> CompiledForm | None:
    """What answers for this version in this process; None where the runner does."""
    key = _key_of(version)
    return None if key is None else _forms.get(key)


def open_form_of(version: ModelVersion) -> CompiledForm | None:
    """The same without waiting: None also where the form is not open yet."""
    key = _key_of(version)
    return None if key is None else _forms.get_open(key)


def _key_of(version: ModelVersion) -> Key | None:
    stored = stored_form(version) if version.engine in WITH_FORM else None
    if stored is None:
        return None
    positive = (version.schema.get("target") or {}).get("positive")
    upload = version.opened[0] if version.engine == UPLOAD else None
    return stored.sha256, upload, type(positive), positive


def bytes_of(version: ModelVersion) -> int:
    """What the form's files take, its graph included."""
    stored = stored_form(version)
    size = stored.size if stored is not None else 0
    return size + (version.size if version.engine == UPLOAD else 0)


class _Forms:
    """Opened forms, the ones used last; one thread opens, those who want the same one wait for it, nobody else."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Key, tuple[CompiledForm, int]] = OrderedDict()
        self._opening: dict[Key, threading.Lock] = {}
        self._failed: dict[Key, float] = {}

    def get_open(self, key: Key) -> CompiledForm | None:
        with self._lock:  # held for moments only, never while a form is opened
            return self._known(key)

    def get(self, key: Key) -> CompiledForm | None:
        with self._lock:
            known = self._known(key)
            if known is not None or self._has_failed(key):
                return known
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:
            with self._lock:
                known = self._known(key)
                if known is not None or self._has_failed(key):
                    return known
            return self._add(key)

    def _known(self, key: Key) -> CompiledForm | None:
        if key not in self._open:
            return None
        self._open.move_to_end(key)
        return self._open[key][0]

    def _has_failed(self, key: Key) -> bool:
        return time.monotonic() < self._failed.get(key, 0.0)

    def _add(self, key: Key) -> CompiledForm | None:
        try:
            data, upload = _verified(key[0]), None if key[1] is None else _verified(key[1])
            form = CompiledForm(data, key[3], upload)
        except (BadForm, OSError, Refused) as error:
            logger.error("compiled_form_unusable", sha256=key[0], error=f"{type(error).__name__}: {error}")
            with self._lock:
                self._failed[key] = time.monotonic() + TRY_AGAIN_SECONDS
                self._opening.pop(key, None)
            return None
        with self._lock:
            self._open[key] = form, len(data) + len(upload or b"")
            self._failed.pop(key, None)
            self._opening.pop(key, None)
            self._let_go()
        return form

    def _let_go(self) -> None:
        held = sum(size for _form, size in self._open.values())
        while len(self._open) > KEPT or (held > MOST_BYTES and len(self._open) > 1):
            _key, (_form, size) = self._open.popitem(last=False)
            held -= size


def _verified(sha256: str) -> bytes:
    data = artifacts.local_path(sha256).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadForm("the stored bytes are not the ones that were checked")
    return data


_forms = _Forms()
