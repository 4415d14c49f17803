"""A portal of the benchmark's own: `manage.py up` on a fresh data folder, used through its commands and its API."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from benchmarks.load import tree

ROOT = Path(__file__).resolve().parent.parent
MANAGE = [sys.executable, str(ROOT / "manage.py")]
SECONDS = 300
ENVIRON = {"MODELGATE_LOG_LEVEL": "WARNING", "MODELGATE_WRITE_RATE": "100000/minute"}
PEOPLE = {
    "author": ("author", "read,upload,request"),
    "approver": ("approver", "read,approve"),
    "operator": ("operator", "read,release,rollback"),
    "integrator": ("integrator", "read,predict"),
}


class Portal:
    """Web, worker and model supervisor, one process each."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, **ENVIRON, "MODELGATE_DATA_DIR": str(folder)}
        command = [*MANAGE, "up", "--no-demo", "--port", "0", "--data-dir", str(folder), *arguments]
        self._printed = folder.with_suffix(".log")
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environ, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed
            )
        self.address = self._wait_for_address()
        self.keys = {name: self._key(name, *means) for name, means in PEOPLE.items()}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    @property
    def web(self) -> int:
        """The root of the web server's processes."""
        return next(pid for pid in tree(self.process.pid) if "portal.asgi" in _command_of(pid))

    def path(self, slug: str) -> str:
        return f"{self.address}/api/v1/models/{slug}/predict/"

    def release(self, slug: str, artifact: Path, reference: Path, target: str) -> dict[str, Any]:
        """Upload, checks, request, approval by somebody else, release; the version as the API tells it."""
        if self.get(f"/models/{slug}/") is None:
            model = {"slug": slug, "name": slug.title(), "task": "classification", "risk": "low"}
            self.call("author", "/models/", json=model)
        table = self.call(
            "author",
            f"/models/{slug}/datasets/",
            form={"file": f"@{reference}", "role": "reference", "target": target},
        )
        made = self.call(
            "author", f"/models/{slug}/versions/", form={"artifact": f"@{artifact}", "reference": table["id"]}
        )
        version = self._wait_for_checks(slug, made["number"])
        asked = self.call(
            "author", f"/models/{slug}/versions/{made['number']}/requests/", json={"reason": "For measuring"}
        )
        self.call("approver", f"/requests/{asked['id']}/approve/", json={"comment": "For measuring"})
        self.call(
            "operator",
            f"/models/{slug}/releases/",
            json={"version": made["number"], "reason": "For measuring"},
        )
        return version

    def form_of(self, slug: str) -> Path | None:
        """The file of the compiled form that answers; None where the runner does."""
        with sqlite3.connect(self.folder / "db.sqlite3") as database:
            row = database.execute(
                "SELECT form.sha256 FROM inference_versionform form"
                " JOIN registry_modelversion version ON version.id = form.version_id"
                " JOIN registry_registeredmodel model ON model.id = version.model_id"
                " WHERE model.slug = ? AND version.engine = 'compiled' ORDER BY version.number DESC",
                [slug],
            ).fetchone()
        return next((self.folder / "files").rglob(f"{row[0]}*")) if row else None

    def get(self, path: str) -> Any:
        """What is there, or None."""
        answer = self._curl("author", path, [])
        return None if answer.get("status") == 404 else answer

    def call(
        self, who: str, path: str, *, json: dict[str, Any] | None = None, form: dict[str, str] | None = None
    ) -> Any:
        """POST, as this person's program; ends with what was said when it is refused."""
        arguments = [word for name, value in (form or {}).items() for word in ("--form", f"{name}={value}")]
        if json is not None:
            arguments = ["--json", orjson.dumps(json).decode()]
        answer = self._curl(who, path, arguments)
        if "detail" in answer and "status" in answer:
            sys.exit(f"{path}: {answer}")
        return answer

    def _curl(self, who: str, path: str, arguments: list[str]) -> Any:
        header = f"Authorization: Bearer {self.keys[who]}"
        command = ["curl", "-sS", "--header", header, *arguments, f"{self.address}/api/v1{path}"]
        return orjson.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    def _key(self, name: str, role: str, actions: str) -> str:
        self._manage("adduser", f"{name}@example.com", "--role", role)
        return self._manage("apikey", f"{name}@example.com", "--actions", actions, "--days", "1").split()[-1]

    def _manage(self, *arguments: str) -> str:
        return subprocess.run(
            [*MANAGE, *arguments], cwd=ROOT, env=self.environ, capture_output=True, text=True, check=True
        ).stdout

    def _wait_for_address(self) -> str:
        for _time in range(SECONDS * 5):
            printed = self._printed.read_text()
            if found := re.search(r"Address +(http://[0-9.:]+)", printed):
                return found[1]
            if self.process.poll() is not None:
                sys.exit(printed)
            time.sleep(0.2)
        sys.exit("the portal did not start")

    def _wait_for_checks(self, slug: str, number: int) -> dict[str, Any]:
        for _time in range(SECONDS * 5):
            version: dict[str, Any] = self.get(f"/models/{slug}/versions/{number}/")
            if version["state"] == "checked":
                return version
            if version["state"] not in ("checking", "draft"):
                sys.exit(f"{slug}: {version['state']}: {version['checks']}")
            time.sleep(0.2)
        sys.exit(f"{slug}: the checks did not end")


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
