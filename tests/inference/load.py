"""Callers that ask for predictions without a pause, and what became of their answers."""

import http.client
import json
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.inference.installation import SETUP

KEY = (
    SETUP
    + """
from registry.actions import keys
from registry.models import User
user = User.objects.get(email="business@example.com")
print(keys.create_key(owner=user, name="load", actions=["predict"], models=None, days=1, actor=user)[1])
"""
)

ROWS = 2  # of each call

RECORDED = (
    SETUP
    + f"ROWS = {ROWS}"
    + """
from inference import records
asked = json.load(open(sys.argv[1], encoding="utf-8"))
found = records.find_many(asked)
from inference.models import Prediction
from monitoring.models import ServicePart
parts = ServicePart.objects.filter(channel="api").values_list("rows", "errors")
counted = sum(rows - ROWS * sum(errors.values()) for rows, errors in parts)  # refused calls have no answered rows
print(json.dumps({"missing": sorted(set(asked) - set(found)), "rows": Prediction.objects.count(),
    "ids": Prediction.objects.values("public_id").distinct().count(), "counted": counted}))
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
                self.stopped.wait(0.05)  # whoever is coming back needs the processor more
                continue
            if response.status == 200:
                self.answered.extend(each["id"] for each in answer["predictions"])
            else:
                self.refused.append(response.status)
                self.stopped.wait(0.01)
        connection.close()

    def wait_for(self, count: int, seconds: float = 120) -> None:
        give_up = time.monotonic() + seconds
        while len(self.answered) < count:
            if time.monotonic() > give_up:
                said = self.log.read_text()[-3000:]
                raise AssertionError(f"{len(self.answered)} answers, refused: {self.refused[-5:]}\n{said}")
            select.select([], [], [], 0.05)
