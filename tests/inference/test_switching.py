"""Rollbacks under load: two web processes go over to the other version, and no call fails or gets a bit of both."""

import json
from pathlib import Path

import pytest

from tests.inference.installation import TRAIN, Installation
from tests.inference.load import KEY, free_port
from tests.switching import Load, Switching

pytestmark = pytest.mark.slow

ROWS = [{"age": 40, "city": "Pune"}, {"age": 70, "income": 1.5, "city": "Delhi"}]

#: A second version that has learned the opposite, and somebody who may go back.
TWO_VERSIONS = (
    TRAIN
    + """
model.fit(frame, numpy.where(answer == "yes", "no", "yes"))
packed = io.BytesIO()
joblib.dump(model, packed)
factories.create_release(version=factories.create_version(model=release.model, content=packed.getvalue()))

from registry.actions import keys
operator = factories.create_user(email="operator@example.com", roles=["operator"])
print(keys.create_key(owner=operator, name="back", actions=["rollback"], models=None, days=1, actor=operator)[1])
"""
)


def test_no_call_fails_or_is_mixed_while_releases_change(tmp_path: Path) -> None:
    with Installation(tmp_path / "data") as place:
        place.folder.mkdir()
        place.manage("migrate")
        slug, operator = place.run(TWO_VERSIONS).splitlines()[-2:]
        key, port = place.run(KEY).splitlines()[-1], free_port()
        place.start("modeld")
        place.start("web", "--port", str(port), "--web-processes", "2")
        with Load(port, slug, key, json.dumps({"rows": ROWS}).encode()) as load:
            switching = Switching(load, operator)
            load.wait_for(lambda answers: len(answers) > 20 and len({one.process for one in answers}) == 2, 0)
            load.failed.clear()  # the first ones may have found no model yet
            switching.learn()
            switching.back_to(1)
            switching.learn()
            for version in (2, 1):
                switching.back_to(version)

    assert sorted(switching.expected) == [1, 2]
    assert switching.expected[1] != switching.expected[2]
    assert (load.failed, switching.mixed()) == ([], [])
