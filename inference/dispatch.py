"""Hand work to Celery without depending on the broker: the row is the truth, the message only a hint."""

from functools import partial
from typing import Any

import structlog
from celery import Task, current_app
from django.db import transaction

logger = structlog.get_logger(__name__)


def enqueue(task: Task | str, *args: Any) -> None:
    """Publish once the transaction has committed; a broker that is down leaves the row for the tick to publish.

    A task may be given by its name, so that a verb need not import the module of tasks that calls it.
    """
    transaction.on_commit(partial(_publish, task, args))


def _publish(task: Task | str, args: tuple[Any, ...]) -> None:
    try:
        found = _named(task) if isinstance(task, str) else task
        found.apply_async(args=args, retry=False)
    except Exception:
        logger.exception("publish_failed", task=str(task), task_args=args)


def _named(name: str) -> Task:
    if name not in current_app.tasks:
        current_app.loader.import_default_modules()
    return current_app.tasks[name]
