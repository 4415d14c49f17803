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
KEPT = 32
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
    stored = stored_form(version) if version.engine in (COMPILED, UPLOAD) else None
    if stored is None:
        return None
    positive = (version.schema.get("target") or {}).get("positive")
    upload = version.opened[0] if version.engine == UPLOAD else None
    return stored.sha256, upload, type(positive), positive


class _Forms:
    """Opened forms, the ones used last; one thread opens, the others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Key, CompiledForm] = OrderedDict()
        self._failed: dict[Key, float] = {}

    def get_open(self, key: Key) -> CompiledForm | None:
        # No lock, which whoever opens another form may hold for long; the order is kept by those who can wait.
        return self._open.get(key)

    def get(self, key: Key) -> CompiledForm | None:
        with self._lock:
            known = self._open.get(key)
            if known is not None:
                self._open.move_to_end(key)
                return known
            if time.monotonic() < self._failed.get(key, 0.0):
                return None
            return self._add(key)

    def _add(self, key: Key) -> CompiledForm | None:
        try:
            upload = None if key[1] is None else _verified(key[1])
            form = CompiledForm(_verified(key[0]), key[3], upload)
        except (BadForm, OSError, Refused) as error:
            logger.error("compiled_form_unusable", sha256=key[0], error=f"{type(error).__name__}: {error}")
            self._failed[key] = time.monotonic() + TRY_AGAIN_SECONDS
            return None
        self._open[key] = form
        self._failed.pop(key, None)
        while len(self._open) > KEPT:
            self._open.popitem(last=False)
        return form


def _verified(sha256: str) -> bytes:
    data = artifacts.local_path(sha256).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadForm("the stored bytes are not the ones that were checked")
    return data


_forms = _Forms()
