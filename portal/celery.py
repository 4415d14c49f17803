"""The Celery application: every task of the portal runs here.

The broker is a matter of settings (a folder, or Redis); what is written here holds on every installation. Messages
carry ids and nothing else, as JSON: a Celery that accepts pickle runs the code of whoever reaches its broker.
"""

import os
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import setup_logging, worker_init, worker_ready
from django_structlog.celery.steps import DjangoStructLogInitStep
from kombu.entity import Queue

from portal import spool

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
spool.register()


class RecordedTask(Task):
    """A task whose audit events say that a task did it, with the id of the request that asked for it."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from registry import audit  # Django's apps are not loaded when this module is

        request_id = structlog.contextvars.get_contextvars().get("request_id") or ""
        with audit.context(channel="task", request_id=request_id):
            return super().__call__(*args, **kwargs)


DEFAULT_QUEUE, BATCH_QUEUE, TICK_QUEUE = "modelgate", "modelgate-batch", "modelgate-tick"

#: Where processors are short, the worker gets a third of what the web server gets.
BACKGROUND = 5

app = Celery("modelgate", task_cls=RecordedTask)
app.set_default()  # in every thread, not only in the one that imports this
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,  # the row is the result
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_publish_retry=False,  # a broker that is down must not hold up a page; the tick publishes again
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    # Workers take from the queues in turn: neither the tick nor a person's check waits behind a long file.
    task_default_queue=DEFAULT_QUEUE,
    task_queues=[Queue(name) for name in (DEFAULT_QUEUE, BATCH_QUEUE, TICK_QUEUE)],
    task_routes={
        "inference.tasks.score_batch": {"queue": BATCH_QUEUE},
        "portal.tasks.tick": {"queue": TICK_QUEUE},
    },
)
app.steps["worker"].add(DjangoStructLogInitStep)
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**kwargs: Any) -> None:
    """Celery leaves logging alone when somebody listens here: Django's settings have set it up."""


@worker_init.connect
def make_way(**kwargs: Any) -> None:
    """Somebody waits for what the web server does; files and checks may take a little longer."""
    os.nice(BACKGROUND)


@worker_ready.connect
def tick_at_once(**kwargs: Any) -> None:
    """A fresh worker says that it lives, and takes up what its predecessor left, without waiting for beat."""
    app.send_task("portal.tasks.tick", expires=60)
