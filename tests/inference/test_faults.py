"""Parts of an installation are killed under load, and its disk fills up: what was answered is recorded, once."""

import http.client
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.inference.faults import ENOUGH, FAULTS, PATIENCE, Site, running
from tests.services import wait_for
from tests.switching import process_behind

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(300)]

SEED = 20

#: The web processes have a test of their own (`test_predict_killed`).
KILLED = [name for name in FAULTS if name not in ("web", "disk")]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One installation for all that follows: on PostgreSQL and Redis, with two web processes."""
    with tempfile.TemporaryDirectory(prefix="mg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # PostgreSQL runs as another user
        with running(Path(name), SEED, has_small_disk=False) as made:
            yield made


@pytest.fixture
def both(site: Site) -> Iterator[list[http.client.HTTPConnection]]:
    """A connection to each of the web processes, both of them answering; the kernel deals them out as it likes."""
    made: list[http.client.HTTPConnection] = []
    found: dict[int, http.client.HTTPConnection] = {}

    def connect() -> bool:
        made.append(http.client.HTTPConnection("127.0.0.1", site.load.port, timeout=30))
        with suppress(OSError, http.client.HTTPException):
            if answered(made[-1], site):
                found.setdefault(process_behind(site.load.port, made[-1].sock.getsockname()[1]), made[-1])
        return len(found) == 2

    try:
        assert wait_for(connect, seconds=PATIENCE)
        yield list(found.values())
    finally:
        for connection in made:
            connection.close()


def call(
    connection: http.client.HTTPConnection, site: Site, method: str, path: str, body: Any = None
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {site.load.key}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


ROWS = {"rows": [{"age": 40, "city": "Pune"}]}


def answered(connection: http.client.HTTPConnection, site: Site) -> bool:
    return call(connection, site, "POST", site.load.path, ROWS)[0] == 200


def test_a_prediction_is_read_from_another_web_process_as_soon_as_it_was_answered(
    site: Site, both: list[http.client.HTTPConnection]
) -> None:
    one, other = both

    for asked, read in ((one, other), (other, one)) * 3:
        status, answer = call(asked, site, "POST", site.load.path, ROWS)
        assert status == 200
        made = answer["predictions"][0]
        status, found = call(read, site, "GET", f"/api/v1/predictions/{made['id']}/")
        assert (status, found["id"], found["label"]) == (200, made["id"], made["label"])


def test_a_full_disk_refuses_with_503_and_recovers(
    site: Site, both: list[http.client.HTTPConnection]
) -> None:
    one, other = both

    with site.full_disk():
        told = [call(one, site, "POST", site.load.path, ROWS)]
        while told[-1][0] == 200:  # what fits is answered
            told.append(call(one, site, "POST", site.load.path, ROWS))
        assert (told[-1][0], told[-1][1]["code"]) == (503, "log_unavailable")
        assert "not given" in told[-1][1]["detail"]

    assert answered(one, site)
    assert answered(other, site)
    for status, answer in told[:-1]:
        made = answer["predictions"][0]
        assert call(other, site, "GET", f"/api/v1/predictions/{made['id']}/")[0] == status


def test_whatever_is_killed_every_answer_is_recorded_once(site: Site) -> None:
    """One after the other, in an order that the seed tells, at moments that it tells."""
    longest: dict[str, float] = {}
    refused: dict[str, set[int]] = {}
    with site.callers():
        site.load.wait_for(ENOUGH)
        for fault in site.random.sample(KILLED, len(KILLED)):
            site.breathe()
            before = len(site.load.refused)
            FAULTS[fault](site)
            struck = time.monotonic()
            site.wait_for_answers()
            refused[fault] = set(site.load.refused[before:])
            longest[fault] = time.monotonic() - struck

    count = site.count()

    assert count.is_exact, (count, longest)
    assert count.answered >= ENOUGH * (1 + len(KILLED))
    log = (site.place.folder / "web.log").read_text()
    assert set().union(*refused.values()) <= {503, 504}, (refused, log[-20_000:])
