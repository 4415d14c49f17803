"""The System check page: each part by itself, the jail layer by layer, and a banner where it was lowered."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from inference import heartbeats, log
from inference.models import Heartbeat
from inference.runners import Client as Supervisor
from portal import system, tasks
from registry import storage
from registry.models import User

pytestmark = pytest.mark.django_db

LAYERS = {
    "landlock": "off: Function not implemented",
    "seccomp": "on: 450 instructions",
    "rlimits": "on: AS=1",
    "no_new_privs": "on",
    "network": "off: Operation not permitted",
}


def says(monkeypatch: pytest.MonkeyPatch, optional: bool = False, missing: Any = None) -> None:
    """The model supervisor answers this."""
    found = {"landlock": LAYERS["landlock"]} if missing is None else missing
    jail = {"layers": LAYERS, "missing": found, "optional_for_skops_and_onnx": optional}
    monkeypatch.setattr(Supervisor, "status", lambda self: {"jail": jail, "runners": []})


def part(title: str) -> system.Part:
    return next(each for each in system.parts() if each.title == title)


def test_the_page_names_each_part_and_each_layer_with_what_to_do(
    operator: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch)
    client.force_login(operator)

    text = client.get("/system/").content.decode()

    for word in ("Database", "Storage", "Broker", "Scheduler", "Worker", "Model service", "Disk", "Clock"):
        assert f'<th scope="row">{word}</th>' in text
    assert "no model is loaded" in text
    assert "off: Function not implemented" in text and "needs Linux 5.13 or later" in text
    assert "lets users make namespaces" in text
    assert "scikit-learn" in text and "Python" in text
    assert "3 parts do not work" in text  # the model service, and nobody beats


def test_everything_works(client: Client, operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, missing={})
    monkeypatch.setattr(tasks, "PARTS", ["inference.heartbeats.beat_tick"])
    tasks.tick(by="beat")

    states = {each.title: each.state for each in system.parts()}

    assert set(states.values()) == {"ok"}, states


def test_a_worker_that_starts_is_no_sign_of_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PARTS", ["inference.heartbeats.beat_tick"])
    tasks.tick()

    assert part("Worker").state == "ok"
    assert (part("Scheduler").state, heartbeats.last(heartbeats.BEAT)) == ("bad", None)


def test_an_old_sign_of_life_is_none() -> None:
    heartbeats.beat_tick()
    Heartbeat.objects.update(at=timezone.now() - timedelta(minutes=5))

    found = part("Worker")

    assert found.state == "bad"
    assert "300 s ago" in found.told and "manage.py worker" in found.fix


def test_a_storage_that_keeps_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(key: str, path: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "put", full)

    assert part("Storage").state == "bad"


def test_the_probe_of_the_storage_leaves_nothing() -> None:
    assert part("Storage").state == "ok"
    assert storage.names("system-check") == []


def test_a_broker_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_options: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(system.app, "connection_for_write", away)

    assert "Nothing is lost" in part("Broker").fix


@pytest.mark.parametrize(("free", "state"), [(100 << 30, "ok"), (2 << 30, "warn"), (1 << 20, "bad")])
def test_the_disk_is_told_before_it_is_full(monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = SimpleNamespace(total=200 << 30, free=free)
    monkeypatch.setattr(system.shutil, "disk_usage", lambda _path: usage)

    assert part("Disk").state == state


def test_a_log_that_waits_to_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert part("Prediction log").state == "ok"

    monkeypatch.setattr(log, "waiting_bytes", lambda: 1 << 30)

    assert part("Prediction log").state == "warn"


def test_a_part_that_cannot_be_looked_at_does_not_take_the_page_along(
    operator: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(log, "waiting_bytes", fail)
    client.force_login(operator)

    response = client.get("/system/")

    assert response.status_code == 200
    assert "It could not be looked at (ZeroDivisionError)." in response.content.decode()


@pytest.mark.parametrize("url", ["/", "/models/", "/help/", "/admin/"])
def test_a_lowered_jail_is_told_on_every_page(
    administrator: User, client: Client, settings: Any, url: str
) -> None:
    client.force_login(administrator)
    assert "The jail is lowered." not in client.get(url).content.decode()

    settings.MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX = True

    assert "The jail is lowered." in client.get(url).content.decode()
