"""What is not a model gets one sentence that says what it is and what to do."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping

import pytest

from registry import formats, inspection
from registry.errors import Refused
from tests import trained


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("model.joblib")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return buffer.getvalue()


OTHERS = {
    "empty": (b"", "empty_file", "empty"),
    "pdf": (b"%PDF-1.7 ...", "not_a_model", "PDF"),
    "html": (b"<!DOCTYPE html><html><body>Sign in", "not_a_model", "HTML"),
    "html after a blank": (b"\n\n <html>", "not_a_model", "HTML"),
    "csv": (b"age,income\n1,2\n3,4\n", "not_a_model", "CSV"),
    "semicolons": (b"age;income\n1;2\n3;4\n", "not_a_model", "CSV"),
    "json": (b'{"learner": {}}', "not_a_model", "JSON"),
    "python": (b"import joblib\njoblib.load('x')\n", "not_a_model", "Python"),
    "parquet": (b"PAR1....PAR1", "not_a_model", "Parquet"),
    "keras h5": (b"\x89HDF\r\n\x1a\n....", "not_a_model", "Keras"),
    "tensorflow": (b"\x08\x01\x12\xd0\x05", "not_a_model", "TensorFlow"),
    "tensorflow folder": (
        zipped({"m/saved_model.pb": b"", "m/variables/x": b""}),
        "not_a_model",
        "TensorFlow",
    ),
    "safetensors": (b'\x40\0\0\0\0\0\0\0{"a": 1}', "not_a_model", "safetensors"),
    "xgboost json": (b'{"learner":{"attributes":{}}}', "not_a_model", "XGBoost"),
    "xgboost ubj": (b"{L\0\0\0\0\0\0\0\x07learner{", "not_a_model", "XGBoost"),
    "onnx in a zip": (zipped({"model.onnx": b"", "weights.bin": b""}), "not_a_model", "ONNX"),
    "keras": (zipped({"config.json": b"{}", "model.weights.h5": b""}), "not_a_model", "Keras"),
    "xlsx": (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "not_a_model", "Office"),
    "pytorch": (zipped({"archive/data.pkl": b""}), "not_a_model", "PyTorch"),
    "mlflow": (zipped({"model/MLmodel": b"", "model/model.pkl": b""}), "bad_mlflow", "MLflow"),
    "plain zip": (zipped({"readme.txt": b"hello"}), "plain_zip", "zip archive"),
    "zip cut off": (zipped({"readme.txt": b"hello" * 99})[:200], "truncated", "ends too early"),
    "tar": (tarred(), "archive", "archive"),
    "gzipped csv": (gzip.compress(b"age,income\n1,2\n3,4\n"), "not_a_model", "CSV"),
    "onnx cut off": (b"\x08\x08\x12\x08skl2onnx\x1a\x061.19.1", "onnx_damaged", "ONNX"),
    "picture": (b"\x89PNG\r\n", "not_a_model", "picture"),
    "program": (b"\x7fELF\x02\x01", "not_a_model", "program"),
    "lz4": (b'\x04"M\x18abcd', "not_a_model", "lz4"),
    "words": (b"This is not a model at all.", "not_a_model", "not a model"),
    "noise": (bytes(range(7, 256)) * 9, "not_a_model", "not a model"),
    "git lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "not_a_model",
        "pointer",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_it_says_what_the_file_is_instead(name: str) -> None:
    data, code, word = OTHERS[name]

    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(data))

    assert refusal.value.code == code
    assert word in str(refusal.value)
    assert refusal.value.fix
    assert refusal.value.status in (415, 422)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("compress", [0, 3])
def test_it_says_that_a_model_was_cut_off(share: float, compress: int) -> None:
    data = trained.joblib_bytes(trained.logistic(), compress=compress)

    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(data[: int(len(data) * share)]))

    assert refusal.value.code == "truncated"


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
def test_it_knows_the_compressions_of_joblib(compress: int | tuple[str, int]) -> None:
    data = trained.joblib_bytes(trained.logistic(), compress=compress)

    assert formats.detect(io.BytesIO(data)) == "pickle"
    assert inspection.inspect(io.BytesIO(data)).format == "joblib"


BAD_ZIPS = {
    "climbs out": {"../../schema.json": b"{}", "schema.json": b"{}"},
    "absolute": {"/schema.json": b"{}", "schema.json": b"{}"},
    "same name twice": {"schema.json": b"{}", "SCHEMA.json": b"{}"},
}


@pytest.mark.parametrize("name", BAD_ZIPS)
def test_it_refuses_archives_that_play_tricks(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(zipped(BAD_ZIPS[name])))

    assert refusal.value.code == "bad_archive"


def test_it_refuses_a_symbolic_link_in_an_archive() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("schema.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")

    with pytest.raises(Refused) as refusal:
        inspection.inspect(buffer)

    assert refusal.value.code == "bad_archive"


def test_it_refuses_a_zip_bomb_before_unpacking_it() -> None:
    bomb = zipped({"schema.json": b"{}", "zeros": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)

    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(bomb))

    assert refusal.value.code == "expands_too_much"


def test_it_stops_at_the_limit_of_a_compressed_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_UNPACKED", 1 << 20)
    bomb = gzip.compress(b"\x80\x04B" + (8 << 20).to_bytes(4, "little") + bytes(8 << 20) + b".")

    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(bomb))

    assert refusal.value.code == "expands_too_much"


@pytest.mark.parametrize("name", ["keras", "keras h5"])
def test_keras_is_told_how_to_become_onnx(name):
    with pytest.raises(Refused) as refusal:
        formats.detect(io.BytesIO(OTHERS[name][0]))

    assert "format=“onnx”" in refusal.value.fix
    assert "tf2onnx" in refusal.value.fix
