"""From raw scores to probabilities or values, as scikit-learn's links do it. Whoever asks lets overflow pass."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit

from inference.compiled.container import Array, BadForm

#: Each row's class (a place), the probabilities of all classes, the value of a regression.
Computed = tuple[Array | None, Array | None, Array | None]
Link = Callable[[Array], Any]


def of(name: object, classes: int) -> Link:
    known = REGRESSION if not classes else BINARY if classes == 2 else MANY
    if not isinstance(name, str) or name not in known:
        raise BadForm("link")
    return known[name]


def _two(scores: Array) -> Array:
    second = expit(scores)
    return np.concatenate((1.0 - second, second), axis=1)


def _two_doubled(scores: Array) -> Array:
    """The exponential loss: half the log-odds."""
    return _two(2.0 * scores)


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _one_against_all(scores: Array) -> Array:
    """Each class against the rest, then made to add up; all alike where none is likely."""
    found = np.asarray(expit(scores))
    sums = found.sum(axis=1)
    nowhere = sums == 0
    if nowhere.any():
        found[nowhere] = 1.0
        sums[nowhere] = found.shape[1]
    return np.asarray(found / sums[:, np.newaxis])


def _exp(scores: Array) -> Array:
    return np.asarray(np.exp(scores))


def none(_scores: Array) -> None:
    return None


def _same(scores: Array) -> Array:
    return scores


REGRESSION: dict[str, Link] = {"identity": _same, "exp": _exp}
BINARY: dict[str, Link] = {"none": none, "sigmoid": _two, "sigmoid_of_double": _two_doubled}
MANY: dict[str, Link] = {"none": none, "softmax": _softmax, "ovr": _one_against_all}
