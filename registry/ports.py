"""What the registry must ask of the apps above, without knowing them: they fill these in `AppConfig.ready`."""

from collections.abc import Callable


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

    def fill(self, *, require_unmoved: Callable[[int], None], replay: Callable[[int], None]) -> None:
        self._require_unmoved, self._replay = require_unmoved, replay

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


checks = ChecksPort()
replay = ReplayPort()
