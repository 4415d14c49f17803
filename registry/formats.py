"""What a file is, told from its bytes. Its name is ignored, and nothing in it is loaded.

`detect` answers "pickle" (also joblib's, also compressed), "skops", "onnx" or "mlflow" (a folder, as zip or tar), or
refuses with one sentence that says what the file is instead and what to do about it.
"""

import bz2
import gzip
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Literal, Protocol, cast

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from registry import archives, mlflow_folder
from registry.errors import Unreadable
from registry.unreadable import MAX_UNPACKED, SAVE_AGAIN, cut_off, not_a_model, too_big

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise as Words

Format = Literal["pickle", "skops", "onnx", "mlflow"]

HEAD = 4096


FROM_KERAS = gettext_lazy(
    "Export it to ONNX and upload that: model.export(“model.onnx”, format=“onnx”) in Keras 3, or "
    "python -m tf2onnx.convert --keras model.h5 --output model.onnx."
)
FROM_TORCH = gettext_lazy(
    "Export it to ONNX and upload that: torch.onnx.export(model, example, “model.onnx”, dynamo=True, "
    "external_data=False)."
)
FROM_TENSORFLOW = gettext_lazy(
    "Export it to ONNX and upload that: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx."
)
FROM_BOOSTING = gettext_lazy(
    "Convert it to ONNX with onnxmltools (convert_lightgbm, convert_xgboost) and upload that."
)
FROM_CATBOOST = gettext_lazy(
    "Save it as ONNX and upload that: model.save_model(“model.onnx”, format=“onnx”)."
)


class Source(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...


@dataclass(frozen=True)
class Kind:
    """Something that people upload by mistake: how it begins, what it is, what to do instead."""

    begins: bytes
    what: "Words"
    fix: "Words" = ""


NOT_MODELS = (
    Kind(b"%PDF", gettext_lazy("a PDF document")),
    Kind(
        b"PAR1",
        gettext_lazy("a Parquet table"),
        gettext_lazy("Upload it as a dataset; the model is another file."),
    ),
    Kind(
        b"\x89HDF\r\n\x1a\n",
        gettext_lazy("a Keras or HDF5 file (.h5)"),
        FROM_KERAS,
    ),
    Kind(b"\x89PNG", gettext_lazy("a picture")),
    Kind(b"\xff\xd8\xff", gettext_lazy("a picture")),
    Kind(b"GIF8", gettext_lazy("a picture")),
    Kind(b"\x7fELF", gettext_lazy("a program")),
    Kind(b"MZ", gettext_lazy("a program")),
    Kind(b"SQLite format 3", gettext_lazy("a database")),
    Kind(b"CBM1", gettext_lazy("a CatBoost model"), FROM_CATBOOST),
    Kind(b"GGUF", gettext_lazy("a language model"), gettext_lazy("Language models are not served.")),
    Kind(b"7z\xbc\xaf'\x1c", gettext_lazy("an archive (7z)"), SAVE_AGAIN),
    Kind(b"Rar!", gettext_lazy("an archive (RAR)"), SAVE_AGAIN),
    Kind(b"(\xb5/\xfd", gettext_lazy("a file compressed by zstd"), SAVE_AGAIN),
    Kind(
        b'\x04"M\x18',
        gettext_lazy("a file compressed by lz4"),
        gettext_lazy("Save it again with compress=3, which uses zlib."),
    ),
    Kind(b"ZF0x", gettext_lazy("a file of joblib before 0.10"), SAVE_AGAIN),
    Kind(b"RDX", gettext_lazy("data of R"), SAVE_AGAIN),
    Kind(b"\x93NUMPY", gettext_lazy("a NumPy array"), SAVE_AGAIN),
    Kind(b"tree\nversion=", gettext_lazy("a LightGBM text model"), FROM_BOOSTING),
    Kind(b"{L\x00", gettext_lazy("an XGBoost model (UBJSON)"), FROM_BOOSTING),
    Kind(b"binf", gettext_lazy("an XGBoost model"), FROM_BOOSTING),
    Kind(b"\x08\x01\x12", gettext_lazy("a TensorFlow model"), FROM_TENSORFLOW),
)

TEXTS = (
    Kind(
        b"<!doctype html",
        gettext_lazy("an HTML page"),
        gettext_lazy("The download may have led to a sign-in page."),
    ),
    Kind(
        b"<html", gettext_lazy("an HTML page"), gettext_lazy("The download may have led to a sign-in page.")
    ),
    Kind(b"<?xml", gettext_lazy("an XML file"), gettext_lazy("PMML is not served yet.")),
    Kind(b"<svg", gettext_lazy("a picture")),
    Kind(b'{"learner"', gettext_lazy("an XGBoost model (JSON)"), FROM_BOOSTING),
    Kind(b"{", gettext_lazy("a JSON file"), SAVE_AGAIN),
    Kind(b"[", gettext_lazy("a JSON file"), SAVE_AGAIN),
    Kind(
        b"import ",
        gettext_lazy("Python source code"),
        gettext_lazy("Run it, and upload the model file it writes."),
    ),
    Kind(
        b"version https://git-lfs",
        gettext_lazy("a pointer to a large file"),
        gettext_lazy("Fetch it with git lfs pull."),
    ),
)

LEAST_ONNX = 3


def detect(file: Source) -> Format:
    """Which loader would read this file. Leaves the position at the start; raises Unreadable with one sentence."""
    head = _head(file)
    if not head:
        raise Unreadable(_("The file is empty."), code="empty_file", fix=_("Choose the file again."))
    _refuse_known(head)
    if _is_safetensors(head):
        raise _is_instead(Kind(b"", _("a file of weights without a model (safetensors)"), FROM_TORCH))
    if _is_onnx(head):
        return "onnx"
    if head.startswith(b"PK"):
        return _detect_zip(file)
    inner = _unpacked_head(file, head)
    if _is_tar(inner) and compression(head) in ("", "gzip"):
        return _detect_tar(file)
    if inner is not head:
        _refuse_known(inner)
        _refuse_archive(inner)
    if inner[:1] != b"\x80":
        _refuse_text(inner)
    return "pickle"


# --- compression, as joblib knows it ---


def compression(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"BZh"):
        return "bz2"
    if head.startswith(b"\xfd7zXZ"):
        return "xz"
    if head.startswith(b"]\x00"):
        return "lzma"
    return "zlib" if head[:1] == b"x" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0 else ""


def unpacked(file: Source) -> "Metered":
    """The bytes below joblib's compression, counted: nobody can make us read more than the limit."""
    head = _head(file)
    stream = cast(IO[bytes], file)
    opener = _OPENERS.get(compression(head))
    return Metered(opener(stream) if opener else stream, MAX_UNPACKED)


#: gzip, bz2 and lzma close nothing but themselves when they are dropped; the file below stays the caller's.
_OPENERS: dict[str, Callable[[IO[bytes]], Source]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "lzma": partial(lzma.LZMAFile, format=lzma.FORMAT_ALONE),
    "zlib": lambda stream: io.BufferedReader(_Zlib(stream)),
}


class Metered:
    """A reader with a budget. A claimed length beyond it is refused before anything is allocated."""

    def __init__(self, stream: Source, budget: int) -> None:
        self._stream = stream
        self._lines = getattr(stream, "readline", None)
        self.left = budget

    def read(self, size: int) -> bytes:
        if size > self.left:
            raise too_big()
        data = self._stream.read(size)
        self.left -= len(data)
        return data

    def readline(self) -> bytes:
        line: bytes = self._lines(1 << 20) if self._lines else b""
        self.left -= len(line)
        if self.left < 0:
            raise too_big()
        return line

    def exactly(self, size: int) -> None:
        """Pass over `size` bytes without keeping them."""
        while size:
            block = self.read(min(size, 1 << 20))
            if not block:
                raise EOFError
            size -= len(block)


class _Zlib(io.RawIOBase):
    """zlib's stream, a block at a time; the module itself would unpack everything at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._unpacker = zlib.decompressobj()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        while not self._ready and not self._unpacker.eof:
            block = self._unpacker.unconsumed_tail or self._stream.read(1 << 16)
            if not block:
                raise EOFError("compressed data ended early")
            self._ready = self._unpacker.decompress(block, 1 << 20)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


def _head(file: Source) -> bytes:
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    return head


def _unpacked_head(file: Source, head: bytes) -> bytes:
    if not compression(head):
        return head
    try:
        return unpacked(file).read(HEAD)
    except EOFError:
        raise cut_off() from None
    except (OSError, zlib.error, lzma.LZMAError):
        raise not_a_model() from None
    finally:
        file.seek(0)


# --- what it is instead ---


def _refuse_known(head: bytes) -> None:
    for kind in NOT_MODELS:
        if head.startswith(kind.begins):
            raise _is_instead(kind)


def _is_safetensors(head: bytes) -> bool:
    """The length of a header, and the header: JSON."""
    return head[6:9] == b"\0\0{" and int.from_bytes(head[:8], "little") > 1


def _is_onnx(head: bytes) -> bool:
    """A protobuf that begins with the release of its format; TensorFlow's begin alike, with a 1."""
    return head[:1] == b"\x08" and LEAST_ONNX <= head[1] < 0x20 if len(head) > 1 else False


def _refuse_archive(inner: bytes) -> None:
    if _is_tar(inner) or inner.startswith(b"PK"):
        raise _archive_instead()


def _archive_instead() -> Unreadable:
    return Unreadable(
        _("The file is an archive of files, not a model."),
        code="archive",
        fix=_(
            "Unpack it and upload the model file alone; a folder of MLflow goes in whole, as zip or tar.gz."
        ),
    )


def _refuse_text(head: bytes) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for kind in TEXTS:
        if text.startswith(kind.begins):
            raise _is_instead(kind)
    if _looks_like_csv(head):
        raise _is_instead(
            Kind(b"", _("a CSV table"), _("Upload it as a dataset; the model is another file."))
        )


def _looks_like_csv(head: bytes) -> bool:
    try:
        lines = head.decode("utf-8", errors="strict" if len(head) < HEAD else "ignore").splitlines()
    except UnicodeDecodeError:
        return False
    if len(lines) < 2:
        return False
    return any(lines[0].count(mark) >= 1 and lines[0].count(mark) == lines[1].count(mark) for mark in ",;\t")


def _is_instead(kind: Kind) -> Unreadable:
    return Unreadable(
        _("The file is %(what)s, not a model.") % {"what": kind.what},
        code="not_a_model",
        fix=str(kind.fix or SAVE_AGAIN),
    )


# --- zip ---


def _detect_zip(file: Source) -> Format:
    with archives.open_zip(file) as archive:
        names = set(archive.namelist())
    file.seek(0)
    if "schema.json" in names:
        return "skops"
    if any(name.rpartition("/")[2] == mlflow_folder.MARK for name in names):
        return "mlflow"
    raise _zip_instead(names)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _detect_tar(file: Source) -> Format:
    archive = archives.Tar(file)
    file.seek(0)
    if mlflow_folder.is_folder(archive):
        return "mlflow"
    raise _archive_instead()


def _zip_instead(names: set[str]) -> Unreadable:
    ends = {name.rpartition("/")[2] for name in names}
    if "[Content_Types].xml" in names:
        return _is_instead(
            Kind(b"", _("an Office document"), _("Data go in as CSV or Parquet, as a dataset."))
        )
    if "model.weights.h5" in ends or "keras_metadata.pb" in ends:
        return _is_instead(Kind(b"", _("a Keras model (.keras)"), FROM_KERAS))
    if "data.pkl" in ends:
        return _is_instead(Kind(b"", _("a PyTorch model"), FROM_TORCH))
    if "saved_model.pb" in ends:
        return _is_instead(Kind(b"", _("a TensorFlow model"), FROM_TENSORFLOW))
    if any(name.endswith(".onnx") for name in ends):
        return _is_instead(
            Kind(
                b"",
                _("an archive that holds an ONNX file"),
                _("Upload the ONNX file alone, saved as one file."),
            )
        )
    return Unreadable(
        _("The file is a zip archive, not a model."),
        code="plain_zip",
        fix=_("Unpack it and upload the model file alone."),
    )


def read_json(archive: zipfile.ZipFile, name: str, limit: int) -> object:
    """A member as JSON. Its declared size is a claim: what is really read is counted."""
    try:
        with archive.open(name) as member:
            data = member.read(limit + 1)
        if len(data) > limit:
            raise too_big()
        return json.loads(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise cut_off() from None
    except (ValueError, RecursionError):
        raise not_a_model() from None
