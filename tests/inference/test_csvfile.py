"""Files as people really have them: what is read, what is said about it, what is refused and how."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import csvfile
from inference.csvfile import Reading
from registry.errors import Invalid, Refused, TooLarge
from registry.schema import Schema
from tests.factories import SCHEMA

TABLE = [["age", "city"], ["30", "Pune"], ["31", "Delhi"]]


def read(path: Path, content: bytes, rows: int = 1000, **asked: str) -> tuple[Reading, list[list[str]], int]:
    """Write, recognise, read: how it was read, the cells, and how many empty rows were ignored."""
    path.write_bytes(content)
    upload = csvfile.recognise(path, **asked)
    cells: list[list[str]] = []
    ignored = 0
    for block in upload.blocks(rows):
        ignored += block.ignored
        names = [csvfile.column_name(n) for n in range(len(upload.reading.header))]
        cells += [list(row.values()) for row in block.table.select(names).to_pylist()]
    return upload.reading, cells, ignored


GOOD: dict[str, tuple[bytes, list[list[str]]]] = {
    "plain": (b"age,city\n30,Pune\n31,Delhi\n", TABLE),
    "no newline at the end": (b"age,city\n30,Pune\n31,Delhi", TABLE),
    "windows newlines": (b"age,city\r\n30,Pune\r\n31,Delhi\r\n", TABLE),
    "old mac newlines": (b"age,city\r30,Pune\r31,Delhi\r", TABLE),
    "utf-8 with mark": (b"\xef\xbb\xbfage,city\n30,Pune\n31,Delhi\n", TABLE),
    "utf-16 little": ("\ufeffage\tcity\n30\tPune\n31\tDelhi\n".encode("utf-16-le"), TABLE),
    "utf-16 big": ("\ufeffage\tcity\n30\tPune\n31\tDelhi\n".encode("utf-16-be"), TABLE),
    "utf-16 without mark": ("age\tcity\n30\tPune\n31\tDelhi\n".encode("utf-16-le"), TABLE),
    "semicolons": (b"age;city\n30;Pune\n31;Delhi\n", TABLE),
    "bars": (b"age|city\n30|Pune\n31|Delhi\n", TABLE),
    "sep line": (b"sep=;\r\nage;city\r\n30;Pune\r\n31;Delhi\r\n", TABLE),
    "semicolons with commas inside": (
        b"a;b\n1,5;2,5\n3,5;4,5\n",
        [["a", "b"], ["1,5", "2,5"], ["3,5", "4,5"]],
    ),
    "quotes": (b'a,b\n"x, y","say ""hi"""\n', [["a", "b"], ["x, y", 'say "hi"']]),
    "newline in a cell": (b'a,b\n"one\ntwo",2\n', [["a", "b"], ["one\ntwo", "2"]]),
    "one column": (b"income\n50000\n60000\n", [["income"], ["50000"], ["60000"]]),
    "trailing empty columns": (b"a,b,,\n1,2,,\n", [["a", "b"], ["1", "2"]]),
    "blank lines first": (b"\n\nage,city\n30,Pune\n31,Delhi\n", TABLE),
    "leading zeros and spaces": (b"id,x\n007, 1 \n", [["id", "x"], ["007", " 1 "]]),
    "hindi": ("शहर,age\nपुणे,30\n".encode(), [["शहर", "age"], ["पुणे", "30"]]),
    "windows-1252": ("name,age\nJosé,30\n".encode("cp1252"), [["name", "age"], ["José", "30"]]),
}


@pytest.mark.parametrize("name", GOOD)
def test_it_reads(tmp_path: Path, name: str) -> None:
    content, expected = GOOD[name]
    reading, cells, _ignored = read(tmp_path / "file", content)
    assert [list(reading.header), *cells] == expected


BAD: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "empty_file", "empty"),
    "blank": (b" \r\n\n", "empty_file", "empty"),
    "a workbook": (b"PK\x03\x04....", "not_csv", "Excel"),
    "an old workbook": (b"\xd0\xcf\x11\xe0....", "not_csv", "old Excel"),
    "a web page": (b"<html><table>", "not_csv", "HTML"),
    "bytes that are no text": (b"a,b\n\x00\x01\x02\x03,2\n", "not_text", "not a text"),
    "broken bytes": (b"a,b\n1,2\n\x81\xff,3\n", "bad_encoding", "Row 3"),
    "a name with a zero byte": ("a\x00,b\n1,2\n".encode("utf-16"), "zero_byte", "column 1"),
    "same name twice": (b"amount,x,amount\n1,2,3\n", "duplicate_columns", "amount"),
    "a quote that never closes": (b'a,b\n1,2\n"3,4\n5,6\n', "bad_quotes", "line 3 never closes"),
    "text after a quote": (b'a,b\n"1"x,2\n', "bad_quotes", "Line 2"),
    "half a parquet file": (b"PAR1abc", "bad_parquet", "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_it_refuses_with_a_sentence(tmp_path: Path, name: str) -> None:
    content, code, words = BAD[name]
    with pytest.raises(Refused) as refusal:
        read(tmp_path / "file", content)
    assert refusal.value.code == code and words in str(refusal.value)


def test_what_was_guessed_is_said(tmp_path: Path) -> None:
    reading, _cells, _ignored = read(tmp_path / "file", "name;age\nJosé;30\n".encode("cp1252"))
    assert (reading.encoding, reading.delimiter) == ("cp1252", ";")
    assert any("Windows-1252" in note for note in reading.notes) and any(
        "“;”" in note for note in reading.notes
    )


def test_what_a_person_says_is_obeyed(tmp_path: Path) -> None:
    reading, cells, _ignored = read(tmp_path / "file", b"a;b,c\n1;2,3\n", delimiter=",", encoding="latin-1")
    assert (list(reading.header), cells, reading.notes) == (["a;b", "c"], [["1;2", "3"]], ())


def test_every_record_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a,b\n1,2\n\n,,\n3\n4,5,6\n7,8,,\n")
    blocks = list(csvfile.recognise(path).blocks(2))

    assert [(block.first_row, block.rows, block.ignored) for block in blocks] == [
        (0, 2, 1),
        (2, 2, 1),
        (4, 2, 0),
    ]
    rows = [row for block in blocks for row in block.table.select([csvfile.ROW, csvfile.PROBLEM]).to_pylist()]
    assert [(row["row"], row["problem"]) for row in rows] == [(0, None), (3, "1/2"), (4, "3/2"), (5, None)]


def test_rows_are_numbered_as_in_a_spreadsheet(tmp_path: Path) -> None:
    assert read(tmp_path / "file", b"a,b\n1,2\n")[0].number(0) == 2
    assert read(tmp_path / "file", b"\n\na,b\n1,2\n")[0].number(0) == 4


def test_parquet_reads_as_text_that_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    table = pa.table(
        {
            "n": [1, None],
            "x": [0.1, 1e300],
            "b": [True, False],
            "t": pa.array(["a", None]).dictionary_encode(),
        }
    )
    pq.write_table(table, path)

    reading, cells, _ignored = read(path, path.read_bytes())

    assert reading.kind == "parquet" and [float(row[1]) for row in cells] == [0.1, 1e300]
    assert [[row[0], *row[2:]] for row in cells] == [["1", "true", "a"], ["", "false", ""]]


def test_gzip_is_unpacked_and_a_bomb_is_stopped(tmp_path: Path) -> None:
    target = tmp_path / "out"
    csvfile.unpack(io.BytesIO(gzip.compress(b"a,b\n1,2\n")), target, limit=1000)
    assert target.read_bytes() == b"a,b\n1,2\n"

    with pytest.raises(TooLarge):
        csvfile.unpack(io.BytesIO(gzip.compress(b"0" * 5000)), target, limit=1000)
    with pytest.raises(TooLarge, match="200 times"):
        csvfile.unpack(io.BytesIO(gzip.compress(b"0" * 2**26)), target, limit=2**30)
    with pytest.raises(Invalid):
        csvfile.unpack(io.BytesIO(gzip.compress(b"a,b\n1,2\n" * 99)[:-9]), target, limit=10_000)


def test_columns_match_whatever_their_case_and_spacing() -> None:
    schema = Schema.from_json(SCHEMA)
    assert csvfile.match_columns(["  Age", "x", "CITY ", "In-come"], schema) == {
        "age": 0,
        "income": 3,
        "city": 2,
    }
    assert csvfile.match_columns(["years", "city"], schema, {"age": "years"}) == {"age": 0, "city": 1}


def test_all_that_is_missing_or_ambiguous_is_told_at_once() -> None:
    schema = Schema.from_json(SCHEMA)
    with pytest.raises(Invalid) as refusal:
        csvfile.match_columns(["income", "In_come", "IN COME"], schema)
    codes: Any = [(error["field"], error["code"]) for error in refusal.value.errors]
    assert codes == [("age", "missing_column"), ("city", "missing_column")]
    with pytest.raises(Invalid) as refusal:
        csvfile.match_columns(["AGE", "Age", "city"], schema)
    assert refusal.value.code == "ambiguous_column"


def test_a_mapping_names_real_fields_and_each_column_once() -> None:
    schema = Schema.from_json(SCHEMA)
    with pytest.raises(Invalid, match="no such field: years") as refusal:
        csvfile.match_columns(["age", "city"], schema, {"years": "age"})
    assert refusal.value.code == "unknown_field"
    with pytest.raises(Invalid, match="several fields: age, income"):
        csvfile.match_columns(["age", "city"], schema, {"income": "age"})


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=12)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_any_table_that_python_writes_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    quoting: Any,
    ending: str,
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerows([("first", "second", "third"), *rows])
    path = tmp_path_factory.mktemp("csv") / "file"

    _reading, cells, ignored = read(path, out.getvalue().encode(), delimiter=delimiter)

    assert cells == [list(row) for row in rows if not csvfile.is_empty(row)]
    assert ignored == sum(csvfile.is_empty(row) for row in rows)
