"""Versions through the API: uploaded, edited, checked, downloaded, retired."""

import json
from typing import Any

import pytest

from registry.models import AuditEvent, CheckResult, ModelVersion, RegisteredModel, Role, User
from tests import trained
from tests.api import Program, body_of, ok, problem, program
from tests.factories import SCHEMA, create_dataset, create_model, create_release, create_user, create_version

pytestmark = pytest.mark.usefixtures("no_checks")


@pytest.fixture
def model(db: None) -> RegisteredModel:
    return create_model(slug="loans")


@pytest.fixture
def caller(author: User) -> Program:
    return program(author)


@pytest.fixture
def artifact() -> tuple[str, bytes]:
    return "model.joblib", trained.joblib_bytes(trained.logistic())


def upload(caller: Program, artifact: tuple[str, bytes], **fields: Any) -> Any:
    return caller.upload("/models/loans/versions/", artifact=artifact, **fields)


def test_an_upload_is_checked_at_once(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes], no_checks: list[int]
) -> None:
    reference = create_dataset(model=model)

    found = ok(
        upload(
            caller, artifact, reference=reference.public_id, metrics='{"accuracy": 0.9}', card="What it is."
        ),
        201,
    )

    assert (found["number"], found["state"], found["format"]) == (1, "checking", "joblib")
    assert found["url"].endswith("/api/v1/models/loans/versions/1/")
    assert found["metrics"] == {"declared": {"accuracy": 0.9}, "measured": {}}
    assert found["reference"] == reference.public_id
    assert [field["name"] for field in found["schema"]["fields"]] == ["age", "income", "city"]
    assert no_checks == [ModelVersion.objects.get().pk]
    assert ok(caller.get("/models/loans/versions/1/"))["sha256"] == found["sha256"]
    assert ok(caller.get("/models/loans/versions/"))["count"] == 1


def test_a_draft_is_edited_and_then_checked(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes], no_checks: list[int]
) -> None:
    found = ok(upload(caller, artifact, query="?draft=1"), 201)
    assert found["state"] == "draft"
    problem(caller.post("/models/loans/versions/1/checks/"), 422)

    changed = ok(
        caller.patch("/models/loans/versions/1/", {"schema": SCHEMA, "card": "Better.", "metrics": {"f1": 1}})
    )
    assert (changed["card"], changed["metrics"]["declared"]) == ("Better.", {"f1": 1.0})

    assert ok(caller.post("/models/loans/versions/1/checks/"), 202)["state"] == "checking"
    problem(caller.patch("/models/loans/versions/1/", {"card": "Too late."}), 409, "wrong_state")
    assert len(no_checks) == 1


def test_a_version_whose_checks_failed_is_a_draft_again_once_it_is_corrected(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes], no_checks: list[int]
) -> None:
    ok(upload(caller, artifact, query="?draft=1"), 201)
    ModelVersion.objects.update(state="checks_failed")
    CheckResult.objects.create(version=ModelVersion.objects.get(), name="schema", position=1, status="failed")

    changed = ok(caller.patch("/models/loans/versions/1/", {"schema": SCHEMA}))

    assert (changed["state"], changed["checks"]) == ("draft", [])
    event = AuditEvent.objects.get(action="version.edited")
    assert (event.before, event.after) == ({"state": "checks_failed"}, {"state": "draft"})
    assert ok(caller.post("/models/loans/versions/1/checks/"), 202)["state"] == "checking"


def test_without_schema_and_data_nothing_is_kept(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes]
) -> None:
    found = problem(upload(caller, artifact), 422, "missing")

    assert found["errors"][0]["field"] == "schema"
    assert not ModelVersion.objects.exists()


def test_words_may_come_as_small_files(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes]
) -> None:
    found = ok(
        upload(
            caller,
            artifact,
            query="?draft=1",
            card=("card.md", b"# Card"),
            schema=("schema.json", json.dumps(SCHEMA).encode()),
        ),
        201,
    )

    assert found["card"] == "# Card"
    assert found["schema"]["target"]["name"] == "repaid"


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 415), (b"hello", 415), (b"cos\nsystem\n(S'id'\ntR.", 422), (b"PK\x05\x06" + b"\0" * 18, 415)],
)
def test_a_bad_file_leaves_nothing_but_an_audit_event(
    caller: Program, model: RegisteredModel, content: bytes, status: int
) -> None:
    response = upload(caller, ("model.joblib", content))

    assert response.status_code in (413, 415, 422)
    problem(response, response.status_code)
    assert not ModelVersion.objects.exists()
    event = AuditEvent.objects.get()
    assert (event.action, event.result, event.model_slug) == ("version.uploaded", "refused", "loans")


def test_a_file_over_the_limit_is_413(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes], settings: Any
) -> None:
    settings.MODELGATE_MAX_ARTIFACT = 100

    problem(upload(caller, artifact), 413, "too_large")


def test_a_form_far_over_the_limit_is_refused_unread(
    caller: Program, model: RegisteredModel, settings: Any
) -> None:
    settings.MODELGATE_MAX_ARTIFACT = 100

    problem(upload(caller, ("model.joblib", b"x" * (5 << 20))), 413, "too_large")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"schema": "{"}, "schema"),
        ({"schema": '{"a": NaN}'}, "schema"),
        ({"metrics": "[1]"}, "metrics"),
        ({"reference": "d_nowhere"}, "reference"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_papers_that_cannot_be_read_are_named(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes], fields: dict[str, str], name: str
) -> None:
    found = problem(upload(caller, artifact, query="?draft=1", **fields), 422)

    assert found["errors"][0]["field"] == name
    assert not ModelVersion.objects.exists()


def test_a_dataset_of_another_model_is_no_reference(
    caller: Program, model: RegisteredModel, artifact: tuple[str, bytes]
) -> None:
    problem(upload(caller, artifact, reference=create_dataset().public_id), 422, "does_not_exist")


def test_the_bytes_come_back_and_each_download_is_recorded(caller: Program, model: RegisteredModel) -> None:
    create_version(model=model, content=b"bytes", filename='a "b"\r\n.joblib')

    response = caller.get("/models/loans/versions/1/artifact/")

    assert body_of(response) == b"bytes"
    assert response["Content-Disposition"].startswith("attachment;")
    assert response["Content-Security-Policy"] == "sandbox"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert AuditEvent.objects.get().action == "version.downloaded"


def test_business_users_do_not_take_files_away(business: User, model: RegisteredModel) -> None:
    create_version(model=model)

    problem(program(business).get("/models/loans/versions/1/artifact/"), 403)

    assert AuditEvent.objects.get().result == "refused"


def test_there_is_nothing_to_admit(approver: User, author: User, model: RegisteredModel) -> None:
    create_version(model=model)

    problem(
        program(approver).post("/models/loans/versions/1/admit/", {"names": ["a.b"], "comment": "Why not."}),
        409,
        "nothing_to_admit",
    )


def test_it_retires_what_does_not_serve(operator: User, model: RegisteredModel) -> None:
    create_release(version=create_version(model=model))
    create_version(model=model)
    caller = program(operator)

    problem(caller.post("/models/loans/versions/1/retire/", {"reason": "Old data"}), 409, "still_serving")
    problem(caller.post("/models/loans/versions/2/retire/", {"reason": ""}), 422, "reason_length")
    assert ok(caller.post("/models/loans/versions/2/retire/", {"reason": "Old data"}))["state"] == "retired"


def test_somebody_elses_draft_is_not_edited(caller: Program, model: RegisteredModel) -> None:
    create_version(model=model, state="draft", uploaded_by=create_user(roles=[Role.AUTHOR]))

    problem(caller.patch("/models/loans/versions/1/", {"card": "Mine now"}), 403, "not_uploader")
