"""What the registry must ask of the apps above, without knowing them: they fill these in `AppConfig.ready`."""

from collections.abc import Callable, Sequence
from typing import Any


class ChecksPort:
    """Starts the checks of a version: `fill(start)` once, `start(version_id)` inside the transaction that asks."""

    def __init__(self) -> None:
        self._start: Callable[[int], None] | None = None

    def fill(self, start: Callable[[int], None]) -> None:
        self._start = start

    def start(self, version_id: int) -> None:
        if self._start is None:
            raise RuntimeError("nobody filled registry.ports.checks; is `inference` in INSTALLED_APPS?")
        self._start(version_id)


class ReplayPort:
    """Asks whether a version still gives its golden answers. Both raise Refused, with a sentence, where it does not.

    Asked before the transaction of an act begins: what they find out must stay when the act is refused.
    """

    def __init__(self) -> None:
        self._require_unmoved: Callable[[int], None] | None = None
        self._replay: Callable[[int], None] | None = None
        self._prepare: Callable[[Any], None] | None = None

    def fill(
        self,
        *,
        require_unmoved: Callable[[int], None],
        replay: Callable[[int], None],
        prepare: Callable[[Any], None],
    ) -> None:
        self._require_unmoved, self._replay, self._prepare = require_unmoved, replay, prepare

    def require_unmoved(self, version_id: int) -> None:
        """Known to agree in today's environment, or found to agree now."""
        if self._require_unmoved is None:
            raise RuntimeError("nobody filled registry.ports.replay; is `inference` in INSTALLED_APPS?")
        self._require_unmoved(version_id)

    def replay(self, version_id: int) -> None:
        """Found to agree now, whatever was known before."""
        if self._replay is None:
            raise RuntimeError("nobody filled registry.ports.replay; is `inference` in INSTALLED_APPS?")
        self._replay(version_id)

    def prepare(self, version: Any) -> None:
        """Somebody looks at what may be let through next: have the verdict ready for the act."""
        if self._prepare is not None:
            self._prepare(version)


class GatesPort:
    """The quality gates of a version, as they were judged against what serves in an environment."""

    def __init__(self) -> None:
        self._results: Callable[[Any, str], list[dict[str, Any]]] | None = None
        self._start: Callable[[int], None] | None = None

    def fill(self, results: Callable[[Any, str], list[dict[str, Any]]], start: Callable[[int], None]) -> None:
        self._results, self._start = results, start

    def results(self, version: Any, environment: str) -> list[dict[str, Any]]:
        """One entry for each gate, with `passed` and `words`; Refused `gates_pending` while they are being judged."""
        if self._results is None:
            raise RuntimeError("nobody filled registry.ports.gates; is `inference` in INSTALLED_APPS?")
        return self._results(version, environment)

    def start(self, model_id: int) -> None:
        """Judge again what was judged under another policy or against another version."""
        if self._start is not None:
            self._start(model_id)


class SendersPort:
    """How often fields were sent lately: for a preview, which does without where nobody can say."""

    def __init__(self) -> None:
        self._count: Callable[[Any, Sequence[str]], list[tuple[str, int, int]]] | None = None

    def fill(self, count: Callable[[Any, Sequence[str]], list[tuple[str, int, int]]]) -> None:
        self._count = count

    def count(self, release: Any, fields: Sequence[str]) -> list[tuple[str, int, int]]:
        """For each field: its name, predictions of the last day that sent it to this release, and by how many."""
        return self._count(release, fields) if self._count else []


checks = ChecksPort()
gates = GatesPort()
replay = ReplayPort()
senders = SendersPort()
