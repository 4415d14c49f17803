"""A compiled form comes from beside an untrusted model: what is not sound is refused before it answers anything."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from inference.compiled.container import BadForm, Parts
from inference.compiled.errors import Declined
from inference.compiled.form import CompiledForm
from inference.runner import compiling, forms, scoring
from tests import trained

COLUMNS = [("age", "integer"), ("income", "number"), ("city", "category"), ("member", "boolean")]
ROWS = [{"age": 30, "income": 10.5, "city": "Pune", "member": True}, {}]


def compile_model(estimator: Any) -> bytes:
    model = trained._mixed(estimator).fit(trained.people()[trained.INPUTS], trained.people()["repaid"])
    return compiling.compile_form(scoring.Scorer(model), COLUMNS)


@cache
def forest() -> bytes:
    return compile_model(RandomForestClassifier(3, max_depth=3, random_state=0))


@cache
def sound() -> list[bytes]:
    boosted = HistGradientBoostingClassifier(max_iter=2, max_leaf_nodes=4)
    return [compile_model(LogisticRegression()), forest(), compile_model(boosted)]


def changed(data: bytes, change: Callable[[dict[str, Any], list[Any]], None]) -> bytes:
    """The same form, with its plan and arrays edited."""
    parts = Parts(data)
    arrays = [array.copy() for array in parts._arrays]
    change(parts.plan, arrays)
    return forms.pack(parts.plan, arrays, [], {})


def edit(name: str, place: int, value: float) -> Callable[[dict[str, Any], list[Any]], None]:
    """One number of one array of the model."""

    def change(plan: dict[str, Any], arrays: list[Any]) -> None:
        arrays[plan["model"][name]][place] = value

    return change


def test_the_forms_that_are_changed_here_are_sound() -> None:
    for data in sound():
        assert CompiledForm(data).answer_rows(ROWS).indices.shape == (2,)


def test_arrays_lie_where_numpy_uses_them_as_they_are_and_stay_what_they_were() -> None:
    """Where the file has them, numpy would copy them to a better place at every use."""
    arrays = [array for data in sound() for array in Parts(data)._arrays]

    assert all(array.flags.aligned and array.flags.c_contiguous for array in arrays)
    assert not any(array.flags.writeable for array in arrays)


def test_a_shape_that_no_array_has_is_refused() -> None:
    shape = [0, 2**31 - 1, 2**31 - 1]
    head = json.dumps({"plan": {}, "arrays": [["<f8", shape]], "graphs": [], "made_with": {}}).encode()

    with pytest.raises(BadForm, match="array shape"):
        Parts(forms.MAGIC + forms.LENGTH.pack(len(head)) + head)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("left", 0, 10_000),
        ("left", 1, 0),
        ("left", 1, 1),
        ("right", 0, 1),
        ("left", 0, 8),
        ("right", 0, -1),
        ("right", 0, -2),
        ("feature", 0, 10_000),
        ("feature", 0, -1),
        ("threshold", 0, np.nan),
        ("starts", 1, 0),
        ("starts", 1, 3),
        ("starts", 0, 1),
        ("values", 0, np.inf),
        ("missing_left", 0, 2),
    ],
)
def test_trees_that_lead_astray_are_refused(name: str, place: int, value: float) -> None:
    with pytest.raises(BadForm):
        CompiledForm(changed(forest(), edit(name, place, value)))


def test_a_tree_that_would_exhaust_the_stack_is_refused() -> None:
    depth = 50_000
    inner = np.arange(depth)
    chain = {
        "starts": [0, 2 * depth + 1],
        "left": np.concatenate([2 * inner + 1, [-1]]),
        "right": np.concatenate([2 * inner + 2, [-1]]),
    }
    left, right = np.full(2 * depth + 1, -1), np.full(2 * depth + 1, -1)
    left[: 2 * depth : 2], right[: 2 * depth : 2] = chain["left"][:-1], chain["right"][:-1]

    def change(plan: dict[str, Any], arrays: list[Any]) -> None:
        model = plan["model"]
        arrays[model["starts"]] = np.array(chain["starts"], "<i4")
        arrays[model["left"]], arrays[model["right"]] = left.astype("<i4"), right.astype("<i4")
        arrays[model["feature"]] = np.zeros(len(left), "<i4")
        arrays[model["threshold"]] = np.zeros(len(left), "<f8")
        arrays[model["missing_left"]] = np.zeros(len(left), "|u1")
        arrays[model["values"]] = np.zeros((depth + 1, 2), "<f8")

    with pytest.raises(BadForm, match="too deep"):
        CompiledForm(changed(forest(), change))


def rewritten(text: str, other: str) -> bytes:
    """The head edited as text, its length made to fit."""
    data = sound()[0]
    begin = len(forms.MAGIC) + forms.LENGTH.size
    (size,) = forms.LENGTH.unpack_from(data, len(forms.MAGIC))
    head = data[begin : begin + size].decode()
    assert text in head
    head = head.replace(text, other, 1)
    return forms.MAGIC + forms.LENGTH.pack(len(head)) + head.encode() + data[begin + size :]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ('"<f8"', '"|O"'),
        ('"<f8"', '"<f4"'),
        ('"op": "fill"', '"op": "eval"'),
        ('"of": 0', '"of": 99'),
        ('"of": 0', '"of": -1'),
        ('"of": 0', '"of": true'),
        ('"kind": "linear"', '"kind": "pickle"'),
        ('"link": "sigmoid"', '"link": "softmax"'),
        ('"link": "sigmoid"', '"link": ["sigmoid"]'),
        ('"classes": ["no", "yes"]', '"classes": ["no"]'),
        ('"classes": ["no", "yes"]', '"classes": [["no"], "yes"]'),
        ('"plan": {', '"plan": [], "other": {'),
        ('"graphs": []', '"graphs": [1000000]'),
        ('"coefficients": ', '"coefficients": 9'),
        ('"input": 2', '"input": 0'),
        ('["Agra"', '["Agra", "Agra"'),
        ('"arrays": [', '"arrays": [["<f8", [1000000000, 1000000000]], '),
        ('"made_with": {', '"made_with": {"x": NaN, '),
    ],
)
def test_plans_that_claim_what_is_not_there_are_refused(text: str, other: str) -> None:
    with pytest.raises(BadForm):
        CompiledForm(rewritten(text, other))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MGFORM1\n",
        b"\x80\x04cposix\nsystem\n",
        forms.MAGIC + b"\xff\xff\xff\xff{}",
        forms.MAGIC + b"\2\0\0\0[]",
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(BadForm):
        CompiledForm(data)


def test_whatever_bytes_are_changed_it_is_refused_or_it_answers() -> None:
    """No other error, no crash: a thousand damaged forms."""
    chance = random.Random(4)
    refused = 0
    for _time in range(1_000):
        data = bytearray(chance.choice(sound()))
        for _change in range(chance.choice([1, 1, 2, 8])):
            place = chance.randrange(len(data))
            data[place] = chance.choice([0, 1, 127, 255, chance.randrange(256)])
        if chance.random() < 0.1:
            data = data[: chance.randrange(len(data))]
        try:
            CompiledForm(bytes(data)).answer_rows(ROWS)
        except BadForm:
            refused += 1
        except Declined:
            continue
    assert refused > 100


def test_whatever_the_plan_says_it_is_refused_or_it_answers() -> None:
    chance = random.Random(5)
    others: list[Any] = [None, True, -1, 0, 1, 3, 99, 2**31, 1.5, "", "text", [], [[]], {}, {"op": "inputs"}]
    for _time in range(1_000):

        def change(plan: dict[str, Any], _arrays: list[Any]) -> None:
            place: Any = plan
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    return
                key = chance.choice(keys)
                if not isinstance(place[key], dict | list) or chance.random() < 0.15:
                    place[key] = chance.choice(others)
                    return
                place = place[key]

        try:
            CompiledForm(changed(chance.choice(sound()), change)).answer_rows(ROWS)
        except (BadForm, Declined):
            continue


def test_what_single_trees_answer_is_told_by_leaf_and_not_by_luck() -> None:
    """A tree whose leaves are all the same value still tells its classes apart by the first of equals."""
    data = compile_model(DecisionTreeClassifier(max_depth=1, random_state=0))
    even = changed(data, lambda plan, arrays: arrays[plan["model"]["values"]].fill(0.5))
    assert CompiledForm(even).answer_rows(ROWS).labels == ["no", "no"]
