"""Reading reference data: CSV in its usual shapes and Parquet, or one sentence that says what to mend."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from registry import delimited, tables
from registry.errors import Invalid, TooLarge
from tests import factories


def read(data: bytes) -> pa.Table:
    return tables.read_table(io.BytesIO(data))


def parquet(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_it_types_a_column_by_all_of_its_values() -> None:
    found = read(b"a,b,c,d,e\n1,1.5,true,x,1\n-2,+2e3,FALSE,,x\n,.5,,y,\n")

    assert found.to_pydict() == {
        "a": [1, -2, None],
        "b": [1.5, 2000.0, 0.5],
        "c": [True, False, None],
        "d": ["x", None, "y"],
        "e": ["1", "x", None],
    }


@pytest.mark.parametrize("value", ["1,50", "1_000", "inf", "1e999", "0x1f", "50%", "１２", "1.2.3"])
def test_what_is_not_plainly_a_number_stays_text(value: str) -> None:
    assert read(f'a;b\n"{value}";1\n'.encode())["a"].to_pylist() == [value]


@pytest.mark.parametrize("mark", ["", "NA", "N/A", "n/a", "#N/A", "NaN", "null"])
def test_missing_marks_are_gaps(mark: str) -> None:
    assert read(f"a,b\n{mark},1\n5,2\n".encode())["a"].to_pylist() == [None, 5]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("नाम,b\nअ,1\n".encode(), "utf-8"),
        ("नाम,b\nअ,1\n".encode("utf-8-sig"), "utf-8-sig"),
        ("नाम\tb\nअ\t1\n".encode("utf-16"), "utf-16"),
        ("café,b\né,1\n".encode("cp1252"), "cp1252"),
    ],
)
def test_it_finds_the_encoding(data: bytes, encoding: str) -> None:
    reading = delimited.read(data)

    assert reading.encoding == encoding
    assert reading.text[0] in "नc"


def test_it_says_when_the_encoding_was_a_guess() -> None:
    assert "Windows-1252" in delimited.read("café\né\n".encode("cp1252")).notes[0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_it_finds_the_separator(delimiter: str) -> None:
    text = f'a{delimiter}b{delimiter}"c, d; e"\n1{delimiter}2{delimiter}"x, y; z"\n'

    assert delimited.detect_delimiter(text) == delimiter


def test_it_obeys_the_separator_that_excel_writes() -> None:
    assert read(b"sep=|\na|b,c\n1|2\n").column_names == ["a", "b,c"]


def test_one_column_is_a_table() -> None:
    assert read(b"income\n50000\n").to_pydict() == {"income": [50000]}


def test_a_newline_in_quotes_is_one_cell() -> None:
    assert read(b'a,b\n"x\ny",1\n')["a"].to_pylist() == ["x\ny"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"  \n \n", "empty_file"),
        (b"a,b\n", "no_rows"),
        (b"a,b\n1\n", "ragged_row"),
        (b"a,b\n1,2,3\n", "ragged_row"),
        (b"a,a\n1,2\n", "duplicate_column"),
        (b"a,,c\n1,2,3\n", "unnamed_column"),
        (b"PK\x03\x04rest", "not_csv"),
        (b"\xd0\xcf\x11\xe0rest", "not_csv"),
        (b"%PDF-1.7", "not_csv"),
        (b"<!DOCTYPE html>", "not_csv"),
        (b"a,b\n\x00\x00,1\n", "not_csv"),
        (b"n\x81me,b\n1,2\n", "bad_encoding"),
        (b"PAR1 and nothing more", "bad_parquet"),
        (parquet(a=[1, 2])[:-20], "bad_parquet"),
        (parquet(a=[[1], [2]]), "nested_column"),
    ],
)
def test_it_refuses_with_a_sentence_and_a_remedy(data: bytes, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(data)

    assert caught.value.code == code
    assert caught.value.fix


def test_it_refuses_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 100)
    with pytest.raises(TooLarge):
        read(b"a\n" + b"1\n" * 200)

    monkeypatch.setattr(tables, "MAX_BYTES", 10_000)
    monkeypatch.setattr(tables, "MAX_ROWS", 5)
    for data in (b"a\n" + b"1\n" * 6, parquet(a=[1] * 6)):
        with pytest.raises(TooLarge):
            read(data)


def test_it_reads_parquet_in_plain_types() -> None:
    sink = io.BytesIO()
    column = pa.array(["x", "y"]).dictionary_encode()
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int8()), "b": column}), sink)

    found = read(sink.getvalue())

    assert found.schema.types == [pa.int64(), pa.string()]


def test_it_describes_columns_for_people() -> None:
    found = tables.describe(read(b"age,city\n20,Pune\n30,Pune\n,Delhi\n"))

    assert found["rows"] == 3
    age, city = found["columns"]
    assert age == {
        "name": "age",
        "type": "integer",
        "missing": 1,
        "distinct": 2,
        "min": 20,
        "max": 30,
        "mean": 25.0,
    }
    assert city["top"] == [{"value": "Pune", "count": 2}, {"value": "Delhi", "count": 1}]


@pytest.mark.django_db
def test_it_reads_a_stored_dataset() -> None:
    dataset = factories.create_dataset()

    assert tables.read_dataset(dataset).column_names == ["age", "income", "city", "repaid"]


def test_a_small_parquet_that_stands_for_gigabytes_is_refused_while_it_is_read() -> None:
    once = pa.array(["x" * 1_000_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), once)
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": column}), sink, compression="zstd", store_schema=False)

    assert len(sink.getvalue()) < 10_000
    with pytest.raises(TooLarge):
        read(sink.getvalue())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (parquet(**{"a": [1], "b\x00": [2]}), "The name of column 2 "),
        ("a,b\x00\n1,2\n".encode("utf-16"), "The name of column 2 "),
        (parquet(a=[1, 2, 3], b=["x", None, "y\x00"]), "Column b holds a zero byte, first in row 3 "),
        ("a,b\n1,x\x00\n".encode("utf-16"), "Column b holds a zero byte, first in row 1 "),
    ],
)
def test_a_zero_byte_is_refused_where_it_is(data: bytes, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(data)

    assert caught.value.code == "zero_byte"
    assert str(caught.value).startswith(words)
    assert caught.value.fix
