"""The demo: real data with its provenance, models that are what they declare, and a story that survives any stop."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.core.management import CommandError, call_command
from django.utils import timezone

from inference.models import BatchJob, Feedback, Prediction
from inference.validation import validate_rows
from monitoring.models import ProfilePart, Verdict
from portal.demo import data, papers, people, progress, seeding, story, training
from portal.demo.training import DIABETES, EMPLOYMENT, WINE, Recipe
from registry import audit, inspection
from registry.actions import approvals
from registry.errors import Forbidden
from registry.models import AuditEvent, ModelVersion, RegisteredModel, Release, ReleaseRequest, User
from registry.schema import Schema
from tests.modeld import Supervisor

PAPERS = (papers.EMPLOYMENT, papers.DIABETES, papers.WINE)
TABLES = {
    papers.EMPLOYMENT.slug: data.census,
    papers.DIABETES.slug: data.diabetes,
    papers.WINE.slug: data.wine,
}


# --- the data ---


def test_the_sample_is_the_one_whose_provenance_is_told() -> None:
    digest = hashlib.sha256(data.CENSUS.read_bytes()).hexdigest()

    assert digest in (data.CENSUS.parent / "PROVENANCE.md").read_text()
    assert data.CENSUS.stat().st_size < 400_000


def test_the_sample_has_four_years_and_both_outcomes_in_each() -> None:
    persons = data.census_persons()
    in_work = persons.groupby("year")["employed"].apply(lambda column: (column == "yes").mean())

    assert persons["year"].value_counts().to_dict() == {2015: 7000, 2016: 6000, 2017: 6000, 2018: 6000}
    assert not persons.isna().any().any()
    assert not persons["person_id"].duplicated().any()
    assert in_work.between(0.49, 0.51).all()


def test_nobody_is_both_learned_from_and_measured_on() -> None:
    tables = data.census()

    assert (len(tables.training), len(tables.evaluation)) == (5500, 1500)
    assert not set(tables.training["person_id"]) & set(tables.evaluation["person_id"])


def test_a_year_is_shuffled_into_the_same_twelve_months_every_time() -> None:
    months = data.census_months(2017)

    assert [len(month) for month in months] == [500] * 12
    assert len({person for month in months for person in month["person_id"]}) == 6000
    assert months[3].equals(data.census_months(2017)[3])


# --- the models ---


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("training asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


MEASURED = {
    EMPLOYMENT[0]: {"accuracy": 0.826, "log_loss": 0.409, "auc": 0.888, "f1": 0.836},
    EMPLOYMENT[1]: {"accuracy": 0.829, "log_loss": 0.407, "auc": 0.895, "f1": 0.838},
    EMPLOYMENT[2]: {"accuracy": 0.839, "log_loss": 0.384, "auc": 0.896, "f1": 0.845},
    DIABETES[0]: {"mae": 50.2, "rmse": 60.8, "r2": 0.441},
    DIABETES[1]: {"mae": 50.3, "rmse": 60.9, "r2": 0.440},
    WINE[0]: {"accuracy": 1.0, "log_loss": 0.017, "auc": 1.0},
}


@pytest.mark.parametrize("recipe", MEASURED, ids=lambda recipe: recipe.name)
def test_a_model_is_worth_what_its_story_says(recipe: Recipe, tmp_path: Path, no_network: None) -> None:
    trained = training.train(recipe, tmp_path)

    assert trained.metrics == pytest.approx(MEASURED[recipe], rel=0.01, abs=0.005)
    assert trained.path.stat().st_size < 1_000_000
    with trained.path.open("rb") as file:
        assert inspection.look(file).verdict == "clean"


def test_sex_and_race_are_carried_along_and_not_told_to_the_model() -> None:
    tables = data.census()

    assert {"sex", "race"} <= set(tables.training.columns)
    assert not {"sex", "race", "person_id", "employed"} & set(
        training.inputs(tables.training, "employed").columns
    )
    assert "Sex and race" in papers.CARDS[EMPLOYMENT[0].name]


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.slug)
def test_the_words_of_a_schema_are_those_of_the_data(paper: papers.Paper) -> None:
    training_rows = TABLES[paper.slug]().training

    for field in paper.schema_of(training_rows).fields:
        if field.type == "category":
            assert sorted(field.categories) == sorted(training_rows[field.name].unique()), field.name


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.slug)
def test_a_schema_names_every_input_and_its_examples_fit(paper: papers.Paper) -> None:
    tables = TABLES[paper.slug]()
    schema = Schema.from_json(paper.schema_of(tables.training).to_json())
    checked = validate_rows(schema, [example.inputs for example in schema.examples])

    assert list(schema.names) == list(training.inputs(tables.training, paper.target.name).columns)
    assert all(field.label.get("en") for field in schema.fields)
    assert schema.target.question["en"] == paper.question["en"]
    assert checked.errors == []


def test_every_recipe_has_a_card() -> None:
    for recipe in (*EMPLOYMENT, *DIABETES, *WINE):
        for heading in ("## Purpose", "## Not for", "## Training data", "## Limits", "## Owner"):
            assert heading in papers.CARDS[recipe.name]


# --- the people ---


def test_everybody_has_one_part_and_no_password(db: None) -> None:
    users = [people.invite(person) for person in people.EVERYBODY]

    assert {role for user in users for role in user.roles} == {person.role for person in people.EVERYBODY}
    assert not any(user.has_usable_password() for user in users)
    assert people.invite(people.AUTHOR) == users[0]
    assert [email for email, _words in people.introductions()] == [user.email for user in users]


# --- progress ---


def test_progress_is_read_as_it_was_written() -> None:
    assert progress.read()["state"] == "absent"

    progress.write(state="running", step="Scoring", done=3, total=9)

    assert progress.read() == {"state": "running", "step": "Scoring", "done": 3, "total": 9, "error": ""}


def test_progress_that_cannot_be_read_is_no_progress(settings: Any) -> None:
    (settings.DATA_DIR / "demo-progress.json").write_text("{")

    assert progress.read()["state"] == "absent"


def test_the_command_says_that_it_needs_another_time(settings: Any) -> None:
    settings.MODELGATE_ALLOW_AS_OF = False

    with pytest.raises(CommandError, match="MODELGATE_ALLOW_AS_OF=1"):
        call_command("seed_demo")


@pytest.mark.django_db
def test_what_goes_wrong_is_in_the_progress(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise RuntimeError("the disk is full")

    settings.MODELGATE_ALLOW_AS_OF = True
    monkeypatch.setattr(people, "invite", fail)

    with pytest.raises(RuntimeError):
        seeding.Seeding(months=1).run()

    assert progress.read()["state"] == "failed"
    assert progress.read()["error"] == "the disk is full"


# --- the story ---


@pytest.fixture
def inline_worker(settings: Any, modeld: Supervisor) -> Iterator[None]:
    """Tasks run where they are asked for, with a real model supervisor behind them."""
    settings.MODELGATE_ALLOW_AS_OF = True
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = False


def run(stop_at: int | None = None) -> None:
    """Seed two months of each year; with `stop_at`, be stopped when that many steps are done."""

    def tell(told: progress.Progress) -> None:
        if told["done"] == stop_at:
            raise KeyboardInterrupt

    seeding.Seeding(months=2, seconds=60, tell=tell).run()


@pytest.mark.slow
@pytest.mark.timeout(600)  # it trains six models and scores nine files, beside whatever else is tested
@pytest.mark.django_db(transaction=True)
def test_it_goes_on_wherever_it_was_stopped_and_happens_once(inline_worker: None) -> None:
    for stop_at in (1, 4, 9, 14, 20, 26, 34):
        with pytest.raises(KeyboardInterrupt):
            run(stop_at)
        assert not progress.is_complete()
        assert progress.read()["state"] == "running"

    run()
    first = facts()
    run()

    assert facts() == first
    assert progress.read()["state"] == "done"
    assert first == {
        "people": 7,
        "models": ["diabetes-progression", "employment", "wine-cultivar"],
        "versions": {("checked",): 6},
        "releases": [
            ("diabetes-progression", 1, 1),
            ("employment", 1, 1),
            ("employment", 2, 2),
            ("wine-cultivar", 1, 1),
        ],
        "requests": {"approved": 4, "rejected": 1, "waiting": 1},
        "jobs": {"succeeded": 9},
        "rows": 6 * 500 + 500 + 110 + 54 + story.QUESTIONS,
        "predictions": 3 * story.QUESTIONS,
        "outcomes": 4 * 460 + 350 + 175 + 300 + 86 + 30 + 3 * story.ANSWERED,
        "older verdicts": 5,
        "seeded": 1,
    }
    _its_record_is_true()


def facts() -> dict[str, Any]:
    return {
        "people": User.objects.count(),
        "models": list(RegisteredModel.objects.order_by("slug").values_list("slug", flat=True)),
        "versions": _counted(ModelVersion.objects.values_list("state")),
        "releases": sorted(Release.objects.values_list("model__slug", "number", "version__number")),
        "requests": _counted(ReleaseRequest.objects.values_list("state", flat=True)),
        "jobs": _counted(BatchJob.objects.values_list("state", flat=True)),
        "rows": sum(ProfilePart.objects.values_list("rows", flat=True)),
        "predictions": Prediction.objects.count(),
        "outcomes": Feedback.objects.count(),
        "older verdicts": Verdict.objects.filter(as_of__lt=timezone.now() - story.LATEST).count(),
        "seeded": AuditEvent.objects.filter(action=audit.Action.DEMO_SEEDED).count(),
    }


def _counted(values: Any) -> dict[Any, int]:
    found = list(values)
    return {value: found.count(value) for value in sorted(set(found))}


def _its_record_is_true() -> None:
    """The chain holds, each backdated act says so, and the version that waits waits for others than its author."""
    assert audit.verify().ok
    backdated = AuditEvent.objects.filter(
        action__in=["release.made", "batch.started", "request.approved", "request.rejected"]
    )
    assert all("as_of" in event.details for event in backdated)
    for release in Release.objects.all():
        asked = release.request
        assert asked and asked.decided_at and asked.requested_at < asked.decided_at < release.created_at
        assert asked.decisions.latest("decided_at").decided_at == asked.decided_at
    waiting = ReleaseRequest.objects.get(state="waiting")
    assert str(waiting.version) == "employment v3"
    with pytest.raises(Forbidden):
        approvals.approve(waiting, actor=people.AUTHOR.user)
    newest = Verdict.objects.filter(model__slug="employment").latest()
    assert newest.state == "drift"
    assert "age" in [column["name"] for column in newest.drifted]
    assert newest.window_end - newest.window_start == story.MONTH
