"""Workers are killed in the middle of a job, with -9 and without warning: every row ends in the result exactly once."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.inference.batch_tools import rows_csv
from tests.inference.installation import START, TRAIN, Installation
from tests.services import postgresql, redis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def is_finished(seen: dict[str, Any]) -> bool:
    return seen["seconds"] is not None


def went_on_from(tries: int) -> Callable[[dict[str, Any]], bool]:
    """A worker has taken up another chunk."""
    return lambda seen: seen["tries"] > tries or is_finished(seen)


def assert_every_row_once(seen: dict[str, Any], content: bytes) -> None:
    given = [line.split(",") for line in content.decode().splitlines()[1:]]
    with Path(seen["result"]).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[:4] for row in rows] == given
    assert seen["total"] == seen["scored"] + seen["invalid"] + seen["ignored"] == len(given)
    assert seen["counted"] == seen["total"]
    assert sum(row[-2] == "scored" for row in rows) == seen["scored"]
    assert sum(row[-2] == "invalid" for row in rows) == seen["invalid"] > 0


def kill_three_times(place: Installation, content: bytes) -> dict[str, Any]:
    place.manage("migrate")
    place.run(TRAIN)
    upload = place.folder / "people.csv"
    upload.write_bytes(content)
    place.start("modeld")
    job = place.run(START, str(upload))
    for _kill in range(3):
        before = place.look(job)["tries"]
        worker = place.start("worker", "--processes", "2")
        place.wait(job, went_on_from(before), 60)
        place.kill(worker)
    place.start("worker", "--processes", "2")
    return place.wait(job, is_finished, 120)


def test_200_000_rows_survive_kills_of_the_whole_worker_on_the_spool(tmp_path: Path) -> None:
    content = rows_csv(200_000, bad=200)
    with Installation(tmp_path) as place:
        seen = kill_three_times(place, content)
        assert seen["state"] == "succeeded_with_errors" and seen["tries"] >= seen["chunks"]
        assert_every_row_once(seen, content)


@pytest.mark.services
def test_rows_survive_kills_of_the_whole_worker_on_postgresql_and_redis(tmp_path: Path) -> None:
    content = rows_csv(60_000, bad=60)
    with (
        postgresql() as database,
        redis() as broker,
        Installation(tmp_path, DATABASE_URL=database, REDIS_URL=broker) as place,
    ):
        assert_every_row_once(kill_three_times(place, content), content)
