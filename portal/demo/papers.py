"""What comes with the demo's files: questions, schemas in words that business people use, and model cards.

English is always there; Hindi stands where the everyday word is beyond doubt, the other texts fall back to English.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa

from registry import schema
from registry.schema import Example, Field, Schema, Target, Words


@dataclass(frozen=True)
class Wording:
    """How one input is called and explained."""

    label: Words
    help: Words
    unit: str = ""
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] = ()

    def applied_to(self, field: Field) -> Field:
        return replace(
            field,
            label=self.label,
            help=self.help,
            unit=self.unit,
            min=self.min,
            max=self.max,
            categories=self.categories or field.categories,
        )


def says(
    label: str,
    text: str = "",
    hi: str = "",
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    categories: tuple[str, ...] = (),
) -> Wording:
    names = {"en": label, "hi": hi} if hi else {"en": label}
    return Wording(names, {"en": text} if text else {}, unit, least, most, categories)


@dataclass(frozen=True)
class Paper:
    """A question that the business asks, and everything that is said about it."""

    slug: str
    name: str
    task: schema.Task
    risk: str
    question: Words
    description: str
    wording: Mapping[str, Wording]
    target: Target
    examples: tuple[Example, ...]

    def schema_of(self, training: pd.DataFrame) -> Schema:
        """Types and ranges from the data, words from here."""
        table = pa.Table.from_pandas(training, preserve_index=False)
        found = schema.infer(table, self.target.name, self.task, columns=list(self.wording))
        fields = tuple(self.wording[field.name].applied_to(field) for field in found.fields)
        return Schema(
            fields=fields, target=replace(self.target, question=self.question), examples=self.examples
        )


# --- is this person in work? ---

_EDUCATION = (
    "under 3 years old", "no schooling", "nursery school", "kindergarten",
    "grade 1", "grade 2", "grade 3", "grade 4", "grade 5", "grade 6", "grade 7", "grade 8",
    "grade 9", "grade 10", "grade 11", "grade 12, no diploma", "high school diploma", "GED",
    "some college, under 1 year", "some college, no degree", "associate's degree", "bachelor's degree",
    "master's degree", "professional degree", "doctorate",
)  # fmt: skip

_YES_NO = ("yes", "no")

EMPLOYMENT = Paper(
    slug="employment",
    name="Employment",
    task="classification",
    risk="medium",
    question={"en": "Is this person in work?", "hi": "क्या यह व्यक्ति काम में है?"},
    description=(
        "Tells from a few facts about a person whether they are in work, so that a survey can fill in an answer that "
        "is missing. Public census data: American Community Survey, Massachusetts, trained on 2015.\n\n"
        "The survey has years only. The months that these pages show are pseudo-months: each of the years 2016, 2017 "
        "and 2018 was shuffled into twelve parts and laid over the last thirty-six months. The newest file, "
        "young_adults_2018.csv, is different on purpose: it holds persons of 16 to 24 of 2018 once more, on their own."
    ),
    wording={
        "age": says("Age", "Age in completed years; 0 for a baby.", "आयु", unit="years", least=0, most=120),
        "education": says("Education", "Highest level reached.", "शिक्षा", categories=_EDUCATION),
        "marital_status": says(
            "Marital status",
            "Today, in law.",
            "वैवाहिक स्थिति",
            categories=("never married", "married", "separated", "divorced", "widowed"),
        ),
        "relationship": says(
            "Relationship",
            "To the person in whose name the home is owned or rented (the “reference person”). "
            "“Other group quarters” are student halls, shelters and the like.",
        ),
        "disability": says(
            "Any disability", "Any lasting difficulty, in body or mind.", "दिव्यांगता", categories=_YES_NO
        ),
        "parents_in_work": says(
            "Parents in work", "Only of children who live with a parent; “not applicable” for everybody else."
        ),
        "citizenship": says(
            "Citizenship",
            "",
            "नागरिकता",
            categories=(
                "born in US", "born in US territory", "born abroad to US parents", "naturalized", "not a citizen",
            ),
        ),
        "moved_last_year": says(
            "Moved in the last year",
            "Where from, if the person lived elsewhere a year ago.",
            categories=("no", "within US", "from abroad", "under 1 year old"),
        ),
        "military_service": says(
            "Military service",
            "“Under 17” for those whom nobody asks.",
            "सैन्य सेवा",
            categories=("never", "training only", "past active duty", "active duty", "under 17"),
        ),
        "ancestry_report": says(
            "Ancestry answer",
            "How the question about ancestry was answered, not what was said.",
            categories=("single", "multiple", "unclassified", "not reported"),
        ),
        "foreign_born": says("Born abroad", "", "विदेश में जन्म", categories=_YES_NO),
        "hearing_difficulty": says(
            "Difficulty hearing", "Deaf, or serious difficulty hearing.", "सुनने में कठिनाई", categories=_YES_NO
        ),
        "vision_difficulty": says(
            "Difficulty seeing",
            "Blind, or serious difficulty seeing even with glasses.",
            "देखने में कठिनाई",
            categories=_YES_NO,
        ),
        "cognitive_difficulty": says(
            "Difficulty concentrating",
            "Serious difficulty remembering or deciding. Not asked under five.",
            categories=(*_YES_NO, "not asked"),
        ),
    },
    target=Target(
        name="employed",
        task="classification",
        classes=("no", "yes"),
        positive="yes",
        words={"yes": {"en": "In work", "hi": "काम में"}, "no": {"en": "Not in work", "hi": "काम में नहीं"}},
    ),
    examples=(
        Example(
            name="Teacher of 41, married",
            inputs={
                "age": 41, "education": "master's degree", "marital_status": "married",
                "relationship": "reference person", "disability": "no", "parents_in_work": "not applicable",
                "citizenship": "born in US", "moved_last_year": "no", "military_service": "never",
                "ancestry_report": "single", "foreign_born": "no", "hearing_difficulty": "no",
                "vision_difficulty": "no", "cognitive_difficulty": "no",
            },
        ),
        Example(
            name="Student of 19 in a hall",
            inputs={
                "age": 19, "education": "some college, under 1 year", "marital_status": "never married",
                "relationship": "other group quarters", "disability": "no", "parents_in_work": "not applicable",
                "citizenship": "born in US", "moved_last_year": "within US", "military_service": "never",
                "ancestry_report": "multiple", "foreign_born": "no", "hearing_difficulty": "no",
                "vision_difficulty": "no", "cognitive_difficulty": "no",
            },
        ),
        Example(
            name="Widow of 74",
            inputs={
                "age": 74, "education": "high school diploma", "marital_status": "widowed",
                "relationship": "reference person", "disability": "yes", "parents_in_work": "not applicable",
                "citizenship": "naturalized", "moved_last_year": "no", "military_service": "never",
                "ancestry_report": "single", "foreign_born": "yes", "hearing_difficulty": "yes",
                "vision_difficulty": "no", "cognitive_difficulty": "no",
            },
        ),
    ),
)  # fmt: skip

# --- how far will diabetes go? ---

DIABETES = Paper(
    slug="diabetes-progression",
    name="Diabetes progression",
    task="regression",
    risk="high",
    question={
        "en": "How far will diabetes have progressed in a year?",
        "hi": "एक साल में मधुमेह कितना बढ़ेगा?",
    },
    description=(
        "Estimates a score of disease progression one year ahead from a patient's routine figures (Efron, Hastie, "
        "Johnstone and Tibshirani, 2004; 442 patients). For showing a regression, not for treating anybody."
    ),
    wording={
        "age": says("Age", "At the first visit.", "आयु", unit="years", least=18, most=110),
        "body_mass_index": says(
            "Body mass index", "Weight by height squared.", "बॉडी मास इंडेक्स", unit="kg/m²", least=10, most=80
        ),
        "blood_pressure": says("Blood pressure", "Mean arterial pressure.", "रक्तचाप", unit="mmHg", least=30, most=200),
        "total_cholesterol": says(
            "Total cholesterol", "In serum.", "कुल कोलेस्ट्रॉल", unit="mg/dl", least=50, most=600
        ),
        "ldl": says("LDL", "Low-density lipoproteins.", unit="mg/dl", least=10, most=500),
        "hdl": says("HDL", "High-density lipoproteins.", unit="mg/dl", least=5, most=200),
        "cholesterol_ratio": says("Cholesterol ratio", "Total cholesterol divided by HDL.", least=1, most=20),
        "log_triglycerides": says(
            "Triglycerides (logarithm)", "Natural logarithm of serum triglycerides.", least=1, most=10
        ),
        "blood_sugar": says("Blood sugar", "In serum.", "रक्त शर्करा", unit="mg/dl", least=30, most=600),
    },
    target=Target(name="progression", task="regression", unit="points"),
    examples=(
        Example(
            name="Patient of 59, heavy",
            inputs={
                "age": 59, "body_mass_index": 32.1, "blood_pressure": 101, "total_cholesterol": 157, "ldl": 93.2,
                "hdl": 38, "cholesterol_ratio": 4, "log_triglycerides": 4.8598, "blood_sugar": 87,
            },
        ),
        Example(
            name="Patient of 48, slim",
            inputs={
                "age": 48, "body_mass_index": 21.6, "blood_pressure": 87, "total_cholesterol": 183, "ldl": 103.2,
                "hdl": 70, "cholesterol_ratio": 3, "log_triglycerides": 3.8918, "blood_sugar": 69,
            },
        ),
    ),
)  # fmt: skip

# --- which grape is it? ---

WINE = Paper(
    slug="wine-cultivar",
    name="Wine cultivar",
    task="classification",
    risk="low",
    question={"en": "Which grape was this wine made of?", "hi": "यह वाइन किस अंगूर से बनी है?"},
    description=(
        "Names the cultivar of a wine of Piedmont from thirteen figures of the laboratory (Forina and others, 1988; "
        "178 wines). For showing an answer of three classes."
    ),
    wording={
        "alcohol": says("Alcohol", "", "अल्कोहल", unit="% by volume", least=5, most=20),
        "malic_acid": says("Malic acid", unit="g/l", least=0, most=15),
        "ash": says("Ash", unit="g/l", least=0, most=6),
        "alcalinity_of_ash": says("Alkalinity of ash", unit="meq/l", least=0, most=60),
        "magnesium": says("Magnesium", "", "मैग्नीशियम", unit="mg/l", least=0, most=400),
        "total_phenols": says("Total phenols", least=0, most=10),
        "flavanoids": says("Flavonoids", least=0, most=12),
        "nonflavanoid_phenols": says("Non-flavonoid phenols", least=0, most=3),
        "proanthocyanins": says("Proanthocyanins", least=0, most=8),
        "color_intensity": says("Colour intensity", least=0, most=30),
        "hue": says("Hue", least=0, most=4),
        "od280_od315": says("Dilution (OD280/OD315)", "Optical density of the diluted wine.", least=0, most=8),
        "proline": says("Proline", unit="mg/l", least=0, most=4000),
    },
    target=Target(
        name="cultivar",
        task="classification",
        classes=(0, 1, 2),
        words={"0": {"en": "Barolo"}, "1": {"en": "Grignolino"}, "2": {"en": "Barbera"}},
    ),
    examples=(
        Example(
            name="Rich in proline",
            inputs={
                "alcohol": 14.23, "malic_acid": 1.71, "ash": 2.43, "alcalinity_of_ash": 15.6, "magnesium": 127,
                "total_phenols": 2.8, "flavanoids": 3.06, "nonflavanoid_phenols": 0.28, "proanthocyanins": 2.29,
                "color_intensity": 5.64, "hue": 1.04, "od280_od315": 3.92, "proline": 1065,
            },
        ),
        Example(
            name="Light in colour",
            inputs={
                "alcohol": 12.37, "malic_acid": 0.94, "ash": 1.36, "alcalinity_of_ash": 10.6, "magnesium": 88,
                "total_phenols": 1.98, "flavanoids": 0.57, "nonflavanoid_phenols": 0.28, "proanthocyanins": 0.42,
                "color_intensity": 1.95, "hue": 1.05, "od280_od315": 1.82, "proline": 520,
            },
        ),
        Example(
            name="Poor in flavonoids",
            inputs={
                "alcohol": 12.86, "malic_acid": 1.35, "ash": 2.32, "alcalinity_of_ash": 18, "magnesium": 122,
                "total_phenols": 1.51, "flavanoids": 1.25, "nonflavanoid_phenols": 0.21, "proanthocyanins": 0.94,
                "color_intensity": 4.1, "hue": 0.76, "od280_od315": 1.29, "proline": 630,
            },
        ),
    ),
)  # fmt: skip


# --- cards ---

_EMPLOYMENT_CARD = """\
## Purpose
{what} It fills in “in work or not” for persons of a household survey who left the answer out, so that tables by town \
and age stay complete.

## Not for
Deciding anything about a person: no hiring, no benefits, no credit. The answer says what is usual for people like \
this one, not what this person does.

## Training data
5,500 persons of the American Community Survey, Massachusetts, survey year 2015 (US Census Bureau, public domain); \
1,500 others of the same year were held back and are the evaluation data.

Sex and race are in the data and are no inputs of the model. They are kept beside it so that anybody can look at how \
well it answers for each group; leaving them out does not by itself make the answers fair, because other inputs go \
along with them.

## How it works
{how}

## Limits
One state, one year; the survey changed some of its codes since. Children are always “not in work”, which makes the \
overall figures look better than they are for adults. Rare households (foster children, lodgers) are few in the data: \
expect more mistakes there. Survey weights are not used.

## Owner
Asha Rao, survey statistics
"""

_DIABETES_CARD = """\
## Purpose
{what} It shows how a model that answers with a number is governed and watched.

## Not for
Care of patients. It was never validated in a clinic, and the data is from one place and one time.

## Training data
332 of 442 patients (Efron and others, Least Angle Regression, 2004); the other 110 are the evaluation data. The \
column `sex` was left out because the publication does not say which of its two codes means what.

## How it works
{how}

## Limits
Few patients: on rows held back a typical answer is 50 points off, on a scale from 25 to 346. Missing figures are \
replaced by the median.

## Owner
Asha Rao, health analytics
"""

_WINE_CARD = """\
## Purpose
{what} It shows an answer of three classes.

## Not for
Proof of origin. A wine of any other region or grape is answered with one of the three names all the same.

## Training data
124 of 178 wines of Piedmont (Forina and others, 1988); the other 54 are the evaluation data.

## How it works
{how}

## Limits
Three cultivars that a laboratory tells apart easily: a perfect score on 54 wines does not promise the same elsewhere.

## Owner
Asha Rao, quality laboratory
"""

CARDS = {
    "employment-logistic-regression": _EMPLOYMENT_CARD.format(
        what="First version: as simple as can be.",
        how="Logistic regression over scaled age and one column per word of every other input. Words that it never "
        "saw count as none of them.",
    ),
    "employment-random-forest": _EMPLOYMENT_CARD.format(
        what="Second version: knows that work begins and ends at an age.",
        how="100 decision trees, at most 12 questions deep, over the same columns as version 1.",
    ),
    "employment-gradient-boosting": _EMPLOYMENT_CARD.format(
        what="Third version: the most accurate so far.",
        how="120 rounds of histogram gradient boosting; the words of each input are numbered, and a word that it never "
        "saw is a number of its own.",
    ),
    "diabetes-ridge": _DIABETES_CARD.format(
        what="Estimates the disease progression score one year after a first visit.",
        how="Ridge regression over nine scaled figures: each figure raises or lowers the score in proportion.",
    ),
    "diabetes-random-forest": _DIABETES_CARD.format(
        what="Estimates the same score with a forest, to see whether more than straight lines is in the data.",
        how="60 decision trees over nine figures.",
    ),
    "wine-logistic-regression": _WINE_CARD.format(
        what="Tells Barolo, Grignolino and Barbera apart by their chemistry.",
        how="Logistic regression over thirteen scaled figures.",
    ),
}
