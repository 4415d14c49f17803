"""The web server is killed with -9 under load: whoever got an answer finds its record."""

import json
import threading
from pathlib import Path

import pytest

from tests.inference.installation import TRAIN, Installation
from tests.inference.load import KEY, RECORDED, Load, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


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
