"""Every file of the hostile corpus through the page and through the API: a sentence for each, and nothing happens."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from registry.models import AuditEvent, Dataset, ModelVersion, RegisteredModel, User
from tests import hostile, trained
from tests.api import Program, program
from tests.factories import create_dataset, create_model
from tests.live import descendants

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_checks")]

#: Uploads one file; what its author reads.
Door = Callable[[bytes], str]


class Outside:
    """What must stay as it is: a canary file, a listening socket, a secret of ours, our processes, our store."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self.folder, self.listener = folder, listener
        self.canary = folder / "canary"
        self.processes = descendants(os.getpid())

    def require_unchanged(self) -> None:
        assert not self.canary.exists()
        with pytest.raises(BlockingIOError):
            self.listener.accept()
        assert os.environ[hostile.SECRET] == "mine"
        assert descendants(os.getpid()) == self.processes
        assert not (self.folder / "outside").exists()
        assert not ModelVersion.objects.exists()
        kept = {path.name for path in (self.folder / "files").rglob("*") if path.is_file()}
        assert kept == set(Dataset.objects.values_list("sha256", flat=True))
        assert list((self.folder / "tmp").iterdir()) == []


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    monkeypatch.setenv(hostile.SECRET, "mine")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield Outside(tmp_path, listener)


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(slug="loans", owners=[author], created_by=author)


@pytest.fixture
def reference(model: RegisteredModel) -> Dataset:
    return create_dataset(model=model)


def through_the_page(client: Client, author: User, reference: Dataset) -> Door:
    client.force_login(author)

    def upload(data: bytes) -> str:
        file = SimpleUploadedFile("model.joblib", data)
        fields = {"file": file, "reference": reference.pk, "target": "repaid", "check": "1"}
        response = client.post("/models/loans/versions/new/", fields)
        if response.status_code == 302:
            return ""
        assert response.status_code == 422, response.status_code
        summary = re.search(r'class="error-summary".*?</div>', response.content.decode(), re.DOTALL)
        assert summary, "the page does not say what is wrong"
        return re.sub(r"<[^>]+>|\s+", " ", summary[0].partition("<ul>")[2])

    return upload


def through_the_api(author: User, reference: Dataset) -> Door:
    caller: Program = program(author)

    def upload(data: bytes) -> str:
        response = caller.upload(
            "/models/loans/versions/", artifact=("model.joblib", data), reference=reference.public_id
        )
        if response.status_code == 201:
            return ""
        assert response.status_code in (415, 422), (response.status_code, response.content)
        found: dict[str, Any] = response.json()
        return f"{found['detail']} {found['fix']}"

    return upload


@pytest.fixture(params=["page", "api"])
def door(
    request: pytest.FixtureRequest, client: Client, author: User, reference: Dataset, settings: Any
) -> Door:
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_THROTTLE_RATES": {"writes": "10000/minute"},
    }
    if request.param == "page":
        return through_the_page(client, author, reference)
    return through_the_api(author, reference)


def test_the_corpus_is_large_and_its_kinds_differ() -> None:
    files = hostile.uploads(Path("canary"))

    assert len(files) >= 90
    assert len(set(files.values())) == len(files)


def test_nothing_outside_changes_and_each_file_gets_a_sentence(door: Door, outside: Outside) -> None:
    files = hostile.uploads(outside.canary, outside.listener.getsockname()[1])
    told = {}
    for kind, data in files.items():
        told[kind] = door(data)
        outside.require_unchanged()

    for kind, sentence in told.items():
        assert re.search(r"[A-Z][^.]{10,}\.", sentence), (kind, sentence)
        assert "Traceback" not in sentence and str(outside.folder) not in sentence, (kind, sentence)
    refused = AuditEvent.objects.filter(action="version.uploaded", result="refused")
    assert refused.count() == len(files)
    assert all(
        len(event.details["sha256"]) == 64 for event in refused if event.details["code"] == "dangerous_file"
    )
    assert door(trained.joblib_bytes(trained.logistic())) == "", "the service takes honest files as before"
