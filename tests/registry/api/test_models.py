"""Models and their data through the API: who sees what, and what is kept."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from registry.models import Dataset, RegisteredModel, Role, User
from registry.serving import approvers_of
from tests.api import Program, ok, problem, program
from tests.factories import create_dataset, create_model, create_release, create_user, create_version

BODY = {"slug": "loans", "name": "Loans", "task": "classification", "risk": "high"}
CSV = b"age,income,city,repaid\n30,1000,Delhi,yes\n40,2000,Pune,no\n"


@pytest.fixture
def caller(author: User) -> Program:
    return program(author)


def test_it_creates_a_model_that_its_author_owns(caller: Program) -> None:
    found = ok(caller.post("/models/", {**BODY, "question": "Will it be repaid?"}), 201)

    assert (found["slug"], found["risk"], found["owners"]) == ("loans", "high", ["author@example.com"])
    assert found["serving"] == {"staging": None, "production": None}


def test_a_slug_in_use_is_409(caller: Program) -> None:
    create_model(slug="loans")

    problem(caller.post("/models/", BODY), 409, "slug_in_use")


def test_a_slug_that_is_none_is_422(caller: Program) -> None:
    found = problem(caller.post("/models/", {**BODY, "slug": "Not A Slug"}), 422)

    assert found["errors"][0]["field"] == "slug"


def test_it_tells_what_serves_and_who_approved(caller: Program, approver: User) -> None:
    release = create_release(version=create_version(model=create_model(slug="loans")))

    (found,) = ok(caller.get("/models/"))["results"]

    serving = found["serving"]["production"]
    assert (serving["version"], serving["release"]) == (1, 1)
    assert serving["approved_by"] == [user.email for user in approvers_of([release])[release.pk]]
    assert datetime.fromisoformat(serving["since"]) == release.created_at
    assert found["serving"]["staging"] is None
    assert ok(caller.get("/models/loans/"))["serving"] == found["serving"]


def test_an_owner_changes_words_owners_and_policy(author: User, caller: Program) -> None:
    create_model(slug="loans", owners=[author])
    create_user(email="second@example.com", roles=[Role.AUTHOR])

    found = ok(
        caller.patch(
            "/models/loans/",
            {
                "name": "Credit",
                "owners": ["author@example.com", "second@example.com"],
                "policy": {"owners_see_inputs": True},
            },
        )
    )

    assert (found["name"], found["policy"]) == ("Credit", {"owners_see_inputs": True})
    assert set(found["owners"]) == {"author@example.com", "second@example.com"}


def test_a_policy_has_known_settings_of_known_types_only(author: User, caller: Program) -> None:
    model = create_model(slug="loans", owners=[author])
    policy = {"owners_see_inputs": "no", "extra_approval_for_pickle": 1, "owner_sees_inputs": True}

    found = problem(caller.patch("/models/loans/", {"policy": policy}), 422, "bad_policy")

    assert [(each["field"], each["code"]) for each in found["errors"]] == [
        ("policy.owners_see_inputs", "wrong_type"),
        ("policy.extra_approval_for_pickle", "wrong_type"),
        ("policy.owner_sees_inputs", "unknown_field"),
    ]
    model.refresh_from_db()
    assert model.policy == {}


def test_risk_and_slug_cannot_be_patched(author: User, caller: Program) -> None:
    create_model(slug="loans", owners=[author])

    found = problem(caller.patch("/models/loans/", {"risk": "low", "slug": "other"}), 422, "unknown_field")

    assert {each["field"] for each in found["errors"]} == {"risk", "slug"}


def test_who_is_no_owner_changes_nothing(caller: Program) -> None:
    create_model(slug="loans")

    problem(caller.patch("/models/loans/", {"name": "Mine"}), 403, "not_owner")

    assert RegisteredModel.objects.get().name == "Loans"


def test_what_is_shared_with_others_does_not_exist(business: User) -> None:
    team = Group.objects.create(name="Lending")
    hidden = create_model(slug="hidden")
    hidden.groups.add(team)
    create_dataset(model=hidden)
    create_version(model=hidden)
    caller = program(business)

    assert ok(caller.get("/models/"))["count"] == 0
    for path in (
        "",
        "datasets/",
        "versions/",
        "versions/1/",
        "versions/1/artifact/",
        "releases/",
        "at/",
        "rollback/",
    ):
        problem(caller.get(f"/models/hidden/{path}"), 404, "not_found")

    business.groups.add(team)
    assert ok(caller.get("/models/"))["count"] == 1


def test_lists_come_in_pages(business: User) -> None:
    for number in range(5):
        create_model(slug=f"model-{number}")
    caller = program(business, "read")

    first = ok(caller.get("/models/", limit=2))
    assert set(first) == {"count", "next", "previous", "results"}
    assert (first["count"], len(first["results"]), first["previous"]) == (5, 2, None)
    last = ok(caller.get("/models/", limit=2, offset=4))
    assert (len(last["results"]), last["next"]) == (1, None)
    assert len(ok(caller.get("/models/", limit=100_000))["results"]) == 5


def test_no_list_is_longer_than_500_nor_longer_than_50_unasked(business: User) -> None:
    author = create_user(roles=[Role.AUTHOR])
    RegisteredModel.objects.bulk_create(
        RegisteredModel(slug=f"model-{n}", name=f"Model {n}", task="regression", created_by=author)
        for n in range(501)
    )
    caller = program(business, "read")

    assert len(ok(caller.get("/models/"))["results"]) == 50
    assert len(ok(caller.get("/models/", limit=1000))["results"]) == 500


def test_it_keeps_a_dataset_with_its_profile(caller: Program) -> None:
    create_model(slug="loans")

    found = ok(caller.upload("/models/loans/datasets/", file=("rows.csv", CSV), target="repaid"), 201)

    assert (found["rows"], found["columns"], found["role"]) == (
        2,
        ["age", "income", "city", "repaid"],
        "reference",
    )
    assert found["profile"]
    assert found.items() <= ok(caller.get(f"/models/loans/datasets/{found['id']}/")).items()
    assert ok(caller.get("/models/loans/datasets/"))["results"] == [found]


@pytest.mark.parametrize(
    ("file", "status"),
    [(("rows.csv", b""), 415), (("rows.csv", b"\x80\x04\x95"), 415), (("rows.csv", b"a,a\n1,2\n"), 422)],
)
def test_a_file_that_is_no_table_is_refused(caller: Program, file: tuple[str, bytes], status: int) -> None:
    create_model(slug="loans")

    response = caller.upload("/models/loans/datasets/", file=file)

    assert response.status_code in (status, 415, 422)
    problem(response, response.status_code)
    assert not Dataset.objects.exists()


def test_a_dataset_of_another_model_does_not_exist(caller: Program) -> None:
    create_model(slug="loans")
    other = create_dataset()

    problem(caller.get(f"/models/loans/datasets/{other.public_id}/"), 404)


def test_it_names_the_environments(caller: Program) -> None:
    assert [each["slug"] for each in ok(caller.get("/environments/"))["results"]] == ["staging", "production"]


def test_it_tells_what_answered_at_an_instant(caller: Program) -> None:
    model = create_model(slug="loans")
    now = timezone.now()
    create_release(version=create_version(model=model), created_at=now - timedelta(hours=2))
    create_release(version=create_version(model=model), created_at=now - timedelta(hours=1))

    then = now - timedelta(minutes=90)
    found = ok(caller.get("/models/loans/at/", time=then.isoformat()))

    assert (found["version"], found["release"], found["environment"]) == (1, 1, "production")
    assert datetime.fromisoformat(found["until"]) == now - timedelta(hours=1)
    assert ok(caller.get("/models/loans/at/", time=now.isoformat()))["until"] is None
    problem(caller.get("/models/loans/at/", time=datetime(2020, 1, 1, tzinfo=UTC).isoformat()), 404)
    problem(caller.get("/models/loans/at/"), 422, "required")
    problem(
        caller.get("/models/loans/at/", time=then.isoformat(), environment="moon"), 422, "unknown_environment"
    )
