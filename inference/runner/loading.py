"""From the open file to an object, resolving exact names only.

The list of names is defence in depth, not a boundary: names on it can still be combined into harm, which is why this
runs in a process that has nothing to lose. Nothing here falls back to a looser loader.
"""

import importlib
import pickle
import sys
from collections.abc import Callable
from typing import IO, Any, NoReturn

import joblib.numpy_pickle
import joblib.numpy_pickle_utils
import numpy as np

Name = tuple[str, str]
RENAMED_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
NUMPY_RECONSTRUCT = {("numpy._core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "_reconstruct")}


class NotAdmitted(pickle.UnpicklingError):
    """The file asks for something that is not on the list."""


class NotInstalled(pickle.UnpicklingError):
    """The file may have the name, and the package that defines it is not here. Says which package."""


def load(file: IO[bytes], form: str, admitted: frozenset[Name]) -> Any:
    try:
        if form == "skops":
            return _load_skops(file, admitted)
        if form in ("joblib", "pickle"):
            return _load_pickle(file, admitted)
    except ModuleNotFoundError as error:
        raise NotInstalled(str(error.name).split(".")[0]) from None
    raise NotAdmitted(f"no loader for the format {form!r}")


def _load_skops(file: IO[bytes], admitted: frozenset[Name]) -> Any:
    import skops.io

    data = file.read()
    names = {f"{module}.{name}" for module, name in admitted}
    unlisted = [name for name in skops.io.get_untrusted_types(data=data) if name not in names]
    if unlisted:
        raise NotAdmitted("not on the list: " + ", ".join(map(str, unlisted[:10])))
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


def _load_pickle(file: IO[bytes], admitted: frozenset[Name]) -> Any:
    detected = joblib.numpy_pickle_utils._validate_fileobject_and_memmap(file, "model")
    with detected as (stream, _mode):
        if isinstance(stream, str):
            raise NotAdmitted("written by joblib before 0.10: save it again with a current joblib")
        loaded = StrictUnpickler(stream, admitted).load()
        if stream.read(1):
            raise NotAdmitted("something follows the end of the model in this file")
        return loaded


class _Ndarray:
    """numpy.ndarray may be named, never called: over raw bytes it makes pointers out of thin air."""

    def __new__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        raise NotAdmitted("numpy.ndarray called directly")


def _reconstruct(kind: object, _shape: object, _type: object) -> np.ndarray[Any, Any]:
    if kind is not _Ndarray and kind is not np.ndarray:
        raise NotAdmitted("an array of a class of its own")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


_PythonUnpickler: Any = pickle._Unpickler  # the one in Python, whose steps can be overridden


class StrictUnpickler(joblib.numpy_pickle.NumpyUnpickler):
    """joblib's reader (it understands plain pickles too), with every name looked up on the list."""

    dispatch = dict(joblib.numpy_pickle.NumpyUnpickler.dispatch)

    def __init__(self, stream: IO[bytes], admitted: frozenset[Name]) -> None:
        super().__init__("", stream, ensure_native_byte_order=False)
        self.admitted = admitted

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.admitted:
            raise NotAdmitted(f"not on the list: {module}.{name}")
        if (module, name) == ("numpy", "ndarray"):
            return _Ndarray
        if (module, name) in NUMPY_RECONSTRUCT:
            return _reconstruct
        module = RENAMED_MODULES.get(module, module)
        importlib.import_module(module)
        return getattr(sys.modules[module], name)  # one step only: no walk through dotted names

    def persistent_load(self, _pid: object) -> NoReturn:
        raise NotAdmitted("persistent identifiers")

    def get_extension(self, _code: int) -> NoReturn:
        raise NotAdmitted("the extension registry")

    def load_build(self) -> None:
        _PythonUnpickler.load_build(self)
        built = self.stack[-1]
        if isinstance(built, np.dtype):
            _check_dtype(built)
        if isinstance(built, joblib.numpy_pickle.NDArrayWrapper):
            raise NotAdmitted("an array kept in another file")
        if isinstance(built, joblib.numpy_pickle.NumpyArrayWrapper):
            self.stack.pop()
            self.stack.append(self._read_array(built))

    dispatch[pickle.BUILD[0]] = load_build

    def _read_array(self, wrapper: Any) -> Any:
        if not isinstance(wrapper.dtype, np.dtype):
            raise NotAdmitted("an array without a dtype")
        _check_dtype(wrapper.dtype)
        wrapper.subclass = np.ndarray
        if wrapper.dtype.hasobject:  # a pickle inside the pickle: the same list holds for it
            return StrictUnpickler(self.file_handle, self.admitted).load()
        return wrapper.read(self, False)


def _check_dtype(dtype: Any) -> None:
    for field, offset, *_title in (dtype.fields or {}).values():
        if field.hasobject or offset < 0 or offset + field.itemsize > dtype.itemsize:
            raise NotAdmitted("a dtype with an object field, or a field outside its item")
        _check_dtype(field)
    if dtype.subdtype and dtype.subdtype[0].hasobject:
        raise NotAdmitted("a dtype that hides objects")


def preload(admitted: frozenset[Name]) -> None:
    """Import what models need while we may still read files; each module once per zygote, not once per runner."""
    for module in sorted({module for module, _name in admitted}):
        if module.startswith(("sklearn.", "scipy.", "numpy.")):
            _try(lambda module=module: importlib.import_module(module))  # type: ignore[misc]
    for module in ("pandas", "pyarrow", "skops.io"):
        _try(lambda module=module: importlib.import_module(module))  # type: ignore[misc]
    _find_thread_pools()


def _find_thread_pools() -> None:
    """scikit-learn looks once which libraries have threads, when it first needs to: in /proc, closed to a runner."""
    from sklearn.metrics import pairwise_distances_argmin

    pairwise_distances_argmin([[0.0]], [[0.0]])


def _try(action: Callable[[], object]) -> None:
    """Names of older releases are on the list too; their modules need not exist here."""
    try:
        action()
    except ImportError:
        return
