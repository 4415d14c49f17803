"""Models, data, versions, decisions and releases of the demo, each brought about by the verb that people use.

Every function looks first at what is there: the demo may have been stopped anywhere and goes on from there.
"""

import io
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
from django.utils.translation import gettext as _

from portal.demo import people, story, training
from portal.demo.papers import CARDS, Paper
from portal.demo.waiting import wait_for
from registry.actions import approvals, catalog, releases
from registry.models import (
    PRODUCTION,
    CheckResult,
    Dataset,
    Environment,
    ModelVersion,
    RegisteredModel,
    ReleaseRequest,
    User,
)

State = ModelVersion.State


class ChecksFailed(Exception):
    """A demo version did not pass; the message holds the check's own words."""


def model_of(paper: Paper) -> RegisteredModel:
    return RegisteredModel.objects.get(slug=paper.slug)


def create_model(paper: Paper) -> RegisteredModel:
    known = RegisteredModel.objects.filter(slug=paper.slug).first()
    return known or catalog.create_model(
        slug=paper.slug,
        name=paper.name,
        task=paper.task,
        risk=paper.risk,
        question=paper.question["en"],
        description=paper.description,
        actor=people.AUTHOR.user,
    )


def upload(paper: Paper, release: story.Release) -> ModelVersion:
    """The version of this recipe: trained and uploaded now if it was not yet, its checks under way."""
    model, author = model_of(paper), people.AUTHOR.user
    version = _version_of(model, release)
    if version is None:
        with tempfile.TemporaryDirectory(prefix="modelgate-demo-") as folder:
            version = _train_and_upload(paper, release, Path(folder), author)
    if version.state in (State.DRAFT, State.CHECKS_FAILED):  # stopped in between, or something was away
        catalog.start_checks(version, actor=author)
    return version


def _version_of(model: RegisteredModel, release: story.Release) -> ModelVersion | None:
    return ModelVersion.objects.filter(model=model, filename=release.recipe.filename).first()


def _train_and_upload(paper: Paper, release: story.Release, folder: Path, author: User) -> ModelVersion:
    model, recipe = model_of(paper), release.recipe
    tables = recipe.tables()
    trained = training.train(recipe, folder)
    with trained.path.open("rb") as file:
        return catalog.upload_version(
            model,
            file=file,
            filename=recipe.filename,
            schema=paper.schema_of(tables.training).to_json(),
            reference=_dataset(model, tables.training, "reference", recipe.target, author),
            evaluation=_dataset(model, tables.evaluation, "evaluation", recipe.target, author),
            metrics=trained.metrics,
            expected=as_csv(trained.expected),
            card=CARDS[recipe.name],
            notes=release.notes,
            actor=author,
        )


def _dataset(model: RegisteredModel, rows: pd.DataFrame, role: str, target: str, author: User) -> Dataset:
    filename = f"{model.slug}-{'training' if role == 'reference' else role}.csv"
    return catalog.add_dataset(
        model, file=as_csv(rows), filename=filename, role=role, target=target, actor=author
    )


def as_csv(rows: pd.DataFrame) -> io.BytesIO:
    return io.BytesIO(rows.to_csv(index=False).encode())


def wait_for_checks(version: ModelVersion, seconds: float) -> None:
    """Until the worker has looked at the version; ChecksFailed with the sentence of the check that failed."""

    def look() -> str | None:
        version.refresh_from_db(fields=["state"])
        return None if version.state == State.CHECKING else version.state

    if (
        wait_for(look, what=_("Checking %(version)s") % {"version": version}, seconds=seconds)
        == State.CHECKS_FAILED
    ):
        failed = version.checks.filter(status=CheckResult.Status.FAILED).order_by("position").first()
        raise ChecksFailed(f"{version}: {failed.name}: {failed.detail}" if failed else str(version))


# --- from the request to the release ---


def govern(told: story.Story, release: story.Release, *, now: datetime) -> None:
    """Asked by the author, decided by others, released by the operator, each in its time; or left where it is."""
    version = _version_of(model_of(told.paper), release)
    if version is None or version.releases.exists():
        return
    asked = told.asked(release)
    request = _request(version, release, now - asked if asked else None)
    if release.is_left_waiting:
        return
    _decide(request, release, now - told.decided(release))
    if not release.is_rejected:
        releases.release(
            version.model,
            version=version,
            reason=release.release,
            as_of=now - told.age(release),
            actor=people.OPERATOR.user,
        )


def _request(version: ModelVersion, release: story.Release, at: datetime | None) -> ReleaseRequest:
    place = Environment.objects.get(slug=PRODUCTION)
    last = ReleaseRequest.objects.filter(version=version, environment=place).order_by("-pk").first()
    if last is not None and last.state not in (ReleaseRequest.State.STALE, ReleaseRequest.State.EXPIRED):
        return last
    return approvals.ask(
        version, environment=PRODUCTION, reason=release.ask, as_of=at, actor=people.AUTHOR.user
    )


def _decide(request: ReleaseRequest, release: story.Release, at: datetime) -> None:
    for hours, person in enumerate((people.APPROVER, people.SECOND_APPROVER)):
        request.refresh_from_db()
        if request.state != ReleaseRequest.State.WAITING:
            return
        user = person.user
        if request.decisions.filter(decided_by=user).exists():
            continue
        verb = approvals.reject if release.is_rejected else approvals.approve
        verb(request, comment=release.comment, as_of=at + timedelta(hours=hours), actor=user)
