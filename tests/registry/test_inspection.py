"""The inventory names what a load would import, and nothing of it happens."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from registry import inspection
from registry.errors import Invalid, Refused
from tests import hostile, trained

MODELS = {
    "logistic": trained.logistic,
    "forest": trained.forest,
    "boosted": trained.boosted,
    "three_classes": trained.three_classes,
    "regression": trained.regression,
    "plain_array": trained.plain_array,
    "words": trained.words,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("form", ["joblib", "joblib_compressed", "pickle", "skops"])
def test_it_finds_honest_models_clean(name: str, form: str) -> None:
    model = MODELS[name]()
    data = {
        "joblib": lambda: trained.joblib_bytes(model),
        "joblib_compressed": lambda: trained.joblib_bytes(model, compress=3),
        "pickle": lambda: pickle.dumps(model),
        "skops": lambda: skops.io.dumps(model),
    }[form]()

    found = inspection.inspect(io.BytesIO(data))

    assert found.verdict == "clean"
    assert found.format == form.partition("_")[0]
    assert found.sklearn_version == sklearn.__version__
    assert found.environment() == {"packages": {"scikit-learn": sklearn.__version__}}


def test_it_refuses_hostile_files_and_runs_none(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    for kind, data in hostile.corpus(canary).items():
        with pytest.raises(Refused) as refusal:
            inspection.inspect(io.BytesIO(data))
        assert not canary.exists(), kind
        assert str(refusal.value).count(".") >= 1, kind
        assert refusal.value.fix, kind
        assert refusal.value.status in (415, 422), kind


@pytest.mark.parametrize(
    "name", ["system", "joblib_zlib", "in_an_object_array", "after_a_raw_array", "inst", "obj"]
)
def test_it_names_what_would_have_run(name: str, tmp_path: Path) -> None:
    found_or_error = hostile.corpus(tmp_path / "canary")[name]

    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(found_or_error))

    assert refusal.value.code == "dangerous_file"
    assert "system" in str(refusal.value)


class OfMyOwn:
    """A class that the list does not have."""


def test_it_names_what_is_only_unknown() -> None:
    found = inspection.look(io.BytesIO(pickle.dumps({"model": OfMyOwn()})))

    assert found.verdict == "unknown"
    assert found.unknown == [f"{__name__}.OfMyOwn"]
    assert inspection.inspect(io.BytesIO(pickle.dumps(OfMyOwn()))).unknown == [f"{__name__}.OfMyOwn"]


@pytest.mark.parametrize("name", ["nan_\ud800", "nan\0", "nan\nnum", "n\u0430n_to_num", "nan\u202e"])
def test_a_name_that_reads_like_another_is_refused(name: str) -> None:
    text = name.encode("utf-8", "surrogatepass")
    data = b"\x80\x04\x8c\x05numpy\x8c" + bytes([len(text)]) + text + b"\x93."

    with pytest.raises(Invalid) as refusal:
        inspection.inspect(io.BytesIO(data))

    assert (refusal.value.code, str(refusal.value).isascii()) == ("dangerous_file", True)


def test_a_class_of_the_training_script_gets_its_own_advice() -> None:
    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(b"\x80\x04c__main__\nCleaner\n)\x81."))

    assert refusal.value.code == "unknown_names"
    assert "“__main__.Cleaner” out of the training script" in str(refusal.value)


@pytest.mark.parametrize(
    "name",
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("operator", "attrgetter"),
        ("types", "CodeType"),
        ("types", "FunctionType"),
        ("typing", "get_type_hints"),
        ("dataclasses", "make_dataclass"),
        ("dataclasses", "_create_fn"),
        ("joblib.logger", "shutil"),
        ("uuid", "os"),
        ("joblib.externals.cloudpickle", "CloudPickler"),
        ("runner.kernel", "syscall"),
        ("numpy", "load"),
        ("sklearn.utils", "parallel.os"),
    ],
    ids=".".join,
)
def test_nobody_is_ever_asked_to_admit_what_acts_on_the_machine(name: tuple[str, str]) -> None:
    stream = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in name) + b"\x93."

    assert refused(stream) == "dangerous_file"


def test_it_refuses_a_vectorizer_that_opens_files_named_in_the_data() -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good news", "bad news"], [0, 1])
    model[0].set_params(input="filename")

    for data in (pickle.dumps(model), skops.io.dumps(model)):
        with pytest.raises(Refused) as refusal:
            inspection.inspect(io.BytesIO(data))
        assert "TfidfVectorizer" in str(refusal.value)


@pytest.mark.parametrize("function", [eval, np.load, print])
def test_it_refuses_a_function_that_fires_on_predict(function: Any) -> None:
    model = make_pipeline(FunctionTransformer(function), LogisticRegression())

    for data in (pickle.dumps(model), skops.io.dumps(model)):
        with pytest.raises(Refused):
            inspection.inspect(io.BytesIO(data))


def test_it_accepts_categories_taken_from_the_frame() -> None:
    frame = trained.people()[["age", "city"]].astype({"city": "category"})
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=3)
    model.fit(frame, trained.people()["repaid"])

    assert inspection.inspect(io.BytesIO(trained.joblib_bytes(model))).verdict == "clean"


def test_a_declared_format_must_be_the_real_one() -> None:
    data = io.BytesIO(skops.io.dumps(trained.logistic()))

    with pytest.raises(Refused) as refusal:
        inspection.inspect(data, "joblib")

    assert refusal.value.code == "other_format"
    assert inspection.inspect(data, "skops").format == "skops"


def test_structures_that_explode_when_looked_at_are_not_looked_at() -> None:
    doubling = (
        b"\x80\x04]\x94"
        + b"".join(b"]\x94(h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in range(60))
        + b"."
    )

    found = inspection.look(io.BytesIO(doubling))

    assert found.globals == []


def test_a_length_beyond_the_file_allocates_nothing() -> None:
    for opcode in (b"\x8d", b"\x8e", b"\x96"):  # BINUNICODE8, BINBYTES8, BYTEARRAY8
        with pytest.raises(Refused):
            inspection.inspect(io.BytesIO(b"\x80\x05" + opcode + (1 << 40).to_bytes(8, "little") + b"x."))


@settings(max_examples=200, deadline=None)
@given(
    place=some.integers(0, 10_000),
    value=some.integers(0, 255),
    which=some.sampled_from(["joblib", "zlib", "pickle"]),
)
def test_a_flipped_byte_is_refused_or_harmless(place: int, value: int, which: str) -> None:
    files = {
        "joblib": trained.joblib_bytes(trained.regression()),
        "zlib": trained.joblib_bytes(trained.regression(), compress=3),
        "pickle": pickle.dumps(trained.regression()),
    }
    data = bytearray(files[which])
    data[place % len(data)] = value

    try:
        inspection.look(io.BytesIO(bytes(data)))
    except Refused as refusal:
        assert str(refusal)


def refused(data: bytes) -> str:
    with pytest.raises(Refused) as refusal:
        inspection.inspect(io.BytesIO(data))
    return refusal.value.code


def test_a_name_that_is_called_a_million_times_has_one_stand_in() -> None:
    data = b"\x80\x02]" + b"cnumpy\ndtype\na" * 3 + b"."

    first, *others = inspection.Replay(
        inspection.formats.unpacked(io.BytesIO(data)), inspection.Found()
    ).load()

    assert all(each is first for each in others)


def test_a_file_that_acts_too_often_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_ACTS", 1000)

    assert refused(b"\x80\x02]" + b"cnumpy\ndtype\n)Ra" * 600 + b".") == "too_complex"


def test_a_file_that_remembers_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_MEMO", 1000)

    assert refused(pickle.dumps([str(number) for number in range(2000)])) == "too_complex"
    assert refused(b"K\x01p%d\n." % 2**61) == "too_complex"


def test_a_file_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_SECONDS", -1.0)

    assert refused(pickle.dumps([0.5] * inspection.CHECK_EVERY)) == "too_complex"


ENDLESS = (
    b"K\x01" + b"2\x86" * 200
)  # a pair of a pair of …, each the same twice: to hash it takes 2 ** 200 steps


@pytest.mark.parametrize(
    "data",
    [
        b"}" + ENDLESS + b"K\x01s",
        b"}(" + ENDLESS + b"K\x01u",
        b"(" + ENDLESS + b"K\x01d",
        b"\x8f(" + ENDLESS + b"\x90",
        b"(" + ENDLESS + b"\x91",
    ],
    ids=["setitem", "setitems", "dict", "set", "frozenset"],
)
def test_a_key_that_takes_for_ever_to_hash_is_not_hashed(data: bytes) -> None:
    assert inspection.look(io.BytesIO(b"\x80\x04" + data + b".")).verdict == "clean"


def test_an_array_of_endless_types_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MAX_ACTS", 10_000)
    replay = inspection.Replay(inspection.formats.unpacked(io.BytesIO(b".")), inspection.Found())
    kind = replay.find_class("numpy", "dtype")
    inner = kind("f8")
    for _depth in range(60):
        outer = kind("V8")
        outer.state = (3, "|", None, ("a", "b"), {"a": (inner, 0), "b": (inner, 0)}, 8)
        inner = outer

    with pytest.raises(Refused) as refusal:
        replay._item_size(inner)
    assert refusal.value.code == "too_complex"
