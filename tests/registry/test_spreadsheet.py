"""No cell of ours is run by a spreadsheet."""

import pytest

from registry import spreadsheet


@pytest.mark.parametrize("text", ["=1+1", "+SUM(A1)", "-cmd|' /c calc'!A0", "@SUM", "\t=1", "＝1+1", " =1"])
def test_text_that_would_be_run_gets_an_apostrophe(text: str) -> None:
    assert spreadsheet.escape(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "plain", "-1", "+3.5", "-1,5e-3", "-12%"])
def test_other_text_and_numbers_stay(text: str) -> None:
    assert spreadsheet.escape(text) == text


def test_a_column_with_nothing_to_escape_comes_back_as_it_is() -> None:
    column = ["a", "b"]

    assert spreadsheet.escape_all(column) is column
    assert spreadsheet.escape_all(["a", "=b"]) == ["a", "'=b"]
