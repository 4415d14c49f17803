"""Shapley values by sampling, for any model: Štrumbelj and Kononenko 2014, with each order walked both ways."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

ROUNDS = 64


def contributions(
    row: pd.DataFrame, background: pd.DataFrame, ask: Callable[[pd.DataFrame], Floats], until: float
) -> tuple[Floats, float]:
    """What each column of `row` (one row) adds, and the base; more rounds until `until` (time.monotonic()).

    In each round the columns of one background row are replaced by the row's, in a random order and in its reverse:
    what each replacement changes is that column's share, so every round adds up exactly, and so does their mean.
    The seed is fixed: the same question has the same explanation, as long as the time allows as many rounds.
    """
    random = np.random.default_rng(0)
    columns = list(row.columns)
    total, base, rounds = np.zeros(len(columns)), 0.0, 0
    while rounds < ROUNDS and (rounds == 0 or time.monotonic() < until):
        order = random.permutation(len(columns))
        start = background.iloc[[int(random.integers(len(background)))]]
        answers = ask(_mixtures(row, start, columns, order))
        count = len(columns) + 1
        total[order] += np.diff(answers[:count])
        total[order[::-1]] += np.diff(answers[count:])
        base += answers[0] + answers[count]
        rounds += 1
    return total / (2 * rounds), float(base / (2 * rounds))


def _mixtures(row: pd.DataFrame, start: pd.DataFrame, columns: list[str], order: Any) -> pd.DataFrame:
    """`start`, then one column after the other replaced by the row's: once in this order, once in the reverse."""
    replaced = _steps(len(columns), order), _steps(len(columns), order[::-1])
    masks = np.concatenate(replaced)
    mixed = {}
    for place, name in enumerate(columns):
        pair = pd.concat([start[name], row[name]], ignore_index=True)
        mixed[name] = pair.take(masks[:, place].astype(int)).reset_index(drop=True)
    return pd.DataFrame(mixed)


def _steps(columns: int, order: Any) -> npt.NDArray[np.bool_]:
    masks = np.zeros((columns + 1, columns), np.bool_)
    for step, place in enumerate(order):
        masks[step + 1 :, place] = True
    return masks
