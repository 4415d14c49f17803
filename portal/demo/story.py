"""What happened in the demo: who uploaded what, when it was released, which files came in and how they turned out.

Plain facts. `seeding` makes them happen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from portal.demo import data, papers, training
from portal.demo.papers import Paper
from portal.demo.training import Recipe

MONTH = timedelta(days=30)
#: The latest file came in half a day ago: a window of a month that ends now holds it and not the one before.
LATEST = timedelta(hours=12)
#: How many outcomes are known of the latest file, of the one before, and of all older ones: labels come late.
KNOWN_OUTCOMES = (0.35, 0.70, 0.92)
OUTCOME_DELAY = timedelta(days=20)
#: How long before a version is released somebody asks for it, and somebody else has decided.
ASKED_BEFORE, DECIDED_BEFORE = timedelta(days=3), timedelta(days=1)
#: Single questions of each model, and how many of them were answered by life meanwhile.
QUESTIONS, ANSWERED = 24, 15


@dataclass(frozen=True)
class Release:
    """A version that was asked for, and what became of it."""

    recipe: Recipe
    notes: str
    ask: str
    comment: str = ""
    release: str = ""
    begins: float = 0  # how long ago it was (or would have been) released, as a share of the model's story
    is_rejected: bool = False

    @property
    def is_left_waiting(self) -> bool:
        return not self.comment


@dataclass(frozen=True)
class Story:
    """One model from its first upload to today."""

    paper: Paper
    releases: tuple[Release, ...]
    months: int

    def age(self, release: Release) -> timedelta:
        """How long ago this version was released: after what came in before it was looked at."""
        return MONTH * self.months * release.begins - 2 * LATEST

    def asked(self, release: Release) -> timedelta | None:
        """How long ago somebody asked that it may answer; None: just now."""
        return None if release.is_left_waiting else self.age(release) + ASKED_BEFORE

    def decided(self, release: Release) -> timedelta:
        return self.age(release) + DECIDED_BEFORE


@dataclass(frozen=True)
class File:
    """A file that a business user let be scored, with the outcomes that became known later."""

    paper: Paper
    name: str
    age: timedelta
    rows: pd.DataFrame
    version: int
    known: float

    @property
    def target(self) -> str:
        return self.paper.target.name

    def arrived(self, now: datetime) -> datetime:
        return now - self.age


EMPLOYMENT = (
    Release(
        training.EMPLOYMENT[0],
        notes="First version.",
        ask="First version: simple, easy to explain, 0.888 AUC on persons held back.",
        comment="Card and limits are clear. Good enough to fill gaps in tables.",
        release="Goes live before the first file.",
        begins=1,
    ),
    Release(
        training.EMPLOYMENT[1],
        notes="Same inputs, 100 trees.",
        ask="AUC 0.895 (was 0.888), accuracy 0.829 (was 0.826); same inputs, no client has to change.",
        comment="Better on all four figures, by a little; nothing changes for those who ask.",
        release="Approved by Meera; answers from the next file on.",
        begins=0.5,
    ),
    Release(
        training.EMPLOYMENT[2],
        notes="Gradient boosting; the most accurate so far.",
        ask="Accuracy 0.839 (was 0.829), log loss 0.384 (was 0.407); same inputs, smaller file.",
    ),
)
DIABETES = Story(
    papers.DIABETES,
    (
        Release(
            training.DIABETES[0],
            notes="Straight lines through nine figures.",
            ask="First version: a typical error of 50 points, which the card says plainly.",
            comment="Only to show a regression; the card says so.",
            release="First version goes live.",
            begins=1,
        ),
        Release(
            training.DIABETES[1],
            notes="Is there more in the data than straight lines?",
            ask="A forest instead of straight lines.",
            comment="No better than version 1 (50.3 against 50.2 points) and harder to explain.",
            begins=0.5,
            is_rejected=True,
        ),
    ),
    months=2,
)
WINE = Story(
    papers.WINE,
    (
        Release(
            training.WINE[0],
            notes="Thirteen figures, three grapes.",
            ask="First version; every wine held back was named rightly.",
            comment="Low risk, clear limits.",
            release="First version goes live.",
            begins=1,
        ),
    ),
    months=2,
)


def stories(months: int = data.MONTHS) -> tuple[Story, ...]:
    """Every model's story; `months` of each year for the first (fewer for a quick look)."""
    return Story(papers.EMPLOYMENT, EMPLOYMENT, months * len(data.LATER_YEARS)), DIABETES, WINE


def files(months: int = data.MONTHS) -> Iterator[File]:
    """Every file, oldest first."""
    monthly = [
        (f"persons_{year}_month_{month:02}.csv", rows)
        for year in data.LATER_YEARS
        for month, rows in enumerate(data.census_months(year)[:months], start=1)
    ]
    for back, (name, rows) in zip(reversed(range(len(monthly))), monthly, strict=True):
        yield File(
            paper=papers.EMPLOYMENT,
            name=name,
            age=LATEST + back * MONTH,
            rows=rows,
            version=1 if back >= len(monthly) / 2 else 2,
            known=KNOWN_OUTCOMES[min(back, 2)],
        )
    young = data.census_young_adults()
    yield File(papers.EMPLOYMENT, "young_adults_2018.csv", LATEST / 2, young, 2, known=0.6)
    for paper, name in ((papers.DIABETES, "patients.csv"), (papers.WINE, "wines.csv")):
        rows = _held_back(paper).iloc[QUESTIONS:].reset_index(drop=True)
        yield File(paper, name, LATEST, rows, 1, known=1.0)


def questions() -> list[tuple[Paper, pd.DataFrame]]:
    """What was asked one by one, on the form."""
    asked = (papers.WINE, papers.DIABETES, papers.EMPLOYMENT)
    return [(paper, _held_back(paper).head(QUESTIONS)) for paper in asked]


def _held_back(paper: Paper) -> pd.DataFrame:
    """Rows that the model did not learn from."""
    tables = {
        papers.WINE.slug: data.wine,
        papers.DIABETES.slug: data.diabetes,
        papers.EMPLOYMENT.slug: data.census,
    }
    return tables[paper.slug]().evaluation
