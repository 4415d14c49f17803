"""Released versions are warm: their runners are up before somebody asks, and gone when nothing needs them."""

import structlog

from inference import compiled, runners
from inference.runners import crashing
from registry.errors import Refused
from registry.models import ModelVersion, Release

logger = structlog.get_logger(__name__)


def keep_released() -> None:
    """Tell the model supervisor what is released now; it starts, restarts and retires. Doing it again does no harm."""
    runners.keep(released())
    for version_id in runners.resting():
        crashing.tell(version_id)


def released() -> list[ModelVersion]:
    """The versions that answer somewhere from a runner, each once."""
    serving = Release.objects.answering().values("version")
    versions = ModelVersion.objects.filter(pk__in=serving, state=ModelVersion.State.CHECKED)
    return list(versions.exclude(engine__in=compiled.ENGINES).order_by("pk"))


def warm_up(**_signal: object) -> None:
    """After a release: at once, and without an error where the supervisor is away. The tick does it again."""
    try:
        keep_released()
    except (Refused, OSError) as error:
        logger.warning("release_not_warmed", error=str(error))
