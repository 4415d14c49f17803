"""The periodic tick: every part runs, whatever happens to the others; a broker that is down loses nothing."""

from datetime import timedelta
from typing import Any

import pytest
from celery import current_app
from django.utils import timezone
from django.utils.module_loading import import_string

from inference import dispatch, heartbeats
from inference.batches import leases, preparing, upkeep, verbs, working
from inference.models import BatchChunk, BatchJob, Heartbeat
from portal import tasks
from portal.celery import app
from registry import audit
from registry.models import AuditEvent, Release, User
from tests import factories
from tests.inference.batch_tools import rows_csv, start, use_runner


@pytest.fixture
def release(business: User) -> Release:
    return factories.create_release()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """What was handed to the broker, once the transaction had committed."""
    seen: list[tuple[str, tuple[Any, ...]]] = []

    def publish(task: Any, *args: Any) -> None:
        seen.append((task if isinstance(task, str) else task.name, args))

    monkeypatch.setattr(upkeep, "enqueue", publish)
    monkeypatch.setattr(verbs, "enqueue", publish)
    return seen


def test_its_parts_exist() -> None:
    assert all(callable(import_string(part)) for part in tasks.PARTS)


def test_beat_names_a_real_task_and_only_the_tick() -> None:
    app.loader.import_default_modules()
    assert [entry["task"] for entry in app.conf.beat_schedule.values()] == [tasks.tick.name]
    assert {tasks.tick.name, verbs.PREPARE, verbs.WORK} <= set(app.tasks)


def test_messages_are_json_and_nothing_else() -> None:
    assert app.conf.accept_content == ["json"] and app.conf.task_serializer == "json"


@pytest.mark.django_db
def test_a_part_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def fail() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(heartbeats, "beat_tick", fail)
    monkeypatch.setattr(upkeep, "requeue_lost", lambda: ran.append("upkeep"))
    parts = (
        "inference.heartbeats.beat_tick",
        "inference.nothing.here",
        "inference.batches.upkeep.requeue_lost",
    )
    monkeypatch.setattr(tasks, "PARTS", parts)

    tasks.tick()

    assert ran == ["upkeep"]


@pytest.mark.django_db
def test_a_heartbeat_is_fresh_for_a_while() -> None:
    assert not heartbeats.worker_is_alive()
    heartbeats.beat_tick()
    heartbeats.beat_tick()
    assert heartbeats.worker_is_alive()

    Heartbeat.objects.update(at=timezone.now() - timedelta(seconds=91))
    assert not heartbeats.worker_is_alive()


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_leaves_the_row_to_the_tick(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no broker")

    current_app.loader.import_default_modules()
    monkeypatch.setattr(current_app.tasks[verbs.PREPARE], "apply_async", refuse)

    job = start(release, business)

    assert BatchJob.objects.get(pk=job.pk).state == "uploaded"


@pytest.mark.django_db
def test_a_task_is_recorded_as_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(preparing, "prepare", lambda job: seen.append(audit.current_context().channel))

    current_app.loader.import_default_modules()
    current_app.tasks[verbs.PREPARE](1)

    assert seen == ["task"]


@pytest.mark.django_db
def test_a_quiet_job_is_published_again_and_a_busy_one_is_not(
    release: Release, business: User, published: list[Any]
) -> None:
    job = start(release, business)
    published.clear()
    upkeep.requeue_lost()
    assert published == []

    BatchJob.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    upkeep.requeue_lost()
    assert published == [(verbs.PREPARE, (job.pk,))]


@pytest.mark.django_db
def test_the_work_of_a_dead_process_is_published_at_once(
    release: Release, business: User, published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_runner(monkeypatch)
    job = start(release, business, rows_csv(20))
    preparing.prepare(job.pk)
    job.refresh_from_db()
    chunk = working.claim_next(job)
    assert chunk is not None
    published.clear()
    upkeep.requeue_lost()
    assert published == []

    host, pid, _started = leases.owner().rsplit(":", 2)
    BatchChunk.objects.filter(pk=chunk.pk).update(owner=f"{host}:{pid}:1")
    upkeep.requeue_lost()

    chunk.refresh_from_db()
    assert chunk.state == "todo" and published == [(verbs.WORK, (job.pk,))] * verbs.PARALLEL


def test_an_owner_elsewhere_is_never_taken_for_dead() -> None:
    host, pid, started = leases.owner().rsplit(":", 2)
    assert not leases.is_dead(leases.owner())
    assert leases.is_dead(f"{host}:{pid}:{int(started) + 1}")
    assert not leases.is_dead(f"other-{host}:{pid}:1") and not leases.is_dead("")


@pytest.mark.django_db(transaction=True)
def test_what_is_past_its_time_is_deleted_and_its_numbers_stay(
    release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry import storage
    from tests.inference.batch_tools import finish

    monkeypatch.setattr(dispatch, "_publish", lambda *args: None)
    use_runner(monkeypatch)
    job = finish(start(release, business))
    folder = storage.local_path(f"batches/{job.public_id}")
    assert folder is not None and list(folder.iterdir())
    BatchJob.objects.update(expires_at=timezone.now())

    upkeep.requeue_lost()

    job.refresh_from_db()
    assert (job.state, job.scored) == ("expired", 3) and not list(folder.iterdir())
    assert AuditEvent.objects.filter(action="batch.deleted").exists()
