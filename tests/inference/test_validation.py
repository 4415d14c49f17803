"""Validation: the same rule for a form, a JSON body and a column of a file; nothing is coerced in silence."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.validation import (
    MANY,
    MAX_ERRORS,
    MAX_TEXT,
    examine,
    trusted_table,
    validate_columns,
    validate_rows,
)
from registry.schema import Field, Schema

SCHEMA = Schema.from_json(
    {
        "fields": [
            {"name": "number", "type": "number", "min": 0, "max": 1e6, "training": {"min": 5, "max": 10}},
            {"name": "integer", "type": "integer", "required": False},
            {"name": "boolean", "type": "boolean", "required": False},
            {"name": "category", "type": "category", "categories": ["salaried", "self"], "required": False},
            {
                "name": "strict",
                "type": "category",
                "categories": ["a", "b"],
                "strict": True,
                "required": False,
            },
            {"name": "text", "type": "text", "required": False},
        ],
        "target": {"name": "y", "task": "regression"},
    }
)


def judge(name: str, value: Any, *, as_text: bool = False) -> tuple[Any, str, str]:
    """The clean value, the code of the problem, the code of the warning."""
    found = examine(SCHEMA.field(name), value, as_text=as_text)
    problem = found.problem.code if found.problem else ""
    return found.value, problem, found.warning.code if found.warning else ""


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("number", 7, (7.0, "", "")),
        ("number", 7.25, (7.25, "", "")),
        ("number", 4, (4.0, "", "outside_training_range")),
        ("number", 11, (11.0, "", "outside_training_range")),
        ("number", -0.1, (None, "out_of_range", "")),
        ("number", 1e7, (None, "out_of_range", "")),
        ("number", 10**400, (None, "out_of_range", "")),
        ("number", None, (None, "missing", "")),
        ("number", "7", (None, "not_a_number", "")),
        ("number", "seven", (None, "not_a_number", "")),
        ("number", True, (None, "wrong_type", "")),
        ("number", [7], (None, "wrong_type", "")),
        ("number", {"a": 1}, (None, "wrong_type", "")),
        ("number", math.nan, (None, "not_a_number", "")),
        ("number", math.inf, (None, "not_a_number", "")),
        ("integer", 5, (5, "", "")),
        ("integer", 5.0, (5, "", "")),
        ("integer", 5.5, (None, "not_an_integer", "")),
        ("integer", 2**63, (None, "out_of_range", "")),
        ("integer", 2**63 - 1, (2**63 - 1, "", "")),
        ("integer", 1e300, (None, "out_of_range", "")),
        ("integer", None, (None, "", "")),
        ("integer", "5", (None, "not_a_number", "")),
        ("boolean", True, (True, "", "")),
        ("boolean", 1, (None, "not_a_boolean", "")),
        ("boolean", "yes", (None, "not_a_boolean", "")),
        ("category", "self", ("self", "", "")),
        ("category", "Self", ("Self", "", "unseen_category")),
        ("category", "", ("", "", "unseen_category")),
        ("category", 5, (None, "wrong_type", "")),
        ("strict", "a", ("a", "", "")),
        ("strict", "c", (None, "not_in_list", "")),
        ("text", "x" * MAX_TEXT, ("x" * MAX_TEXT, "", "")),
        ("text", "x" * (MAX_TEXT + 1), (None, "too_long", "")),
        ("text", "a\x00b", (None, "wrong_type", "")),
        ("text", "\ud800", (None, "wrong_type", "")),
        ("text", 5, (None, "wrong_type", "")),
    ],
)
def test_values_of_json(name: str, value: Any, expected: tuple[Any, str, str]) -> None:
    found = judge(name, value)

    assert found == expected
    assert type(found[0]) is type(expected[0])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("number", "7", 7.0),
        ("number", " 7.50 ", 7.5),
        ("number", "+7", 7.0),
        ("number", "7e0", 7.0),
        ("number", "७.५", 7.5),
        ("integer", "१२३", 123),
        ("integer", "\u22125", -5),
        ("integer", "5.0", 5),
        ("integer", "9007199254740993", 9007199254740993),
        ("integer", "", None),
        ("integer", "   ", None),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("boolean", "हाँ", True),
        ("boolean", "नहीं", False),
        ("category", " SELF ", "self"),
        ("strict", "B", "b"),
        ("text", "  kept  ", "  kept  "),
        ("text", "", None),
    ],
)
def test_values_that_people_type(name: str, value: str, expected: Any) -> None:
    found = judge(name, value, as_text=True)

    assert found == (expected, "", "")
    assert type(found[0]) is type(expected)


@pytest.mark.parametrize(
    "value",
    ["nan", "inf", "-Infinity", "1_000", "1,50", "1,00,000", "50%", "(5)", "0x10", "1e99999", "--5", "५_०"],
)
def test_what_python_would_take_for_a_number_is_refused(value: str) -> None:
    assert judge("number", value, as_text=True)[1] == "not_a_number"


@pytest.mark.parametrize(
    ("value", "fix"),
    [("1,50", "1.50"), ("1,00,000", "100000"), ("1,234.5", "1234.5"), ("१,५", "1.5")],
)
def test_the_fix_says_how_to_write_the_number(value: str, fix: str) -> None:
    found = examine(SCHEMA.field("number"), value, as_text=True)

    assert found.problem
    assert found.problem.fix.endswith(fix)


def test_a_typing_error_gets_a_suggestion() -> None:
    found = validate_rows(SCHEMA, [{"number": 7, "category": "salried", "strict": "aa", "nmber": 1}])

    assert "Did you mean “salaried”?" in found.warnings[0][0].detail
    fixes = {error["field"]: error["fix"] for error in found.errors}
    assert fixes["nmber"] == "Did you mean “number”?"


def test_a_row_says_everything_that_is_wrong_with_it() -> None:
    found = validate_rows(
        SCHEMA, [{"number": 7}, {"integer": 1.5, "colour": "red", "boolean": "x"}, "no row"]
    )

    assert [(error["row"], error["field"], error["code"]) for error in found.errors] == [
        (1, "number", "missing"),
        (1, "integer", "not_an_integer"),
        (1, "boolean", "not_a_boolean"),
        (1, "colour", "unknown_field"),
        (2, "", "wrong_type"),
        (2, "number", "missing"),
    ]
    assert all(error["expected"] and error["fix"] for error in found.errors)
    assert found.valid.tolist() == [True, False, False]


def test_absent_is_null_is_missing() -> None:
    given_null = validate_rows(SCHEMA, [{"number": 7, "text": None}])

    assert given_null.table.equals(validate_rows(SCHEMA, [{"number": 7}]).table)


def test_columns_are_the_schemas_in_its_order_and_types() -> None:
    found = validate_rows(SCHEMA, [{"text": "t", "integer": 2, "number": 7}]).table

    assert found.column_names == list(SCHEMA.names)
    assert found.schema.types == [pa.float64(), pa.int64(), pa.bool_(), pa.string(), pa.string(), pa.string()]


def test_it_spells_out_a_thousand_errors_and_counts_the_rest() -> None:
    found = validate_rows(SCHEMA, [{}] * (MAX_ERRORS + 500))

    assert (len(found.errors), found.error_count) == (MAX_ERRORS, MAX_ERRORS + 500)


@settings(deadline=None)
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3)
)
def test_any_json_value_is_judged_and_never_raises(value: Any) -> None:
    for each in SCHEMA.fields:
        found = examine(each, value)
        if found.problem is None and found.value is not None:
            assert type(found.value) in (float, int, bool, str)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_judged_and_never_raises(value: str) -> None:
    for each in SCHEMA.fields:
        examine(each, value, as_text=True)


awkward = """
7|7.5|+7|-0|1e3|1,5|nan|inf|1_000|७|9007199254740993|9223372036854775808|5.0|self|SELF|salried|a|B|c|yes|No|हाँ
"""
cells = st.one_of(
    st.none(),
    st.sampled_from([*awkward.strip().split("|"), "", " ", " 7 ", "x" * 10_001, "a\x00"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.floats(allow_nan=False).map(str),
    st.integers(-(2**70), 2**70).map(str),
)
text_rows = st.lists(st.fixed_dictionaries(dict.fromkeys(SCHEMA.names, cells)), min_size=1, max_size=6)


@settings(deadline=None)
@given(text_rows)
def test_columns_of_text_are_judged_like_rows_of_text(rows: list[dict[str, str | None]]) -> None:
    by_row = validate_rows(SCHEMA, rows, as_text=True)
    by_column = validate_columns(
        SCHEMA, {name: pa.array([row[name] for row in rows]) for name in SCHEMA.names}
    )

    assert by_column.table.equals(by_row.table)
    assert by_column.valid.tolist() == by_row.valid.tolist()
    assert sorted(by_column.errors, key=str) == sorted(by_row.errors, key=str)
    assert {row: set(found) for row, found in by_column.warnings.items()} == {
        row: set(found) for row, found in by_row.warnings.items()
    }


awkward_values: list[Any] = [
    *(0, 1, 4.99, 5, 7, 10, 10.01, 1e6, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 1e300, -0.0, math.nan, math.inf),
    *("a", "b", "self", "salried", "", "x" * 10_001, "a\x00", "\ud800", True, False, None, [], {}),
]
json_cells: st.SearchStrategy[Any] = st.sampled_from(awkward_values) | st.floats() | st.integers()
json_rows: st.SearchStrategy[list[Any]] = st.lists(
    st.dictionaries(st.sampled_from([*SCHEMA.names, "nmber", ""]), json_cells) | st.none() | st.just([]),
    max_size=5,
)


many_fine_rows = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.sampled_from([5, 6.5, 7, 10, 12.0, 2**53, math.nan]),
            "category": st.sampled_from(["self", "salaried", "other", "salried"]),
            "text": st.sampled_from(["t", ""]),
        },
        optional={
            "integer": st.none() | st.integers(0, 9),
            "boolean": st.none() | st.booleans(),
            "strict": st.none() | st.sampled_from(["a", "b"]),
        },
    ),
    min_size=MANY,
    max_size=MANY + 4,
)


@settings(deadline=None)
@given(json_rows | many_fine_rows, st.booleans())
def test_the_shortcut_for_what_is_plainly_fine_changes_nothing(rows: list[Any], as_text: bool) -> None:
    found = validate_rows(SCHEMA, rows, as_text=as_text)

    for position, row in enumerate(rows):
        cells = row if isinstance(row, dict) else {}
        one_by_one = {
            each.name: examine(each, cells.get(each.name), as_text=as_text) for each in SCHEMA.fields
        }
        assert repr(found.rows()[position]) == repr({name: cell.value for name, cell in one_by_one.items()})
        assert found.warnings.get(position, []) == [
            cell.warning for cell in one_by_one.values() if cell.warning and not cell.problem
        ]
        strange = [name for name in cells if name not in SCHEMA.names]
        expected = [cell.problem.code for cell in one_by_one.values() if cell.problem]
        expected += ["unknown_field"] * len(strange)
        expected = expected if isinstance(row, dict) else ["wrong_type", *expected]
        assert [each["code"] for each in found.error_rows.get(position, [])] == expected
        assert found.valid[position] == (not expected)


typed_rows = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.none() | st.floats(allow_nan=False),
            "integer": st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
            "boolean": st.none() | st.booleans(),
            "category": st.none() | st.sampled_from(["self", "salaried", "other"]),
        }
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)
@given(typed_rows)
def test_typed_columns_are_judged_like_rows_of_json(rows: list[dict[str, Any]]) -> None:
    types = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "category": pa.string()}
    by_row = validate_rows(SCHEMA, rows)
    by_column = validate_columns(
        SCHEMA, pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()})
    )

    assert by_column.table.equals(by_row.table)
    assert by_column.valid.tolist() == by_row.valid.tolist()
    assert [error["code"] for error in by_column.errors] == [error["code"] for error in by_row.errors]


def test_columns_of_another_type_are_errors_not_accidents() -> None:
    columns = {"number": pa.array([True, False]), "category": pa.array([1, 2]), "boolean": pa.array([1, 0])}

    found = validate_columns(SCHEMA, columns)

    assert not found.valid.any()
    assert {(error["field"], error["code"]) for error in found.errors} == {
        ("number", "wrong_type"),
        ("boolean", "not_a_boolean"),
        ("category", "wrong_type"),
    }


def test_a_nan_of_a_parquet_file_is_a_gap() -> None:
    found = validate_columns(SCHEMA, {"number": np.array([7.0, np.nan]), "integer": np.array([1.0, np.nan])})

    assert found.valid.tolist() == [True, False]
    assert found.table["integer"].to_pylist() == [1, None]


def test_columns_that_the_model_does_not_read_are_not_looked_at() -> None:
    found = validate_columns(SCHEMA, {"number": pa.array(["7"]), "person_id": pa.array(["0012"])})

    assert found.is_valid


def test_an_empty_chunk_is_an_empty_table() -> None:
    assert len(validate_columns(SCHEMA, pa.table({"number": pa.array([], pa.string())})).table) == 0
    assert len(validate_rows(SCHEMA, []).table) == 0


def test_rows_of_our_own_log_come_back_as_they_were() -> None:
    checked = validate_rows(SCHEMA, [{"number": 7, "integer": 2**62, "text": "t"}, {"number": 8}])

    assert trusted_table(SCHEMA, checked.rows()).equals(checked.table)


def test_no_echo_of_a_wrong_value_is_longer_than_a_line() -> None:
    found = validate_rows(SCHEMA, [{"number": "x" * 100_000, "integer": 10**300, "text": ["deep"] * 10_000}])

    assert all(len(str(error["value"])) < 250 for error in found.errors)


def test_a_field_may_be_called_anything() -> None:
    odd = Schema(fields=(Field(name="दो शब्द\"'<>", type="number"),), target=SCHEMA.target)

    assert validate_rows(odd, [{"दो शब्द\"'<>": 1}]).is_valid
