"""The model supervisor as it runs where only requirements.txt is installed: its runners find no package of the dev set.

Run like `python -m inference.modeld`. What imports something only if it is there does other things without it.
"""

import importlib.metadata
import re
import runpy
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ZYGOTE = ROOT / "inference" / "runner" / "__main__.py"


class Hidden:
    """Finds these packages first, to say that they are not there."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r} (hidden: it is of the dev set)", name=name)
        return None


def dev_packages() -> set[str]:
    """The names under which packages are imported that requirements-dev.txt alone installs."""
    dev = _locked("requirements-dev.txt") - _locked("requirements.txt")
    found = importlib.metadata.packages_distributions()
    return {name for name, owners in found.items() if {_normal(owner) for owner in owners} <= dev}


def _locked(name: str) -> set[str]:
    return {_normal(each) for each in re.findall(r"^([\w.-]+)==", (ROOT / name).read_text(), re.MULTILINE)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    if sys.flags.isolated:  # the supervisor starts this file where it would start the zygote's own
        sys.meta_path.insert(0, Hidden(dev_packages()))
        runpy.run_path(str(ZYGOTE), run_name="__main__")
    else:
        sys.path.insert(0, str(ROOT))
        from inference.modeld import __main__, processes

        processes.RUNNER = Path(__file__).resolve()
        sys.exit(__main__.main())
