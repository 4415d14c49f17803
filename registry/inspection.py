"""What a model file would import, listed without importing it.

A pickle is a program without branches, so replaying it with inert stand-ins visits exactly the names that a real load
would. Unlike scanners that walk opcodes this replay knows joblib's framing: arrays in the middle of the stream,
pickles inside them, compression around everything. It decides who must look at a file; it is not a wall. The wall is
the model runner, which resolves the same list of names and nothing else.
"""

import functools
import hashlib
import json
import pickle
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from lzma import LZMAError
from typing import IO, Any, Literal, NoReturn, TypeGuard

from django.utils.translation import gettext as _

from registry import archives, formats, mlflow_folder, onnx_gate, unreadable
from registry.errors import Invalid, Refused

Verdict = Literal["clean", "unknown", "dangerous"]
Name = tuple[str, str]

MAX_NESTED = 10_000
MAX_NAMES = 5_000
#: Names, calls and states of one file, what it remembers, and seconds of work: far more than an honest model needs.
MAX_ACTS = 5_000_000
MAX_MEMO = 5_000_000
MAX_SECONDS = 20.0
CHECK_EVERY = 4_096
MAX_DIMENSIONS = 64
MAX_SKOPS_SCHEMA = 64 << 20
SHOWN = 5
KEPT = 100

#: Modules of the standard library whose names are merely not reviewed; all others of it can act on the machine.
GENTLE = frozenset(
    "array calendar collections copyreg dataclasses datetime decimal enum fractions math numbers random re statistics"
    " string types typing uuid zoneinfo itertools _codecs _operator operator functools".split()
)
GENTLE_BUILTINS = frozenset(
    "bool bytes bytearray complex dict float frozenset int list map object range set slice str tuple type zip".split()
)
DANGEROUS_ROOTS = frozenset(
    "cloudpickle dill pip setuptools torch tensorflow keras jax nt posix runner".split()
)
DANGEROUS_PARTS = frozenset(
    "cloudpickle f2py testing distutils _testing system popen eval exec execfile load loads read_pickle runstring"
    " myeval fromfile memmap save savez tofile".split()
)
#: Modules and functions that walk from a harmless name to any other, wherever they were imported.
DANGEROUS_ENDS = frozenset(
    "attrgetter methodcaller getattr CodeType FunctionType get_type_hints ForwardRef make_dataclass"
    " builtins code ctypes importlib inspect io marshal multiprocessing os pickle pty runpy shutil socket"
    " subprocess sys tempfile threading urllib".split()
)
#: Where a class lives that was written in the training script: there is no such module anywhere else.
SCRIPTS = frozenset({"__main__", "__mp_main__"})
TEXT_READERS = frozenset({"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"})


@dataclass(frozen=True)
class Payload:
    """The one file of a folder that is opened."""

    name: str
    sha256: str
    size: int
    format: str


@dataclass(frozen=True)
class Inspection:
    """The inventory of one file and what follows from it."""

    format: str
    globals: list[str]
    dangerous: list[str]
    unknown: list[str]
    sklearn_version: str | None
    compression: str = ""
    arrays: int = 0
    problems: list[str] = field(default_factory=list)
    python_version: str | None = None
    graph: onnx_gate.Graph | None = None
    #: Why a process of ours may not open the graph itself; empty where it may.
    kept_out: str = ""
    payload: Payload | None = None
    folder: mlflow_folder.Folder | None = None

    @property
    def engine(self) -> str:
        """Who may answer: the web process with the graph itself (`onnx`), or only the jailed `runner`."""
        return "onnx" if self.graph is not None and not self.kept_out else "runner"

    @property
    def verdict(self) -> Verdict:
        if self.dangerous or self.problems:
            return "dangerous"
        return "unknown" if self.unknown else "clean"

    def environment(self) -> dict[str, dict[str, str]]:
        """The package versions that the file itself tells."""
        found = {"scikit-learn": self.sklearn_version, "python": self.python_version}
        packages = {package: version for package, version in found.items() if version}
        if self.folder is not None:
            packages = self.folder.versions | packages
        if self.graph is not None:
            packages |= {f"opset {domain}": str(version) for domain, version in self.graph.opsets.items()}
        return {"packages": packages} if packages else {}

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "verdict": self.verdict,
            "names": self.globals,
            "dangerous": self.dangerous,
            "unknown": self.unknown,
            "problems": self.problems,
            "compression": self.compression,
            "arrays": self.arrays,
            "sklearn_version": self.sklearn_version,
            "python_version": self.python_version,
            **self._more_facts(),
        }

    @property
    def homeless(self) -> list[str]:
        """Names out of the training script: nobody could admit them to any effect."""
        return [name for name in self.unknown if name.split(".")[0] in SCRIPTS]

    def _more_facts(self) -> dict[str, Any]:
        """What else is known: the graph; the file inside a folder, and that folder's papers with its input example."""
        facts: dict[str, Any] = {}
        if self.graph is not None:
            facts["graph"] = self.graph.to_json() | {"kept_out": self.kept_out}
        if self.payload is not None and self.folder is not None:
            facts["payload"] = asdict(self.payload)
            facts["mlflow"] = asdict(self.folder)
        return facts

    def refusal(self) -> Refused | None:
        """Why this file may not be kept; None when it is clean, or when an approver may admit what it needs."""
        if self.dangerous:
            return Invalid(
                _("The file would run %(names)s when it is opened. Such files are never accepted.")
                % {"names": _listed(self.dangerous)},
                code="dangerous_file",
                fix=_("Train the model again in a clean session and save the fitted pipeline itself."),
                facts=self._told(self.dangerous),
            )
        if self.problems:
            return Invalid(
                self.problems[0],
                code="dangerous_file",
                fix=str(unreadable.SAVE_AGAIN),
                facts=self._told(self.problems),
            )
        if self.homeless:
            return Invalid(
                _("The file needs %(names)s out of the training script, which nobody else has.")
                % {"names": _listed(self.homeless)},
                code="unknown_names",
                fix=_(
                    "A class or function of the training script went into the file. Use scikit-learn's own steps"
                    " instead, or put it into a package that is installed here."
                ),
                facts=self._told(self.homeless),
            )
        return None

    def _told(self, names: list[str]) -> dict[str, object]:
        """What the audit log keeps of a file that is not kept."""
        return {"format": self.format, "names": names[:KEPT], "count": len(names)}


def inspect(file: formats.Source, declared_format: str = "auto") -> Inspection:
    """The inventory of a file that may be kept. Raises Unreadable or Invalid, with one sentence, for every other."""
    found = look(file)
    refusal = found.refusal()
    if refusal is not None:
        raise refusal
    if declared_format not in ("auto", "", found.format, *_synonyms(found.format)):
        raise Invalid(
            _("The file is %(found)s, not %(declared)s.")
            % {"found": found.format, "declared": declared_format},
            code="other_format",
            fix=_("Leave the format on “auto”."),
        )
    return found


def look(file: formats.Source) -> Inspection:
    """The inventory, whatever it holds; raises only where the file cannot be read to its end."""
    return _LOOKS[formats.detect(file)](file)


@functools.cache
def reviewed() -> frozenset[Name]:
    """The exact names that a model file may use."""
    return frozenset((module, name) for module, name in _lists()["names"])


@functools.cache
def _lists() -> dict[str, Any]:
    text = resources.files("registry").joinpath("allowlist.json").read_text("utf-8")
    lists: dict[str, Any] = json.loads(text)
    return lists


def _synonyms(form: str) -> tuple[str, ...]:
    """joblib writes plain pickles where there is no array, and reads what pickle wrote."""
    return ("joblib", "pickle") if form in ("joblib", "pickle") else ()


# --- pickle ---


class _Stop(Exception):
    """The stream does what no honest one does."""


def _too_complex() -> Invalid:
    return Invalid(
        _("The file describes too many objects: looking through it takes too long or too much memory."),
        code="too_complex",
        fix=str(unreadable.SAVE_AGAIN),
    )


def _look_pickle(file: formats.Source) -> Inspection:
    file.seek(0)
    head = file.read(16)
    stream = formats.unpacked(file)
    replay = Replay(stream, Found())
    try:
        replay.load()
        ended = not stream.read(1)
    except EOFError:
        raise _cut_off_or_unknown(head) from None
    except Refused:
        raise
    except _Stop as error:
        replay.found.problems.append(_("The file is not a plain model: %(reason)s.") % {"reason": error})
        ended = True
    except (pickle.UnpicklingError, zlib.error, LZMAError, OSError) as error:
        if "truncated" in str(error) or "exhausted" in str(error):
            raise _cut_off_or_unknown(head) from None
        raise unreadable.not_a_model() from None
    except Exception:  # a stream made by hand can make the replay fail in any way; it never acts
        raise unreadable.not_a_model() from None
    if not ended:
        replay.found.problems.append(_("Something follows the end of the model in this file."))
    return _judge(replay.found, "joblib" if replay.found.is_joblib else "pickle", formats.compression(head))


def _cut_off_or_unknown(head: bytes) -> Refused:
    """Only what began as a model can have been cut off."""
    return (
        unreadable.cut_off() if head[:1] == b"\x80" or formats.compression(head) else unreadable.not_a_model()
    )


@dataclass
class Found:
    """What the replay met, over all nested streams, and what it has cost so far."""

    names: Counter[Name] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    arrays: int = 0
    nested: int = 0
    is_joblib: bool = False
    stands: "dict[Name, type[Inert]]" = field(default_factory=dict)
    steps: int = 0
    acts: int = 0
    began: float = field(default_factory=time.thread_time)

    def step(self) -> None:
        self.steps += 1
        if self.steps % CHECK_EVERY == 0 and time.thread_time() - self.began > MAX_SECONDS:
            raise _too_complex()

    def act(self) -> None:
        self.step()
        self.acts += 1
        if self.acts > MAX_ACTS:
            raise _too_complex()


class Inert:
    """Stands in for whatever the file names, and for whatever calling it would give. It does nothing."""

    name: Name = ("", "")
    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any, **_named: Any) -> Any:
        made = object.__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *_arguments: Any, **_named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *_arguments: Any, **_named: Any) -> NoReturn:
        raise _Stop(_("it calls what it has just made"))

    def append(self, _item: Any) -> None: ...

    def extend(self, _items: Any) -> None: ...

    def add(self, _item: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...


class NeverCalled(Inert):
    """numpy.ndarray is only ever named in honest files: called over raw bytes it makes pointers out of thin air."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> Any:
        raise _Stop(_("it calls numpy.ndarray directly"))


class Reconstructor(Inert):
    """copyreg._reconstructor makes an instance of its first argument."""

    def __new__(cls, *arguments: Any, **_named: Any) -> Any:
        kind = arguments[0] if arguments else None
        if isinstance(kind, type) and issubclass(kind, Inert):
            return kind.__new__(kind)
        raise _Stop(_("it rebuilds an object of no class"))


SPECIAL: dict[Name, type[Inert]] = {
    ("numpy", "ndarray"): NeverCalled,
    ("copyreg", "_reconstructor"): Reconstructor,
    ("copy_reg", "_reconstructor"): Reconstructor,
}


_PythonUnpickler: Any = pickle._Unpickler  # the one in Python, whose steps can be overridden

_ACTS = frozenset(
    code[0]
    for code in (
        pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.INST, pickle.OBJ, pickle.REDUCE, pickle.NEWOBJ, pickle.NEWOBJ_EX,
        pickle.BUILD,
    )
)  # fmt: skip


class _Counted(dict[int, Any]):
    """The steps by their codes; each is counted when it is looked up to be done."""

    def __init__(self, steps: dict[int, Any], found: Found) -> None:
        super().__init__(steps)
        self._found = found

    def __getitem__(self, code: int) -> Any:
        if code in _ACTS:
            self._found.act()
        else:
            self._found.step()
        return super().__getitem__(code)


class _Memo(dict[int, Any]):
    """What the stream remembers, by numbers that count up: so the greatest of them bounds how much it is."""

    def __setitem__(self, number: int, value: Any) -> None:
        if number >= MAX_MEMO:
            raise _too_complex()
        super().__setitem__(number, value)


class Replay(_PythonUnpickler):
    """Runs the stream with stand-ins, and passes over the arrays that joblib puts between its opcodes.

    It hashes nothing that the stream made but texts, whose hashes nobody can foresee: keys that collide, and tuples
    that hold one another, would keep a single step busy for years. Nobody asks for what such keys lead to.
    """

    dispatch = dict(_PythonUnpickler.dispatch)

    def __init__(self, stream: formats.Metered, found: Found) -> None:
        super().__init__(stream)
        self.stream = stream
        self.found = found
        self.dispatch = _Counted(Replay.dispatch, found)
        self.memo = _Memo()

    def find_class(self, module: str, name: str) -> type[Inert]:
        if len(self.found.names) >= MAX_NAMES:
            raise _Stop(_("it names too many things"))
        key = (str(module)[:200], str(name)[:200])
        self.found.names[key] += 1
        if key not in self.found.stands:
            self.found.stands[key] = type("Stand", (SPECIAL.get(key, Inert),), {"name": key})
        return self.found.stands[key]

    def persistent_load(self, _identifier: Any) -> NoReturn:
        raise _Stop(_("it refers to things outside the file"))

    def get_extension(self, _code: int) -> NoReturn:
        raise _Stop(_("it uses the extension registry"))

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))  # read() knows the budget; the original would allocate first

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._set_items(items)

    dispatch[pickle.DICT[0]] = load_dict

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    dispatch[pickle.SETITEMS[0]] = load_setitems

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            is_safe = type(key) is str or type(target) is not dict
            target[key if is_safe else object()] = value

    def load_additems(self) -> None:
        self.pop_mark()
        if not isinstance(self.stack[-1], set | Inert):
            raise _Stop(_("it adds to what is no set"))

    dispatch[pickle.ADDITEMS[0]] = load_additems

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.append(frozenset())

    dispatch[pickle.FROZENSET[0]] = load_frozenset

    def load_build(self) -> None:
        made, state = self.stack[-2:]
        self._note_state(made, state)
        super().load_build()
        if isinstance(made, Inert) and made.name[0].startswith("joblib.numpy_pickle"):
            if made.name[1] != "NumpyArrayWrapper":
                raise _Stop(_("its arrays are in other files"))
            self._pass_array(made)

    dispatch[pickle.BUILD[0]] = load_build

    def _note_state(self, made: Any, state: Any) -> None:
        if not isinstance(state, dict):
            return
        version = state.get("_sklearn_version")
        if isinstance(version, str) and re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,20}", version):
            self.found.versions[version] += 1
        if (
            isinstance(made, Inert)
            and made.name[1] in TEXT_READERS
            and state.get("input", "content") != "content"
        ):
            self.found.problems.append(
                _("%(name)s would open every file whose name is in the data.") % {"name": made.name[1]}
            )

    def _pass_array(self, wrapper: Inert) -> None:
        state = wrapper.state if isinstance(wrapper.state, dict) else {}
        shape = state.get("shape")
        if not _is_shape(shape):
            raise _Stop(_("an array has no shape"))
        self.found.is_joblib = True
        self.found.arrays += 1
        size, holds_objects = self._item_size(state.get("dtype"))
        if holds_objects:
            self._replay_nested()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self.stream.read(1)
            self.stream.exactly(padding[0] if padding else 0)
        for side in shape:
            size *= side
        self.stream.exactly(size)

    def _replay_nested(self) -> None:
        self.found.nested += 1
        if self.found.nested > MAX_NESTED:
            raise _Stop(_("it nests too deeply"))
        Replay(self.stream, self.found).load()

    def _item_size(self, dtype: Any) -> tuple[int, bool]:
        """Bytes per item of an array, and whether it holds objects (then a pickle follows instead of bytes)."""
        self.found.act()  # types may hold one another, and so be many more than they are
        if not isinstance(dtype, Inert) or dtype.name not in {
            ("numpy", "dtype"),
            ("numpy._core.multiarray", "dtype"),
            ("numpy.core.multiarray", "dtype"),
        }:
            raise _Stop(_("an array has no type"))
        code = dtype.arguments[0] if dtype.arguments else None
        match = re.fullmatch(r"[<>|=]?([biufcmM?SUVO])(\d*)", code) if isinstance(code, str) else None
        if match is None:
            raise _Stop(_("an array has an unknown type"))
        kind, size = match[1], int(match[2] or 0)
        if kind == "O":
            return 8, True
        if kind == "V":
            return self._structured_size(dtype.state, size)
        return (4 * size if kind == "U" else size or 1), False

    def _structured_size(self, state: Any, size: int) -> tuple[int, bool]:
        """A record's size is in the state of its dtype: (version, order, subarray, names, fields, size, …)."""
        if not isinstance(state, tuple) or len(state) < 6:
            return size, False
        subarray, fields = state[2], state[4]
        inner = [each[0] for each in fields.values()] if isinstance(fields, dict) else []
        if isinstance(subarray, tuple):
            inner.append(subarray[0])
        holds_objects = any(self._item_size(each)[1] for each in inner)
        return (state[5] if type(state[5]) is int and state[5] >= 0 else size), holds_objects


def _is_shape(shape: Any) -> TypeGuard[tuple[int, ...]]:
    sides = shape if isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS else (None,)
    return all(type(side) is int and 0 <= side < 1 << 40 for side in sides)


# --- skops ---


def _look_skops(file: formats.Source) -> Inspection:
    with archives.open_zip(file) as archive:
        schema = formats.read_json(archive, "schema.json", MAX_SKOPS_SCHEMA)
        if archive.testzip() is not None:
            raise unreadable.cut_off()
    if not isinstance(schema, dict) or "_skops_version" not in schema:
        raise unreadable.not_a_model()
    found, loaders = Found(), set()
    for node in _nodes(schema):
        loaders.add(str(node.get("__loader__"))[:100])
        for name in _names_in(node):
            found.names[name] += 1
        _note_skops(node, found)
    unknown_loaders = loaders - set(_lists()["skops_loaders"])
    if unknown_loaders:
        found.problems.append(
            _("The file uses %(names)s, which is not accepted.") % {"names": _listed(sorted(unknown_loaders))}
        )
    return _judge(found, "skops", "", extra=frozenset(_lists()["skops_names"]))


def _nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of the tree, without recursion: depth is the file's choice, not ours."""
    waiting: list[Any] = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "__loader__" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _names_in(node: dict[str, Any]) -> Iterator[Name]:
    yield str(node.get("__module__"))[:200], str(node.get("__class__"))[:200]
    content = node.get("content")
    if node["__loader__"] == "FunctionNode" and isinstance(content, dict) and "function" in content:
        yield str(content.get("module_path"))[:200], str(content["function"])[:200]


def _note_skops(node: dict[str, Any], found: Found) -> None:
    content = node.get("content")
    fields = content.get("content") if isinstance(content, dict) else None
    if not isinstance(fields, dict):
        return
    version = _json_text(fields.get("_sklearn_version"))
    if version and re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,20}", version):
        found.versions[version] += 1
    if node.get("__class__") in TEXT_READERS and _json_text(fields.get("input")) not in (None, "content"):
        found.problems.append(
            _("%(name)s would open every file whose name is in the data.") % {"name": node["__class__"]}
        )


def _json_text(node: Any) -> str | None:
    text = node.get("content") if isinstance(node, dict) else None
    return text.strip('"') if isinstance(text, str) and len(text) < 100 else None


# --- ONNX ---


def _look_onnx(file: formats.Source) -> Inspection:
    """What the graph says of itself. Nothing of it is a name that could be imported."""
    data = file.read(onnx_gate.WIDE_BYTES + 1)
    file.seek(0)
    graph, kept_out = onnx_gate.wide(data), ""
    try:
        graph = onnx_gate.narrow(data)
    except Invalid as refusal:
        kept_out = str(refusal)
    return Inspection("onnx", [], [], [], None, graph=graph, kept_out=kept_out)


# --- MLflow ---


def _look_mlflow(file: formats.Source) -> Inspection:
    """The look at the one file that counts, with the papers around it."""
    archive = _open_archive(file)
    folder = mlflow_folder.read(archive)
    with mlflow_folder.open_payload(archive, folder) as inside:
        digest = hashlib.file_digest(inside, "sha256").hexdigest()
        size = inside.tell()
        inside.seek(0)
        form = formats.detect(inside)
        if form == "mlflow":
            raise archives.bad(_("it holds another folder of MLflow"))
        found = _LOOKS[form](inside)
    return replace(
        found,
        format="mlflow",
        payload=Payload(folder.payload, digest, size, found.format),
        folder=folder,
        python_version=found.python_version or folder.python or None,
    )


def open_payload(file: formats.Source, found: Inspection) -> IO[bytes]:
    """The file inside a folder that was looked into before; the caller closes it."""
    assert found.folder is not None
    opened: IO[bytes] = mlflow_folder.open_payload(_open_archive(file), found.folder)
    return opened


def _open_archive(file: formats.Source) -> archives.Archive:
    file.seek(0)
    is_zip = file.read(2) == b"PK"
    file.seek(0)
    return archives.Zip(file) if is_zip else archives.Tar(file)


_LOOKS: dict[formats.Format, Callable[[formats.Source], Inspection]] = {
    "mlflow": _look_mlflow,
    "onnx": _look_onnx,
    "pickle": _look_pickle,
    "skops": _look_skops,
}


# --- the verdict ---


def _judge(found: Found, form: str, compression: str, extra: frozenset[str] = frozenset()) -> Inspection:
    names = sorted(found.names)
    unlisted = [name for name in names if name not in reviewed() and ".".join(name) not in extra]
    dangerous = [name for name in unlisted if _is_dangerous(name)]
    if not all(_is_plain(name) for name in unlisted):
        found.problems.append(_("The file uses names that are not plain text."))
    return Inspection(
        format=form,
        globals=[_dotted(name) for name in names],
        dangerous=[_dotted(name) for name in dangerous],
        unknown=[_dotted(name) for name in unlisted if name not in dangerous],
        sklearn_version=found.versions.most_common(1)[0][0] if found.versions else None,
        compression=compression,
        arrays=found.arrays,
        problems=found.problems,
    )


def _is_plain(name: Name) -> bool:
    """What an approver reads must be what is let in: no look-alikes, nothing unseen."""
    return all(part.isascii() and part.isprintable() for part in name)


def _dotted(name: Name) -> str:
    text = ".".join(name)
    return text if _is_plain(name) else text.encode("unicode_escape").decode()


def _is_dangerous(name: Name) -> bool:
    """Whether an unlisted name can act on the machine by itself. Errs on the side of yes: nobody may admit these."""
    module, attribute = name
    parts = {*module.split("."), *attribute.split(".")}
    root = module.split(".")[0]
    if root in ("builtins", "__builtin__"):
        return attribute not in GENTLE_BUILTINS
    if attribute in DANGEROUS_ENDS:
        return True
    if root in sys.stdlib_module_names:
        return root not in GENTLE or attribute.startswith("_")
    return root in DANGEROUS_ROOTS or bool(parts & DANGEROUS_PARTS) or "." in attribute


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:SHOWN])
    more = len(names) - SHOWN
    return shown if more <= 0 else _("%(shown)s and %(more)d more") % {"shown": shown, "more": more}
