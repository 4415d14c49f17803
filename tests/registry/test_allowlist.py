"""The list of reviewed names: complete for scikit-learn, free of names that act, and sorted for its readers."""

import importlib
import io
import json
import pickle
import warnings
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.utils import all_estimators

from registry import inspection
from tests import trained

LISTS: dict[str, Any] = json.loads(resources.files("registry").joinpath("allowlist.json").read_text("utf-8"))

#: Estimators that want other data than ours, or other estimators inside.
ELSEWHERE = {
    "MultiOutputClassifier",
    "MultiOutputRegressor",
    "ClassifierChain",
    "RegressorChain",
    "IsotonicRegression",
}
#: skops itself cannot write these.
NOT_IN_SKOPS = {"Birch"}


def data() -> tuple[pd.DataFrame, Any, Any]:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(np.abs(random.normal(size=(60, 3))) + 0.1, columns=["a", "b", "c"])
    return frame, np.tile(["x", "y", "z"], 20), np.asarray(frame["a"] * 2 + 0.1)


def fitted(kind: str) -> Iterator[tuple[str, Any]]:
    frame, words, numbers = data()
    target = words if kind == "classifier" else numbers
    for name, estimator in all_estimators(type_filter=kind):
        if name in ELSEWHERE:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield name, estimator().fit(frame, target)
            except (TypeError, ValueError):  # it needs arguments, or other data
                continue


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_every_estimator_of_scikit_learn_is_clean(kind: str) -> None:
    verdicts = {}
    for name, model in fitted(kind):
        files = [
            trained.joblib_bytes(model),
            trained.joblib_bytes(model, compress=3),
            pickle.dumps(model, protocol=2),
        ]
        if name not in NOT_IN_SKOPS:
            files.append(skops.io.dumps(model))
        for file in files:
            found = inspection.look(io.BytesIO(file))
            if found.verdict != "clean":
                verdicts[name] = [*found.dangerous, *found.unknown, *found.problems]

    assert verdicts == {}


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "gamma", "poisson", "quantile"])
def test_every_loss_of_boosting_is_clean(loss: str) -> None:
    frame, _words, numbers = data()
    model = HistGradientBoostingRegressor(loss=loss, quantile=0.5, max_iter=2).fit(frame, numbers)

    assert inspection.look(io.BytesIO(trained.joblib_bytes(model))).unknown == []


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_every_loss_of_older_boosting_is_clean(loss: str) -> None:
    frame, _words, numbers = data()
    model = GradientBoostingRegressor(loss=loss, n_estimators=2).fit(frame, numbers)

    assert inspection.look(io.BytesIO(trained.joblib_bytes(model))).unknown == []


def test_no_listed_name_acts_on_the_machine() -> None:
    allowed = {("functools", "partial"), ("_codecs", "encode"), ("copyreg", "_reconstructor")}
    listed = [tuple(name) for name in LISTS["names"] if tuple(name) not in allowed]

    assert [name for name in listed if inspection._is_dangerous(name)] == []


def test_names_are_whole_and_sorted() -> None:
    assert LISTS["names"] == sorted(LISTS["names"])
    assert len({tuple(name) for name in LISTS["names"]}) == len(LISTS["names"])
    assert [name for _module, name in LISTS["names"] if "." in name] == []


def test_the_names_of_today_exist() -> None:
    """Names of older releases may be gone with their module; a name that a module lacks is a typo."""
    gone = {
        "sklearn.metrics._scorer": {"_PredictScorer", "_ProbaScorer", "_ThresholdScorer"},
        "numpy": {"float_"},
    }
    missing = []
    for module, name in LISTS["names"]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = hasattr(importlib.import_module(module), name)
        except ImportError:
            continue
        if not found and name not in gone.get(module, set()):
            missing.append(f"{module}.{name}")

    assert missing == []
