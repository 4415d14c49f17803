"""Released forms are open before the first request, within the memory that they may take."""

import threading
from typing import Any

import pytest
from django.db import DatabaseError

from inference import compiled, warming
from inference.compiled import stored
from inference.models import VersionForm
from registry import changes
from registry.models import ModelVersion
from tests import factories
from tests.inference.test_uploaded_graphs import LABEL, claims, data, node

GRAPH = data([node("ArgMax", "X", "label", axis=1, keepdims=0)], outputs=[LABEL])


@pytest.fixture(autouse=True)
def forms(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A process that has opened nothing yet."""
    fresh = stored._Forms()
    monkeypatch.setattr(stored, "_forms", fresh)
    return fresh


def released() -> ModelVersion:
    """Each with a file of its own, and so with a form of its own."""
    content = (
        GRAPH + b"\x1a" + bytes([4]) + f"{factories.create_model().pk:04}".encode()
    )  # another producer's version
    version = factories.create_version(engine="onnx", format="onnx", content=content)
    VersionForm.objects.create(version=version, sha256=factories.store(claims()), size=len(claims()))
    factories.create_release(version=version)
    return ModelVersion.objects.get(pk=version.pk)


@pytest.mark.django_db(transaction=True)
def test_what_was_released_is_opened_once_the_mark_is_another_one(
    forms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "SHARED", -1.0)
    mark, again = warming.look(None)
    version = released()

    seen, _again = warming.look(mark)

    assert (len(forms._open), again) == (1, warming.EVERY)
    assert seen != mark
    opened = next(iter(forms._open.values()))[0]
    assert compiled.form_of(version) is opened


@pytest.mark.django_db
def test_versions_that_answer_nowhere_and_those_of_the_runner_stay_closed(forms: Any) -> None:
    factories.create_release()
    factories.create_version(engine="onnx", format="onnx", content=GRAPH)

    assert warming.warm() == 0
    assert not forms._open


@pytest.mark.django_db
def test_the_last_releases_are_open_where_not_all_of_them_fit(
    forms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [released() for _time in range(3)]
    monkeypatch.setattr(stored, "MOST_BYTES", 2 * stored.bytes_of(versions[0]))

    assert warming.warm() == 2
    assert {key[1] for key in forms._open} == {version.sha256 for version in versions[1:]}
    compiled.form_of(versions[0])
    assert len(forms._open) == 2


@pytest.mark.django_db
def test_trouble_is_told_and_met_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> Any:
        raise DatabaseError

    monkeypatch.setattr(changes, "known", away)

    assert warming.look("before") == ("before", warming.AFTER_TROUBLE)


@pytest.mark.django_db
def test_opening_one_form_keeps_nobody_from_another(forms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = released(), released()
    assert compiled.form_of(other) is not None
    begun, go_on = threading.Event(), threading.Event()
    verified = stored._verified

    def slowly(sha256: str) -> bytes:
        begun.set()
        assert go_on.wait(20)
        return verified(sha256)

    monkeypatch.setattr(stored, "_verified", slowly)
    key = (one.form.sha256, one.sha256, type(None), None)
    found: list[Any] = []
    opening = [threading.Thread(target=lambda: found.append(forms.get(key))) for _time in range(2)]
    for thread in opening:
        thread.start()
    assert begun.wait(20)

    assert compiled.form_of(other) is not None
    go_on.set()
    for thread in opening:
        thread.join(20)
    assert found[0] is found[1] is not None
