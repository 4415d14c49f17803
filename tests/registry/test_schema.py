"""Schemas: taken from reference data, read strictly from JSON, compared for those who would break."""

import json
from typing import Any

import pyarrow as pa
import pytest
from django.utils import translation

from registry.errors import Invalid
from registry.schema import Field, Schema, Target, Training, diff, guess_positive, infer

FIELD = {"name": "age", "type": "integer"}
TARGET = {"name": "repaid", "task": "classification", "classes": ["no", "yes"], "positive": "yes"}


def schema(*fields: dict[str, Any], **changes: Any) -> Schema:
    return Schema.from_json({"fields": list(fields) or [FIELD], "target": TARGET, **changes})


def table(rows: int = 40, **columns: list[Any]) -> pa.Table:
    base = {
        "age": [20 + n % 30 for n in range(rows)],
        "income": [1000.5 + n if n % 10 else None for n in range(rows)],
        "city": ["Pune" if n % 3 else "Delhi" for n in range(rows)],
        "married": [n % 2 == 0 for n in range(rows)],
        "repaid": ["yes" if n % 4 else "no" for n in range(rows)],
    }
    return pa.table(base | columns)


def test_it_takes_types_ranges_and_gaps_from_the_data() -> None:
    found = infer(table(), "repaid", "classification", question="Will this person repay?")

    assert {each.name: each.type for each in found.fields} == {
        "age": "integer",
        "income": "number",
        "city": "category",
        "married": "boolean",
    }
    assert found.field("age").training == Training(min=20, max=49, missing=0.0)
    assert found.field("income").training.missing == 0.1
    assert [each.required for each in found.fields] == [True, False, True, True]
    assert found.field("city").categories == ("Delhi", "Pune")
    assert found.field("city").label_text == "City"
    assert (found.target.classes, found.target.positive) == (("no", "yes"), "yes")
    assert found.target.question_text == "Will this person repay?"


def test_it_takes_only_the_columns_that_the_model_reads() -> None:
    found = infer(table(), "repaid", "classification", columns=["city", "age"])

    assert found.names == ("city", "age")


def test_free_text_is_no_category() -> None:
    remarks = [f"remark number {n}" for n in range(500)]
    found = infer(table(rows=500, remarks=remarks), "repaid", "classification")

    assert found.field("remarks").type == "text"


def test_many_codes_that_repeat_are_a_category() -> None:
    codes = [f"code {n % 250}" for n in range(5000)]
    found = infer(table(rows=5000, codes=codes), "repaid", "classification")

    assert len(found.field("codes").categories) == 250


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", "b"] * 20).dictionary_encode(), "category"),
        (pa.array([1, 2] * 20, pa.int8()), "integer"),
        (pa.array([1, 2] * 20, pa.float32()), "number"),
        (pa.array([float("nan"), 2.0] * 20), "number"),
        (pa.array([None] * 40), "text"),
        (pa.array(["a", "b"] * 20, pa.large_string()), "category"),
    ],
)
def test_it_understands_what_parquet_files_hold(column: pa.Array, expected: str) -> None:
    found = infer(table(other=column), "repaid", "classification").field("other")

    assert found.type == expected


def test_a_nan_is_a_gap() -> None:
    found = infer(table(other=[float("nan"), 2.0] * 20), "repaid", "classification").field("other")

    assert (found.training.missing, found.training.max, found.required) == (0.5, 2.0, False)


def test_it_offers_three_different_real_rows_as_examples() -> None:
    found = infer(table(), "repaid", "classification")

    rows = table().to_pylist()
    assert len({each.name for each in found.examples}) == 3
    for each in found.examples:
        assert any(each.inputs.items() <= row.items() for row in rows)
    answers = {row["repaid"] for each in found.examples for row in rows if each.inputs.items() <= row.items()}
    assert answers == {"no", "yes"}


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("no", "yes"), "yes"),
        (("True", "False"), "True"),
        ((0, 1), 1),
        ((False, True), True),
        (("bad", "good"), "good"),
        (("a", "b", "c"), None),
    ],
)
def test_it_guesses_which_class_is_the_positive_one(classes: tuple[Any, ...], positive: Any) -> None:
    assert guess_positive(classes) == positive


def test_whole_floats_are_integer_classes() -> None:
    found = infer(table(repaid=[float(n % 3) for n in range(40)]), "repaid", "classification")

    assert found.target.classes == (0, 1, 2)
    assert {type(each) for each in found.target.classes} == {int}


@pytest.mark.parametrize(
    ("target", "task", "code"),
    [
        ([1.5 * n for n in range(40)], "classification", "wrong_task"),
        (["yes"] * 40, "classification", "one_class"),
        (["yes", "no"] * 20, "regression", "wrong_task"),
    ],
)
def test_it_refuses_a_target_that_does_not_fit_the_task(target: list[Any], task: Any, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        infer(table(repaid=target), "repaid", task)

    assert caught.value.code == code
    assert caught.value.fix


def test_it_names_the_columns_when_the_target_is_not_there() -> None:
    with pytest.raises(Invalid) as caught:
        infer(table(), "paid", "classification")

    assert "repaid" in caught.value.fix


def test_json_goes_there_and_back() -> None:
    found = infer(table(), "repaid", "classification")

    assert Schema.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("document", "field", "code"),
    [
        (None, "schema", "wrong_type"),
        ([], "schema", "wrong_type"),
        ({"fields": [], "target": TARGET}, "fields", "missing"),
        ({"fields": [{"name": "a", "type": "date"}], "target": TARGET}, "fields[0].type", "not_in_list"),
        ({"fields": [{"name": "", "type": "text"}], "target": TARGET}, "fields[0].name", "missing"),
        ({"fields": [FIELD, FIELD], "target": TARGET}, "fields", "duplicate"),
        ({"fields": [FIELD | {"color": 1}], "target": TARGET}, "fields[0].color", "unknown_field"),
        ({"fields": [FIELD | {"min": 5, "max": 1}], "target": TARGET}, "fields[0].min", "out_of_range"),
        ({"fields": [FIELD | {"min": "5"}], "target": TARGET}, "fields[0].min", "not_a_number"),
        ({"fields": [FIELD | {"min": float("nan")}], "target": TARGET}, "fields[0].min", "not_a_number"),
        ({"fields": [FIELD | {"min": 10**400}], "target": TARGET}, "fields[0].min", "not_a_number"),
        ({"fields": [FIELD | {"required": "yes"}], "target": TARGET}, "fields[0].required", "not_a_boolean"),
        ({"fields": [FIELD | {"label": 5}], "target": TARGET}, "fields[0].label", "wrong_type"),
        (
            {"fields": [{"name": "c", "type": "category"}], "target": TARGET},
            "fields[0].categories",
            "missing",
        ),
        (
            {"fields": [{"name": "c", "type": "category", "categories": ["a", "a"]}], "target": TARGET},
            "fields[0].categories",
            "wrong_type",
        ),
        ({"fields": [FIELD], "target": TARGET | {"task": "ranking"}}, "target.task", "not_in_list"),
        ({"fields": [FIELD], "target": TARGET | {"classes": ["one"]}}, "target.classes", "out_of_range"),
        ({"fields": [FIELD], "target": TARGET | {"classes": [1, True]}}, "target.classes", "wrong_type"),
        ({"fields": [FIELD], "target": TARGET | {"positive": "maybe"}}, "target.positive", "not_in_list"),
        ({"fields": [FIELD], "target": TARGET | {"name": "age"}}, "target.name", "duplicate"),
        (
            {"fields": [FIELD], "target": TARGET, "examples": [{"name": "x", "inputs": {"city": 1}}]},
            "examples[0].inputs.city",
            "unknown_field",
        ),
    ],
)
def test_it_names_the_place_and_the_remedy_of_every_mistake(document: Any, field: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        Schema.from_json(document)

    found = {(error["field"], error["code"]): error.get("fix") for error in caught.value.errors}
    assert found[field, code]


def test_words_fall_back_to_english() -> None:
    age = Field(name="age", type="integer", label={"en": "Age", "hi": "आयु"}, help={"en": "In years"})

    with translation.override("hi"):
        assert (age.label_text, age.help_text) == ("आयु", "In years")
    assert age.label_text == "Age"


def test_a_class_is_found_with_its_own_type() -> None:
    target = Target(name="y", task="classification", classes=(0, 1))

    assert (target.class_of(1.0), target.class_of("1"), target.class_of(2)) == (1, None, None)
    assert type(target.class_of(1.0)) is int


def test_a_comparison_says_what_changed_and_whom_it_breaks() -> None:
    before = schema(
        FIELD,
        {"name": "city", "type": "category", "categories": ["Delhi", "Pune"]},
        {"name": "income", "type": "number", "required": False},
        {"name": "old", "type": "text"},
    )
    after = schema(
        FIELD | {"max": 120},
        {"name": "city", "type": "text"},
        {"name": "income", "type": "number", "required": False, "label": "Income"},
        {"name": "tenure", "type": "number"},
        {"name": "extra", "type": "number", "required": False},
    )

    changes = {each.field: (each.kind, each.breaks) for each in diff(before, after)}

    assert changes == {
        "age": ("changed", True),
        "city": ("retyped", True),
        "income": ("changed", False),
        "tenure": ("added", True),
        "extra": ("added", False),
        "old": ("removed", True),
    }
    assert diff(before, before) == []
