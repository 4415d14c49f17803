"""The record of a call by row and by column says the same, before and after some of its rows were erased."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference import logged
from inference.explanations import Reason, Why
from inference.predicted import Predictions
from inference.validation import Columns, RowWarning

texts = st.text(max_size=5)
numbers = st.floats(allow_nan=False, allow_infinity=False)
labels = st.none() | st.booleans() | st.integers(-9, 9) | texts
cells = labels | numbers
warnings = st.builds(RowWarning, texts, texts, texts)
whys = st.builds(
    Why, st.lists(st.builds(Reason, texts, cells, numbers), max_size=2), numbers, st.just("margin")
)


@st.composite
def answered(draw: st.DrawFn) -> tuple[Predictions, Predictions]:
    """The same answers with their inputs by row and by column."""
    count = draw(st.integers(1, 6))

    def column(each: st.SearchStrategy[Any]) -> Any:
        return draw(st.lists(each, min_size=count, max_size=count))

    def columns(names: list[str], each: st.SearchStrategy[Any]) -> Columns:
        return Columns(count, {name: column(each) for name in names})

    def by_place(each: st.SearchStrategy[Any]) -> Any:
        return draw(st.dictionaries(st.integers(0, count - 1), each))

    inputs = columns(draw(st.lists(texts, min_size=1, max_size=3, unique=True)), cells)
    classes = draw(st.lists(texts, max_size=3, unique=True))
    chances = columns(classes, numbers)
    common = {
        "ids": [f"p_{place}" for place in range(count)],
        "labels": column(labels),
        "values": column(st.none() | numbers),
        "probabilities": chances.rows if classes else [None] * count,
        "by_class": chances.values if classes else None,
        "warnings": by_place(st.lists(warnings, min_size=1, max_size=2)),
        "whys": by_place(whys),
    }
    return Predictions(inputs=inputs.rows, **common), Predictions(inputs=inputs, **common)


def record(predictions: Predictions) -> dict[str, Any]:
    """As it is read back."""
    call: dict[str, Any] = orjson.loads(orjson.dumps(logged.named(predictions.to_log())))
    return call


def told(call: dict[str, Any]) -> list[str]:
    """To the type: 1 is neither True nor 1.0. What has no reasons says so or says nothing."""
    return [repr(sorted({"why": None, **row}.items())) for row in logged.rows_of(call)]


@settings(deadline=None)
@given(answered(), st.data())
def test_both_forms_say_the_same_whatever_is_erased(
    both: tuple[Predictions, Predictions], data: st.DataObject
) -> None:
    by_row, by_column = (record(each) for each in both)
    assert ("rows" in by_row, "columns" in by_column) == (True, True)
    assert told(by_row) == told(by_column)

    for _time in range(2):
        gone = data.draw(st.sets(st.sampled_from([*both[0].ids, "p_of_another_call"])))
        expected = [row for row in logged.rows_of(by_column) if row["id"] not in gone]
        before = [len(orjson.dumps(call)) for call in (by_row, by_column)]

        held = [logged.erase(call, gone) for call in (by_row, by_column)]

        assert len(set(held)) == 1
        after = [len(orjson.dumps(call)) for call in (by_row, by_column)]
        assert all(new < old if held[0] else new == old for new, old in zip(after, before, strict=True))
        assert logged.rows_of(by_column) == expected
        assert told(by_row) == told(by_column)


def test_nothing_is_written_that_could_not_be_read_back() -> None:
    inputs = Columns(2, {"age": [1, 2]})
    broken = Predictions(["p_1"], ["no", "yes"], [None, None], [None, None], None, inputs, {}, {})

    with pytest.raises(ValueError, match="different lengths"):
        broken.to_log()
