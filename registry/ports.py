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


checks = ChecksPort()
