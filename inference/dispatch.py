"""Hand work to Celery without depending on the broker: the row is the truth, the message only a hint."""

from functools import partial
from typing import Any

import structlog
from celery import Task
from django.db import transaction

logger = structlog.get_logger(__name__)


def enqueue(task: Task, *args: Any) -> None:
    """Publish once the transaction has committed; a broker that is down leaves the row for the tick to publish."""
    transaction.on_commit(partial(_publish, task, args))


def _publish(task: Task, args: tuple[Any, ...]) -> None:
    try:
        task.apply_async(args=args, retry=False)
    except Exception:
        logger.exception("publish_failed", task=task.name, task_args=args)
