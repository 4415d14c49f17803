"""The tables of the demo: census persons of this package, and two small classics that come with scikit-learn."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import train_test_split

CENSUS = Path(__file__).parent / "data" / "census_employment.parquet"
TRAINING_YEAR = 2015
LATER_YEARS = (2016, 2017, 2018)
MONTHS = 12
EVALUATION_ROWS = 1500
SEED = 2015

#: Not told to the models, carried along: who it is, and what results are looked at by.
ALONGSIDE = ("person_id", "sex", "race")

_DIABETES_NAMES = {
    "bmi": "body_mass_index",
    "bp": "blood_pressure",
    "s1": "total_cholesterol",
    "s2": "ldl",
    "s3": "hdl",
    "s4": "cholesterol_ratio",
    "s5": "log_triglycerides",
    "s6": "blood_sugar",
    "target": "progression",
}


@dataclass(frozen=True)
class Tables:
    """What a model learns from, and what it is measured on: no row is in both."""

    training: pd.DataFrame
    evaluation: pd.DataFrame


@cache
def census_persons() -> pd.DataFrame:
    """Every person of the sample, with plain Python words."""
    persons = pd.read_parquet(CENSUS)
    words = persons.select_dtypes(exclude="number").columns
    return persons.astype(
        dict.fromkeys(words, object) | {"person_id": "int64", "age": "int64", "year": "int64"}
    )


def census() -> Tables:
    """The persons of the training year, with one part held back."""
    persons = _of_year(TRAINING_YEAR).drop(columns="year")
    return _split(persons, EVALUATION_ROWS, persons["employed"])


def census_months(year: int) -> list[pd.DataFrame]:
    """A later year shuffled into twelve pseudo-months: the survey has years only."""
    shuffled = _of_year(year).sample(frac=1, random_state=year).drop(columns="year")
    bounds = [len(shuffled) * month // MONTHS for month in range(MONTHS + 1)]
    return [shuffled.iloc[begin:end].reset_index(drop=True) for begin, end in pairwise(bounds)]


def census_young_adults(rows: int = 500) -> pd.DataFrame:
    """Persons of 16 to 24 of the last year, on their own: a file unlike those that came before."""
    persons = _of_year(LATER_YEARS[-1])
    young = persons[persons["age"].between(16, 24)]
    return young.sample(rows, random_state=SEED).drop(columns="year").reset_index(drop=True)


def _of_year(year: int) -> pd.DataFrame:
    persons = census_persons()
    return persons[persons["year"] == year].reset_index(drop=True)


def diabetes() -> Tables:
    """442 patients of 2004; without `sex`, because the publication does not say which of its codes means what."""
    patients = load_diabetes(scaled=False, as_frame=True).frame
    return _split(patients.drop(columns="sex").rename(columns=_DIABETES_NAMES), 110)


def wine() -> Tables:
    """178 wines of three cultivars of one region of Italy."""
    wines = load_wine(as_frame=True).frame
    renamed = {"od280/od315_of_diluted_wines": "od280_od315", "target": "cultivar"}
    return _split(wines.rename(columns=renamed), 54, wines["target"])


def _split(rows: pd.DataFrame, held_back: int, by: pd.Series | None = None) -> Tables:
    training, evaluation = train_test_split(rows, test_size=held_back, random_state=SEED, stratify=by)
    return Tables(training.reset_index(drop=True), evaluation.reset_index(drop=True))
