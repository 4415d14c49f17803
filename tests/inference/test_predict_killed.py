"""The web server is killed with -9 under load: whoever got an answer finds its record."""

import http.client
import json
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.inference.installation import SETUP, TRAIN, Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KEY = (
    SETUP
    + """
from registry.actions import keys
from registry.models import User
user = User.objects.get(email="business@example.com")
print(keys.create_key(owner=user, name="load", actions=["predict"], models=None, days=1, actor=user)[1])
"""
)

RECORDED = (
    SETUP
    + """
from inference import records
asked = json.load(open(sys.argv[1], encoding="utf-8"))
found = records.find_many(asked)
from inference.models import Prediction
print(json.dumps({"missing": sorted(set(asked) - set(found)), "rows": Prediction.objects.count(),
    "ids": Prediction.objects.values("public_id").distinct().count()}))
"""
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Load:
    """Callers that ask without a pause, and remember the ids of whole answers."""

    port: int
    path: str
    key: str
    log: Path
    answered: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        body = json.dumps(
            {"rows": [{"age": 40, "city": "Pune"}, {"age": 70, "income": 1.5, "city": "Delhi"}]}
        )
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stopped.is_set():
            try:
                connection.request("POST", self.path, body, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError):
                connection.close()
                continue
            if response.status == 200:
                self.answered.extend(each["id"] for each in answer["predictions"])
            else:
                self.refused.append(response.status)
        connection.close()

    def wait_for(self, count: int, seconds: float = 120) -> None:
        give_up = time.monotonic() + seconds
        while len(self.answered) < count:
            if time.monotonic() > give_up:
                said = self.log.read_text()[-3000:]
                raise AssertionError(f"{len(self.answered)} answers, refused: {self.refused[-5:]}\n{said}")
            select.select([], [], [], 0.05)


def test_kill_9_of_the_web_process_loses_no_answered_prediction(tmp_path: Path) -> None:
    with Installation(tmp_path) as place:
        place.manage("migrate")
        slug, port = place.run(TRAIN), free_port()
        load = Load(
            port, f"/api/v1/models/{slug}/predict/", place.run(KEY).splitlines()[-1], tmp_path / "web.log"
        )
        place.start("modeld")
        web = place.start("web", "--port", str(port), "--web-processes", "2")
        callers = [threading.Thread(target=load.run) for _each in range(4)]
        for caller in callers:
            caller.start()
        try:
            for _kill in range(2):
                load.wait_for(len(load.answered) + 100)
                place.kill(web)
                web = place.start("web", "--port", str(port), "--web-processes", "2")
            load.wait_for(len(load.answered) + 50)
        finally:
            load.stopped.set()
            for caller in callers:
                caller.join()
        place.kill(web)
        (tmp_path / "asked.json").write_text(json.dumps(load.answered))
        found = json.loads(place.run(RECORDED, str(tmp_path / "asked.json")))

    assert load.refused == []
    assert len(load.answered) == len(set(load.answered)) >= 250
    assert found["missing"] == []
    assert found["rows"] == found["ids"] >= len(load.answered)
