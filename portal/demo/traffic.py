"""What came in: files that the business user let be scored, single questions, and the outcomes that followed."""

import hashlib
from datetime import datetime

import pandas as pd
from django.utils.translation import gettext as _

from inference import batches, log, predictions
from inference.feedback import give_feedback
from inference.ids import PREFIX
from inference.models import BatchJob, Feedback, Prediction
from portal.demo import data, people, record, story, training
from portal.demo.papers import Paper
from portal.demo.waiting import wait_for

State = BatchJob.State
DONE = (State.SUCCEEDED, State.SUCCEEDED_WITH_ERRORS, State.EXPIRED)
ENDED_BADLY = (State.FAILED, State.CANCELLED, State.REJECTED)


class NotScored(Exception):
    """A demo file was not scored; the message holds the job's own words."""


# --- files ---


def start(file: story.File, now: datetime) -> BatchJob:
    """The job of this file: started as of the day it came in, or taken up again if it failed."""
    model, business = record.model_of(file.paper), people.BUSINESS.user
    job = BatchJob.objects.filter(model=model, filename=file.name, created_by=business).first()
    if job is None:
        rows = file.rows.drop(columns=file.target)
        return batches.start_batch(
            model, record.as_csv(rows), file.name, as_of=file.arrived(now), actor=business
        )
    if job.state in (State.FAILED, State.CANCELLED):
        batches.retry(job, actor=business)
    return job


def wait_until_scored(job: BatchJob, seconds: float) -> None:
    def look() -> str | None:
        job.refresh_from_db()
        return job.state if job.is_finished else None

    if wait_for(look, what=_("Scoring %(file)s") % {"file": job.filename}, seconds=seconds) in ENDED_BADLY:
        raise NotScored(f"{job.filename}: {job.error or job.get_state_display()}")


def tell_outcomes(file: story.File, job: BatchJob, now: datetime) -> None:
    """What became known of the file's rows by now: some of the latest, most of the older ones."""
    if Feedback.objects.filter(prediction_id__startswith=batches.prediction_id(job, 0)[:-1]).exists():
        return
    known = file.rows[file.target].sample(frac=file.known, random_state=data.SEED)
    at = min(file.arrived(now) + story.OUTCOME_DELAY, now)
    items = [
        {"prediction": batches.prediction_id(job, row), "actual": _plain(known[row]), "at": at}
        for row in sorted(known.index)
    ]
    give_feedback(items, actor=people.INTEGRATOR.user)


def _plain(actual: object) -> object:
    """A value as JSON has it, not as numpy does."""
    return actual.item() if hasattr(actual, "item") else actual


# --- single questions ---


def ask_single_questions() -> None:
    """The business user fills in the form, now and then; some of what came true is known by now."""
    for paper, rows in story.questions():
        _ask(paper, rows)
    log.ingest(wait=True)  # so that the checks count them, and outcomes find them
    for paper, rows in story.questions():
        _tell_some(paper, rows)


def _ask(paper: Paper, rows: pd.DataFrame) -> None:
    model, business = record.model_of(paper), people.BUSINESS.user
    for number, row in enumerate(training.inputs(rows, paper.target.name).to_dict("records")):
        public_id = _question_id(paper, number)
        if not Prediction.objects.filter(public_id=public_id).exists():
            predictions.predict(model, [row], actor=business, channel="page", ids=[public_id])


def _tell_some(paper: Paper, rows: pd.DataFrame) -> None:
    """Saying the same again changes nothing, so nothing is looked up first."""
    actual = rows[paper.target.name].head(story.ANSWERED).tolist()
    items = [
        {"prediction": _question_id(paper, number), "actual": each} for number, each in enumerate(actual)
    ]
    give_feedback(items, actor=people.BUSINESS.user)


def _question_id(paper: Paper, number: int) -> str:
    """Always the same id for the same question: asked a second time, it is the same prediction."""
    return PREFIX + hashlib.sha256(f"demo {paper.slug} {number}".encode()).hexdigest()[:26]
