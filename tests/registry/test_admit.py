"""Unknown names: the version waits, unloaded, until an approver who did not upload it admits exactly them."""

import io
import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest
from django.db import DatabaseError, connection, transaction
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from inference import runners
from registry import installed
from registry.actions import admissions, catalog
from registry.errors import Forbidden, Invalid, Refused
from registry.models import Admission, AuditEvent, ModelVersion, RegisteredModel, Role, User
from tests.api import ok, problem, program
from tests.factories import (
    create_dataset,
    create_model,
    create_user,
    create_version,
    create_version_to_review,
    store,
)

pytestmark = pytest.mark.django_db

NAMES = ["numpy.nan_to_num"]
WHY = "It replaces gaps by zeros."


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(slug="loans", owners=[author], created_by=author)


@pytest.fixture
def waiting(model: RegisteredModel, author: User) -> ModelVersion:
    return create_version_to_review(model=model, uploaded_by=author)


def with_a_function(function: Any) -> bytes:
    return pickle.dumps(make_pipeline(FunctionTransformer(function), LogisticRegression()))


def test_it_is_kept_and_waits_with_nothing_started(
    model: RegisteredModel, author: User, no_checks: list[int]
) -> None:
    version = catalog.upload_version(
        model,
        file=io.BytesIO(with_a_function(np.nan_to_num)),
        filename="m.pkl",
        reference=create_dataset(model=model),
        actor=author,
    )

    assert (version.state, version.names_to_review) == ("needs_review", NAMES)
    assert no_checks == []
    event = AuditEvent.objects.get(action="version.held_for_review")
    assert event.details == {"names": NAMES, "sha256": version.sha256}


def with_a_class_of(package: str) -> bytes:
    """A pickle of a class that lives in a package, as one made elsewhere would name it."""
    module = sys.modules[package] = types.ModuleType(package)
    try:
        model = type("Forest", (), {"__module__": package})
        module.Forest = model  # type: ignore[attr-defined]
        return pickle.dumps(model())
    finally:
        del sys.modules[package]


def test_a_missing_package_is_told_before_anybody_reviews_names(
    model: RegisteredModel, author: User, no_checks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = with_a_class_of("treehouse")

    version = catalog.upload_version(
        model,
        file=io.BytesIO(data),
        filename="m.pkl",
        reference=create_dataset(model=model),
        actor=author,
    )

    assert (version.state, no_checks) == ("checks_failed", [])
    check = version.checks.get()
    assert (check.name, check.status) == ("load", "failed")
    assert "needs the package “treehouse”, which is not installed here" in check.detail
    event = AuditEvent.objects.get(action="version.checks_failed")
    assert event.details == {"failed": ["load"], "missing": ["treehouse"]}

    # An administrator has installed it: now there is something to review.
    monkeypatch.setitem(sys.modules, "treehouse", types.ModuleType("treehouse"))
    version = catalog.start_checks(version, actor=author)

    assert (version.state, version.names_to_review) == ("needs_review", ["treehouse.Forest"])
    assert not version.checks.exists()


def test_what_is_here_and_what_is_no_package_is_not_missing() -> None:
    names = ["numpy.nan_to_num", "collections.OrderedDict", "__builtin__.set", "_loss.CyHalf", "a-b.c"]

    assert installed.missing_packages([*names, "treehouse.x", "treehouse.y.z", "absent.q"]) == [
        "absent",
        "treehouse",
    ]


def test_a_draft_waits_when_its_checks_are_asked_for(
    model: RegisteredModel, author: User, no_checks: list[int]
) -> None:
    draft = create_version_to_review(model=model, uploaded_by=author)
    ModelVersion.objects.update(state="draft")

    assert catalog.start_checks(draft, actor=author).state == "needs_review"
    with pytest.raises(Refused) as refusal:
        catalog.start_checks(draft, actor=author)
    assert refusal.value.code == "wrong_state"
    assert no_checks == []


def test_an_approver_admits_exactly_the_names_and_the_checks_start(
    waiting: ModelVersion, approver: User, no_checks: list[int]
) -> None:
    admissions.admit(waiting, names=NAMES, comment=WHY, actor=approver)

    waiting.refresh_from_db()
    assert (waiting.state, waiting.admitted, waiting.names_to_review) == ("checking", NAMES, [])
    assert no_checks == [waiting.pk]
    admission = waiting.admissions.get()
    assert (admission.verdict, admission.names, admission.decided_by) == ("admitted", NAMES, approver)
    event = AuditEvent.objects.get(action="version.admitted")
    assert (event.reason, event.actor_name) == (WHY, str(approver))
    assert event.details == {"names": NAMES, "sha256": waiting.sha256}


def test_the_runner_is_told_the_admitted_names_wherever_it_is_asked(model: RegisteredModel) -> None:
    version = create_version(model=model, admitted=["numpy.nan_to_num", "a.b.C"], content=b"x")

    assert runners.spec_for(version).admitted == (("numpy", "nan_to_num"), ("a.b", "C"))
    assert runners.spec_for(create_version(model=model, sha256=store(b"x"))).admitted == ()


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "missing_name"),
        (["numpy.load"], "missing_name"),
        ([*NAMES, "builtins.eval"], "extra_name"),
        (["numpy.*"], "extra_name"),
    ],
)
def test_other_names_than_the_file_needs_are_refused(
    waiting: ModelVersion, approver: User, no_checks: list[int], names: list[str], code: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        admissions.admit(waiting, names=names, comment=WHY, actor=approver)

    assert code in [error["code"] for error in refusal.value.errors]
    assert "numpy.nan_to_num" in str(refusal.value)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.admitted, no_checks) == ("needs_review", [], [])


@pytest.mark.parametrize("act", ["admit", "refuse"])
@pytest.mark.parametrize("comment", ["", "  ", "ok"])
def test_a_comment_is_required(waiting: ModelVersion, approver: User, act: str, comment: str) -> None:
    named = {"names": NAMES} if act == "admit" else {}

    with pytest.raises(Invalid) as refusal:
        getattr(admissions, act)(waiting, **named, comment=comment, actor=approver)

    assert refusal.value.errors[0]["field"] == "comment"


@pytest.mark.parametrize("act", ["admit", "refuse"])
@pytest.mark.parametrize("superuser", [False, True])
def test_its_uploader_may_not_though_approver_or_superuser(
    waiting: ModelVersion, author: User, act: str, superuser: bool
) -> None:
    author.grants.create(role=Role.APPROVER)
    author.is_superuser = superuser
    author.save()
    named = {"names": NAMES} if act == "admit" else {}

    with pytest.raises(Forbidden) as refusal:
        getattr(admissions, act)(waiting, **named, comment=WHY, actor=User.objects.get(pk=author.pk))

    assert refusal.value.code == "own_version"
    assert not Admission.objects.exists()


@pytest.mark.parametrize("role", [role for role in Role if role != Role.APPROVER])
def test_nobody_without_the_role_may(waiting: ModelVersion, role: Role) -> None:
    with pytest.raises(Forbidden) as refusal:
        admissions.admit(waiting, names=NAMES, comment=WHY, actor=create_user(roles=[role]))

    assert refusal.value.code == "needs_approver"


def test_a_service_account_may_not(waiting: ModelVersion) -> None:
    robot = create_user(roles=[Role.APPROVER], is_service=True)

    with pytest.raises(Forbidden) as refusal:
        admissions.admit(waiting, names=NAMES, comment=WHY, actor=robot)

    assert refusal.value.code == "service"


@pytest.mark.parametrize("state", [state for state in ModelVersion.State if state != "needs_review"])
def test_in_every_other_state_there_is_nothing_to_admit_or_refuse(
    waiting: ModelVersion, approver: User, no_checks: list[int], state: str
) -> None:
    ModelVersion.objects.update(state=state)

    for act in (
        lambda: admissions.admit(waiting, names=NAMES, comment=WHY, actor=approver),
        lambda: admissions.refuse(waiting, comment=WHY, actor=approver),
    ):
        with pytest.raises(Refused) as refusal:
            act()
        assert (refusal.value.status, refusal.value.code) == (409, "nothing_to_admit")

    assert not Admission.objects.exists()
    assert no_checks == []


def test_refused_packages_are_not_asked_about_again(
    model: RegisteredModel, author: User, approver: User, no_checks: list[int]
) -> None:
    waiting = create_version(
        model=model,
        uploaded_by=author,
        state="needs_review",
        environment={"to_review": ["scikit-learn==1.5.2"]},
    )
    admissions.refuse(waiting, comment="Train it with what runs here.", actor=approver)

    with pytest.raises(Refused) as refusal:
        catalog.start_checks(waiting, actor=author)

    assert (refusal.value.code, no_checks) == ("names_refused", [])


def test_a_refused_file_ends_there_and_cannot_be_checked_again(
    waiting: ModelVersion, approver: User, author: User, no_checks: list[int]
) -> None:
    admissions.refuse(waiting, comment="Nobody knows what it does.", actor=approver)

    assert waiting.state == "checks_failed"
    failed = waiting.checks.get()
    assert (failed.name, failed.status, failed.detail) == (
        "inventory",
        "failed",
        "Nobody knows what it does.",
    )
    event = AuditEvent.objects.get(action="version.not_admitted")
    assert (event.reason, event.details["names"]) == ("Nobody knows what it does.", NAMES)
    with pytest.raises(Refused) as refusal:
        catalog.start_checks(waiting, actor=author)
    assert refusal.value.code == "names_refused"
    assert no_checks == []


def test_a_version_that_waits_can_be_retired(waiting: ModelVersion, operator: User) -> None:
    assert catalog.retire(waiting, reason="Uploaded by mistake.", actor=operator).state == "retired"


def test_checked_again_after_a_failed_check_it_needs_no_second_look(
    waiting: ModelVersion, approver: User, author: User, no_checks: list[int]
) -> None:
    admissions.admit(waiting, names=NAMES, comment=WHY, actor=approver)
    ModelVersion.objects.update(state="checks_failed")

    assert catalog.start_checks(waiting, actor=author).state == "checking"


def test_what_was_admitted_is_written_for_good(waiting: ModelVersion, approver: User, no_checks: Any) -> None:
    admissions.admit(waiting, names=NAMES, comment=WHY, actor=approver)

    for statement in ("UPDATE registry_admission SET comment = 'x'", "DELETE FROM registry_admission"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            connection.cursor().execute(statement)


def test_packages_are_admitted_after_names(waiting: ModelVersion, approver: User, no_checks: Any) -> None:
    admissions.admit(waiting, names=NAMES, comment=WHY, actor=approver)
    packages = ["scikit-learn==1.5.2 → 1.7.0"]
    catalog.finish_checks(waiting, passed=False, measured={}, environment={}, to_review=packages)

    admissions.admit(waiting, names=packages, comment="Its answers are the same.", actor=approver)

    assert [one.names for one in waiting.admissions.all()] == [NAMES, packages]
    assert (waiting.state, waiting.admitted) == ("checking", sorted([*NAMES, *packages]))


# --- through the API ---


def test_a_program_of_an_approver_admits(waiting: ModelVersion, approver: User, no_checks: list[int]) -> None:
    found = ok(program(approver).post("/models/loans/versions/1/admit/", {"names": NAMES, "comment": WHY}))

    assert found["state"] == "checking"
    assert found["admission"]["names"] == NAMES
    assert found["admission"]["decided_by"] == approver.email


def test_a_program_of_an_approver_refuses(waiting: ModelVersion, approver: User) -> None:
    found = ok(program(approver).post("/models/loans/versions/1/refuse/", {"comment": "Not this one."}))

    assert (found["state"], found["admission"]["verdict"]) == ("checks_failed", "refused")


def test_refusals_of_the_api_say_which_names_and_are_audited(
    waiting: ModelVersion, approver: User, author: User
) -> None:
    body = {"names": ["numpy.load"], "comment": WHY}
    told = problem(program(approver).post("/models/loans/versions/1/admit/", body), 422, "other_names")
    author.grants.create(role=Role.APPROVER)
    own = {"names": NAMES, "comment": WHY}
    problem(program(User.objects.get(pk=author.pk)).post("/models/loans/versions/1/admit/", own), 403)

    assert {(each["code"], each["value"]) for each in told["errors"]} == {
        ("missing_name", "numpy.nan_to_num"),
        ("extra_name", "numpy.load"),
    }
    refused = AuditEvent.objects.filter(action="version.admitted", result="refused").order_by("seq")
    assert [event.details["code"] for event in refused] == ["other_names", "own_version"]


def test_an_upload_with_unknown_names_answers_needs_review(
    model: RegisteredModel, author: User, no_checks: list[int]
) -> None:
    artifact = ("m.pkl", with_a_function(np.nan_to_num))
    reference = create_dataset(model=model).public_id

    found = ok(program(author).upload("/models/loans/versions/", artifact=artifact, reference=reference), 201)

    assert (found["state"], found["globals"]["unknown"]) == ("needs_review", NAMES)
    assert found["admission"] is None
