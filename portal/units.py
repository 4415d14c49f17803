"""The four processes of an installation, as command lines: `up` starts them together, production one by one."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from django.conf import settings

from registry import artifacts

MANAGE = Path(settings.BASE_DIR) / "manage.py"


def web(*, host: str, port: int, processes: int = 1) -> list[str]:
    return [
        *_python("uvicorn", "portal.asgi:application", "--http", "portal.server:Connection"),
        *("--host", host, "--port", str(port), "--workers", str(processes)),
        *("--loop", "uvloop", "--ws", "none", "--lifespan", "on", "--interface", "asgi3"),
        # Who called is told by our own settings, not by whoever writes a header.
        *("--no-proxy-headers", "--no-server-header", "--no-access-log", "--log-level", "warning"),
        *("--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "10"),
        *("--timeout-worker-healthcheck", "60"),  # a machine that is busy is no reason to kill
    ]


def worker(*, processes: int = 0, with_beat: bool = False) -> list[str]:
    """`with_beat` only where there is exactly one worker: two schedulers tick twice."""
    scheduler = ["--beat", *_beat_options()] if with_beat else []
    return [
        *_python("celery", "-A", "portal", "worker", *scheduler),
        *(
            "--concurrency",
            str(processes or worker_processes()),
            "-O",
            "fair",
            "--without-gossip",
            "--without-mingle",
        ),
    ]


def beat() -> list[str]:
    return [*_python("celery", "-A", "portal", "beat", *_beat_options()), "--pidfile="]


def modeld() -> list[str]:
    """Without Django and without settings: it gets a socket to listen on and the folders it may open."""
    stores = (Path(settings.MEDIA_ROOT) / "artifacts", artifacts.cache_root())
    return [
        *_python("inference.modeld", "--socket", settings.MODELGATE_MODELD_SOCKET),
        *("--runners", str(settings.MODELGATE_RUNNERS), "--memory", str(settings.MODELGATE_RUNNER_MIB)),
        *(word for store in stores for word in ("--store", str(store))),
        *(
            ["--jail-optional-for-skops-and-onnx"]
            if settings.MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX
            else []
        ),
    ]


def become(command: list[str]) -> NoReturn:
    """Go on as that process, so that its supervisor signals it and nobody in between."""
    os.chdir(settings.BASE_DIR)
    os.execv(command[0], command)


def worker_processes() -> int:
    """Enough to keep a short task from waiting behind a long one, few enough for a small machine."""
    return max(2, min(4, os.cpu_count() or 2))


def _beat_options() -> list[str]:
    return ["--schedule", settings.CELERY_BEAT_SCHEDULE_FILENAME]


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
