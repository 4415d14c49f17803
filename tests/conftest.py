"""The cast, and the ground that every test stands on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import TransactionTestCase
from whitenoise.middleware import WhiteNoiseMiddleware

from registry import ports, triggers
from registry.models import Environment, Role, User
from tests import factories
from tests.modeld import modeld, supervisor  # noqa: F401 - fixtures for every slice


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: what takes a minute must not begin when everything else is done."""
    slow = {
        item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("browser")
    }
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _fresh_files(settings: Any, tmp_path: Path) -> Iterator[None]:
    """Every test has data folders of its own, and cheap passwords."""
    settings.DATA_DIR = tmp_path
    settings.MEDIA_ROOT = tmp_path / "files"
    (tmp_path / "tmp").mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path / "tmp")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path / "files")},
        },
    }
    yield


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """What was counted or remembered in one test is nothing to the next."""
    cache.clear()


_read_static_files = WhiteNoiseMiddleware.add_files_from_finders
_static_files: dict[str, Any] = {}


def _read_static_files_once(middleware: Any) -> None:
    """Every test client builds the middleware anew, and would look at some hundred files each time (50 ms)."""
    if not _static_files:
        _read_static_files(middleware)
        _static_files.update(middleware.files)
    middleware.files = {**_static_files, **middleware.files}


WhiteNoiseMiddleware.add_files_from_finders = _read_static_files_once

_flush = TransactionTestCase._fixture_teardown


def _flush_past_the_triggers(case: TransactionTestCase) -> None:
    """Tests that commit are cleaned up by DELETE, which the append-only triggers refuse: lift them for that."""
    triggers.remove(connection)
    try:
        _flush(case)
    finally:
        triggers.install(connection)
        factories.create_environments()


TransactionTestCase._fixture_teardown = _flush_past_the_triggers  # type: ignore[method-assign]


@pytest.fixture
def no_checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of versions whose checks were asked for; nothing is run."""
    asked: list[int] = []
    monkeypatch.setattr(ports.checks, "start", asked.append)
    return asked


@pytest.fixture
def author(db: None) -> User:
    return factories.create_user(email="author@example.com", roles=[Role.AUTHOR])


@pytest.fixture
def approver(db: None) -> User:
    return factories.create_user(email="approver@example.com", roles=[Role.APPROVER])


@pytest.fixture
def second_approver(db: None) -> User:
    return factories.create_user(email="second@example.com", roles=[Role.APPROVER])


@pytest.fixture
def operator(db: None) -> User:
    return factories.create_user(email="operator@example.com", roles=[Role.OPERATOR])


@pytest.fixture
def business(db: None) -> User:
    return factories.create_user(email="business@example.com", roles=[Role.BUSINESS])


@pytest.fixture
def auditor(db: None) -> User:
    return factories.create_user(email="auditor@example.com", roles=[Role.AUDITOR])


@pytest.fixture
def integrator(db: None) -> User:
    return factories.create_user(email="integrator@example.com", roles=[Role.INTEGRATOR])


@pytest.fixture
def administrator(db: None) -> User:
    return factories.create_user(email="admin@example.com", roles=[Role.ADMIN])


@pytest.fixture
def stranger(db: None) -> User:
    """Somebody with an account and no role at all."""
    return factories.create_user(email="stranger@example.com")


@pytest.fixture
def production(db: None) -> Environment:
    return Environment.objects.get(slug="production")
