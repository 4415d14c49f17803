"""Entry point of the zygote: makes a package of this folder, and of nothing beside it, then hands over."""

import importlib
import importlib.util
import sys
from pathlib import Path


def _load_package() -> None:
    """Import this folder as `runner`; the folder that holds it never gets on `sys.path`."""
    here = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        "runner", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["runner"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _load_package()
    importlib.import_module("runner.zygote").main(int(sys.argv[1]), int(sys.argv[2]))
