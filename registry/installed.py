"""Which packages a model file needs that are not installed here. Nothing is imported to find that out."""

import importlib.util
import sys
from collections.abc import Iterable

#: Modules of Python 2, which the unpickler knows by their new names; they come with every Python.
_OLD = frozenset(
    {"__builtin__", "copy_reg", "cPickle", "cStringIO", "StringIO", "Queue", "UserDict", "UserList"}
)


def missing_packages(names: Iterable[str]) -> list[str]:
    """Of `package.module.name`s: the packages that nobody could load here, in alphabetical order.

    What cannot be the name of a package is left to whoever reviews the names: compiled parts of a package, for
    example, name themselves without it and with an underscore in front.
    """
    roots = {name.split(".")[0] for name in names}
    return sorted(root for root in roots if _could_be_package(root) and not _is_here(root))


def _could_be_package(root: str) -> bool:
    return root.isidentifier() and not root.startswith("_") and root not in _OLD


def _is_here(root: str) -> bool:
    if root in sys.stdlib_module_names:
        return True
    try:
        return importlib.util.find_spec(root) is not None
    except (ImportError, ValueError):  # something of this name is loaded that says nothing of itself
        return True
