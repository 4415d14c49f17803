"""From a bare Python to this project's own environment in `.venv`. Standard library only.

`up` and `test` make `.venv` when it is missing or no longer fits the lock files; every other command
only steps into it. A stamp, written last, says what was installed: without it nothing in `.venv` is believed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parent.parent
RUNTIME, DEVELOPMENT = "requirements.txt", "requirements-dev.txt"
NEEDS = {"up": RUNTIME, "test": DEVELOPMENT}
# What a person's pip may have been told elsewhere, and what would send packages past `.venv`.
MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PYTHONHOME", "PYTHONPATH")

_in_use: list[IO[bytes]] = []  # open for as long as this process lives: see `claim`


class Problem(Exception):
    """Something a person must read and can act on."""


def enter(argv: Sequence[str], root: Path = ROOT) -> None:
    """Return inside `.venv` (having become another process if need be), or end with a clear sentence."""
    command = argv[1] if len(argv) > 1 else ""
    venv = Venv(root)
    is_new = False
    try:
        if command in NEEDS:
            is_new = venv.prepare(NEEDS[command])
        elif not venv.is_current and not venv.is_ready_for(RUNTIME):
            if importlib.util.find_spec("django"):
                return  # a container, where the packages are installed without a .venv
            raise Problem("Nothing is installed yet. Start with: python3 manage.py up")
    except Problem as problem:
        _stop(str(problem))
    except KeyboardInterrupt:
        _stop("\nStopped. A half-made .venv is never used: the next start makes it again.", code=130)
    if is_new or not venv.is_current:
        venv.become(argv)
    if command in NEEDS:
        venv.claim()
    if command == "up":
        _settings_from_options(argv)


class Venv:
    """`.venv` beside manage.py, and what we know about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / ".venv"
        self.python = self.path / "bin" / "python"
        self.pip = self.path / "bin" / "pip"
        self.stamp = self.path / "modelgate-installed.json"

    @property
    def is_current(self) -> bool:
        return Path(sys.prefix).resolve() == self.path.resolve()

    def is_ready_for(self, requirements: str) -> bool:
        """Was exactly this lock installed here, to the end?"""
        return self.python.exists() and self._installed().get(requirements) == self._digest(requirements)

    def prepare(self, requirements: str) -> bool:
        """Make it fit the lock; tell whether anything had to be done."""
        if self._fits() and self.is_ready_for(requirements):
            return False
        if self.path.is_symlink():
            raise Problem(
                "`.venv` is a link to another environment, which is not ours to remake. Remove the link."
            )
        with _one_at_a_time(self.root / ".venv.lock"):
            if self._fits() and self.is_ready_for(requirements):
                return True  # somebody else has just made it
            started = time.monotonic()
            self._install(requirements)
            say(f"Installed in {time.monotonic() - started:.0f} s.")
        return True

    def become(self, argv: Sequence[str]) -> NoReturn:
        """Go on as the same command in `.venv`'s Python."""
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        sys.stdout.flush()
        script = str(self.root / "manage.py")
        os.execve(self.python, [str(self.python), script, *argv[1:]], environ)

    def claim(self) -> None:
        """Tell a later start with another Python that this `.venv` is in use and must not be remade."""
        marker = open(self.path / "pyvenv.cfg", "rb")  # noqa: SIM115 - held until this process ends
        fcntl.flock(marker, fcntl.LOCK_SH)
        _in_use.append(marker)

    def _fits(self) -> bool:
        """Was it made here, and by the Python that is running now?"""
        installed = self._installed()
        return installed.get("python") == _python_version() and installed.get("path") == str(self.path)

    def _installed(self) -> dict[str, str]:
        try:
            installed = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}
        return installed if isinstance(installed, dict) else {}

    def _digest(self, requirements: str) -> str:
        return hashlib.sha256((self.root / requirements).read_bytes()).hexdigest()

    def _install(self, requirements: str) -> None:
        uv = shutil.which("uv")
        is_kept = self._fits() and self.python.exists() and bool(uv or self.pip.exists())
        if not is_kept:
            self._refuse_if_in_use()  # before anything is touched
        self.stamp.unlink(missing_ok=True)  # from here on an interruption leaves nothing that is believed
        try:
            self._install_with(uv, requirements, is_kept)
        except Problem as problem:
            if not uv:
                raise
            say(f"{problem}\nuv did not manage; once more with pip.")
            self._refuse_if_in_use()
            self._install_with(None, requirements, is_kept=False)
        self._write_stamp(requirements)

    def _install_with(self, uv: str | None, requirements: str, is_kept: bool) -> None:
        if not is_kept:
            self._make(uv)
        tool = "uv" if uv else "pip"
        say(f"Installing the packages of {requirements} with {tool}; this takes a minute or two …")
        self._install_packages(requirements, uv)

    def _make(self, uv: str | None) -> None:
        if self.path.exists():
            shutil.rmtree(self.path)
        say(f"Making .venv with Python {sys.version.split()[0]} …")
        # Not sys.executable: that may be the one in `.venv` which has just gone.
        python = getattr(sys, "_base_executable", None) or sys.executable
        if uv:
            _run([uv, "venv", "-q", "--python", python, str(self.path)], "uv could not make .venv")
            return
        _have_venv_module()
        _run([python, "-m", "venv", str(self.path)], "Python could not make .venv")

    def _refuse_if_in_use(self) -> None:
        try:
            with open(self.path / "pyvenv.cfg", "rb") as marker:
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return
        except BlockingIOError:
            raise Problem(
                "`.venv` has to be made again (another Python, or an unfinished installation), but a portal or a "
                "test run is using it now. Stop that first, or use the Python that made it."
            ) from None

    def _install_packages(self, requirements: str, uv: str | None) -> None:
        source = ["--require-hashes", "-r", str(self.root / requirements)]
        if uv:
            command = [
                uv,
                "pip",
                "install",
                "-q",
                "--python",
                str(self.python),
                "--compile-bytecode",
                *source,
            ]
        else:
            command = [str(self.python), "-m", "pip", "install", "-q", "--compile", "--no-input"]
            command += ["--disable-pip-version-check", "--progress-bar", "off", *source]
        _run(
            command,
            "The packages could not be installed. Is there a way to a package index from here? "
            f"(Tried with Python {_python_version()}; 3.11, 3.12 and 3.13 are known to work.)",
        )

    def _write_stamp(self, requirements: str) -> None:
        """The development lock holds every pin of the other one, so it answers for both."""
        stamp = {name: self._digest(name) for name in {RUNTIME, requirements}}
        stamp |= {"python": _python_version(), "path": str(self.path)}
        unfinished = self.stamp.with_suffix(".tmp")
        unfinished.write_text(json.dumps(stamp, indent=1) + "\n")
        unfinished.replace(self.stamp)


def say(line: str) -> None:
    print(line, flush=True)


def _python_version() -> str:
    return f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Two starts in one folder must not install over each other: the second waits, and says so."""
    with open(path, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another manage.py is installing into .venv; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _have_venv_module() -> None:
    """Debian and Ubuntu keep a part of Python's own `venv` in a package of its own."""
    if _has_ensurepip():
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    apt = shutil.which("apt-get")
    if apt is None:
        raise Problem(
            "This Python has no `ensurepip`, so it cannot make a virtual environment. Install it, or `uv`."
        )
    if os.geteuid() != 0:
        raise Problem(
            "Debian and Ubuntu keep a part of Python in a package of its own, and it is not installed. "
            f"Type this once, then start again:\n\n    sudo apt-get install -y {package}\n"
        )
    say(f"This Python cannot make virtual environments yet; running as root: apt-get install -y {package}")
    environ = {"DEBIAN_FRONTEND": "noninteractive"}
    if _run_quietly([apt, "install", "-y", "-q", package], environ):
        _run([apt, "update", "-q"], "apt-get update failed", environ)
        _run([apt, "install", "-y", "-q", package], f"apt-get could not install {package}", environ)


def _has_ensurepip() -> bool:
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


def _run(command: Sequence[str], complaint: str, environ: dict[str, str] | None = None) -> None:
    """Run it without noise; when it fails, show what it said and the complaint."""
    if output := _run_quietly(command, environ):
        raise Problem(f"{output}\n{complaint}\nThe command was: {' '.join(command)}")


def _run_quietly(command: Sequence[str], environ: dict[str, str] | None = None) -> str:
    """Return nothing when it worked, what it said when it did not."""
    clean = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    clean |= {"UV_PYTHON_DOWNLOADS": "never"} | (environ or {})
    done = subprocess.run(
        command,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return done.stdout.decode(errors="replace").strip() or f"(no output, exit code {done.returncode})"


def _settings_from_options(argv: Sequence[str]) -> None:
    """Options that Django must know before it reads its settings, and every child of `up` too."""
    if data_dir := _option(argv, "--data-dir"):
        os.environ["MODELGATE_DATA_DIR"] = str(Path(data_dir).expanduser().resolve())
    if _option(argv, "--web-processes") not in ("", "1"):
        # Rate limits live in the cache, and one process's memory is not seen by the next.
        os.environ.setdefault("MODELGATE_CACHE", "database")


def _option(argv: Sequence[str], name: str) -> str:
    for position, word in enumerate(argv):
        if word == name and position + 1 < len(argv):
            return argv[position + 1]
        if word.startswith(name + "="):
            return word.removeprefix(name + "=")
    return ""


def _stop(message: str, code: int = 1) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    sys.exit(code)
