"""A table of loans with mixed types and gaps, the same each time: 12 numbers, 5 words, whether it was not repaid."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

NUMBERS = [
    *("age", "income", "loan_amount", "loan_term", "credit_score", "debt_to_income", "num_accounts"),
    *("num_late", "utilization", "months_employed", "balance", "inquiries"),
]
WORDS = ["state", "home_ownership", "purpose", "employment_type", "channel"]
INPUTS = [*NUMBERS, *WORDS]
TARGET = "defaulted"

_STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH "
    "OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY"
).split()
_HOMES = ["RENT", "MORTGAGE", "OWN", "OTHER"]
_PURPOSES = (
    "debt_consolidation credit_card home_improvement major_purchase small_business car medical moving vacation "
    "house wedding other"
).split()
_EMPLOYMENTS = ["salaried", "self_employed", "contract", "retired", "student", "unemployed"]
_CHANNELS = ["web", "branch", "phone", "partner", "mobile"]
_WHOLE = ["age", "loan_term", "credit_score", "num_accounts", "num_late", "inquiries"]
_GAPS = {
    "credit_score": 0.05,
    "months_employed": 0.08,
    "utilization": 0.03,
    "income": 0.01,
    "employment_type": 0.06,
    "channel": 0.04,
}


def loans(count: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """`count` rows with their outcome; `shift` above 0 moves incomes, scores and arrears."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": random.integers(18, 80, count).astype(float),
            "income": random.lognormal(10.8 + shift * 0.3, 0.6, count).round(2),
            "loan_amount": random.gamma(2.5, 6000, count).round(2),
            "loan_term": random.choice([12.0, 24.0, 36.0, 48.0, 60.0], count),
            "credit_score": random.normal(690 - 20 * shift, 70, count).round().clip(300, 850),
            "debt_to_income": random.beta(2, 5, count).round(4),
            "num_accounts": random.poisson(8, count).astype(float),
            "num_late": random.poisson(0.4 + 0.2 * shift, count).astype(float),
            "utilization": random.beta(1.5, 2.5, count).round(4),
            "months_employed": random.exponential(60, count).round(1),
            "balance": random.lognormal(8, 1.2, count).round(2),
            "inquiries": random.poisson(1.2, count).astype(float),
            "state": _few_often(random, _STATES, count),
            "home_ownership": _few_often(random, _HOMES, count),
            "purpose": _few_often(random, _PURPOSES, count),
            "employment_type": _few_often(random, _EMPLOYMENTS, count),
            "channel": _few_often(random, _CHANNELS, count),
        }
    )
    table[TARGET] = (random.random(count) < 1 / (1 + np.exp(-_risk(table)))).astype(int)
    for name, share in _GAPS.items():
        table.loc[random.random(count) < share, name] = None if name in WORDS else np.nan
    return table


def bodies(count: int, rows_each: int = 1) -> Sequence[list[dict[str, Any]]]:
    """So many lists of rows as JSON has them: whole numbers whole, gaps null."""
    table = loans(count * rows_each, seed=10, shift=0.3)[INPUTS].astype(object)
    rows = json.loads(table.where(table.notna(), None).to_json(orient="records"))
    for row in rows:
        for name in _WHOLE:
            row[name] = None if row[name] is None else int(row[name])
    return [rows[first : first + rows_each] for first in range(0, len(rows), rows_each)]


def _few_often(random: np.random.Generator, names: Sequence[str], count: int) -> npt.NDArray[Any]:
    """As words are in the world: the first one often, the last one rarely."""
    weights = 1.0 / np.arange(1, len(names) + 1) ** 0.8
    return random.choice(np.array(names, dtype=object), count, p=weights / weights.sum())


def _risk(table: pd.DataFrame) -> Any:
    """Log-odds of not repaying; one step that no linear model knows."""
    young_and_much = (table["age"] < 25) & (table["loan_amount"] > 20_000)
    return (
        -2.2
        + 3.9 * (table["debt_to_income"] - 0.28)
        - 0.8 * (table["credit_score"] - 690) / 70
        + 0.5 * table["num_late"]
        + 0.9 * table["utilization"]
        - 0.6 * np.log(table["income"] / 49_000)
        + 0.35 * (table["home_ownership"] == "RENT")
        + 0.7 * (table["purpose"] == "small_business")
        + 0.8 * (table["employment_type"] == "unemployed")
        + 0.8 * young_and_much
    )
