"""`manage.py up`: everything one machine needs, started together, watched, and stopped together."""

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from inference import heartbeats
from inference.modeld import address as modeld
from inference.runners import jail
from portal import first_steps, units
from portal.demo import progress
from portal.launcher import CannotStart, Child, Claim, Family, Unit, free_port, say

READY_SECONDS = 180
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared with what was asked for


class Command(BaseCommand):
    """Starts the web server, a Celery worker with its scheduler, and the model supervisor."""

    help = "Start the whole portal on this machine. Ctrl-C stops it."
    requires_system_checks = ()  # each child would repeat them; `manage.py check` and the tests run them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port", type=int, default=8000, help="0 takes any free port (default: %(default)s)"
        )
        parser.add_argument(
            "--host", default="127.0.0.1", help="0.0.0.0 answers on every network (default: this machine)"
        )
        parser.add_argument("--web-processes", type=int, default=1, metavar="N", help="default: %(default)s")
        parser.add_argument(
            "--data-dir",
            metavar="DIR",
            help="the same as MODELGATE_DATA_DIR (default: var/ beside manage.py)",
        )
        parser.add_argument(
            "--no-demo", action="store_true", help="start empty, without demo models and people"
        )
        parser.add_argument(
            "--wait-demo", action="store_true", help="show the demo's progress; fail when it fails"
        )
        parser.add_argument(
            "--admin-email", metavar="EMAIL", help="the first administrator (first start only)"
        )

    def handle(self, **options: Any) -> None:
        try:
            code = Start(**{name: options[name] for name in Start.OPTIONS}).run()
        except CannotStart as problem:
            self.stderr.write(str(problem))
            code = 1
        connections.close_all()
        sys.exit(code)


class Start:
    """One start, from the lock on the data folder to the last child's end."""

    OPTIONS = ("port", "host", "web_processes", "no_demo", "wait_demo", "admin_email")

    def __init__(
        self,
        *,
        port: int,
        host: str,
        web_processes: int,
        no_demo: bool,
        wait_demo: bool,
        admin_email: str | None,
    ) -> None:
        self.began = time.monotonic()
        self.data_dir: Path = settings.DATA_DIR
        self.host, self.web_processes = host, max(1, web_processes)
        self.with_demo, self.wait_demo, self.admin_email = not no_demo, wait_demo, admin_email
        self.claim = Claim(first_steps.claim_path())
        self.port = free_port(host, port)
        self.family = Family(self.data_dir / "logs")
        self.demo: Child | None = None
        self.demo_people_are_known = False
        self.jail = jail.NOT_TRIED

    @property
    def address(self) -> str:
        host = ANYWHERE.get(self.host, self.host)
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def run(self) -> int:
        self.family.listen_to_signals()
        os.environ.setdefault("MODELGATE_ALLOWED_HOSTS", ",".join(_hosts(self.host)))
        self._prepare_database()
        administrator = first_steps.first_administrator(self.admin_email)
        try:
            self._start_children()
            if self._is_ready():
                self.claim.note(self.address)
                self._announce_demo()
                self._welcome(administrator)
                self._start_demo()
                connections.close_all()
                self._watch()
            return self._result()
        finally:
            self._stop()
            self.claim.release()

    def _prepare_database(self) -> None:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            say(f"Preparing the database ({len(plan)} migrations) …")
            call_command("migrate", verbosity=0, interactive=False)
        if str(settings.CACHES["default"]["BACKEND"]).endswith("DatabaseCache"):
            call_command("createcachetable", verbosity=0)

    def _start_children(self) -> None:
        say("Starting the web server, the worker and the model supervisor …")
        web = units.web(host=self.host, port=self.port, processes=self.web_processes)
        worker = units.worker(with_beat=True)
        self._start("web", "The web server", web)
        self._start("worker", "The worker", worker, seconds_to_stop=30)
        self._start("modeld", "The model supervisor", units.modeld(), is_told_secrets=False)
        self.started = time.monotonic()

    def _start(self, name: str, title: str, command: list[str], **more: Any) -> Child:
        unit = Unit(name, title, command, folder=settings.BASE_DIR, **more)
        return self.family.start(unit, stop_first=name == "demo")

    def _is_ready(self) -> bool:
        waiting_for: dict[str, Callable[[], bool]] = {
            "The web server did not answer": self._web_answers,
            "The model supervisor did not listen": _modeld_listens,
            "The worker did not finish its first tick": self._worker_has_ticked,
            f"{self.address}readyz did not say that all is well": self._is_all_well,
        }
        for what, is_ready in waiting_for.items():
            if not self.family.wait_until(is_ready, seconds=READY_SECONDS, every=0.2):
                if not self.family.is_stopping and not self.family.the_dead():
                    say(f"{what} within {READY_SECONDS} s. The logs are in {self.family.log_dir}")
                return False
        connections.close_all()
        return True

    def _web_answers(self) -> bool:
        return self._ask("/livez")[0] == http.client.OK

    def _is_all_well(self) -> bool:
        """All but the jail must be well: where the system lacks it, the portal says so and loads no model."""
        try:
            parts: dict[str, Any] = json.loads(self._ask("/readyz")[1])
        except ValueError:
            return False
        self.jail = str(parts.pop("jail", jail.NOT_TRIED))
        return self.jail != jail.NOT_TRIED and all(
            str(parts[each]).split(" ")[0] == "ok" for each in parts if each != "ready"
        )

    def _ask(self, path: str) -> tuple[int, bytes]:
        asked = http.client.HTTPConnection(ANYWHERE.get(self.host, self.host), self.port, timeout=5)
        try:
            asked.request("GET", path)
            answer = asked.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            asked.close()

    def _worker_has_ticked(self) -> bool:
        return heartbeats.worker_is_alive(seconds=time.monotonic() - self.started)

    def _welcome(self, administrator: first_steps.Administrator | None) -> None:
        say(f"\nModelgate is ready ({time.monotonic() - self.began:.1f} s).\n")
        say(f"  Address        {self.address}")
        if administrator:
            say(f"  Administrator  {administrator.email} has no password yet. This link sets one, once:")
            say(f"                 {administrator.link(self.address)}")
        if self.jail != "ok":
            say(f"  Models         {self.jail}")
        say(f"  Data           {self.data_dir} (logs in {self.family.log_dir.name}/)")
        say("  Stop           Ctrl-C\n")

    def _say_who_the_demo_people_are(self) -> None:
        """Links at the first start, when nobody has a password yet; afterwards how to get one."""
        links = first_steps.demo_links(self.address) if self.demo else []
        if self.demo and not links:
            return  # the demo has not invited them yet
        say(
            "\n  Demo people, for trying things out on this machine only. "
            + (
                "Each link sets a password, once:"
                if links
                else f"A link for one of them: MODELGATE_DATA_DIR={self.data_dir} python3 manage.py signin EMAIL"
            )
        )
        for position, (email, words) in enumerate(first_steps.demo_people()):
            say(f"    {email:32} {words}")
            if links:
                say(f"      {links[position]}")
        say()
        self.demo_people_are_known = True

    def _start_demo(self) -> None:
        if not self.with_demo:
            return
        if first_steps.demo_is_complete():
            self._say_who_the_demo_people_are()
            return
        say("Filling in the demo in the background; the home page shows how far it is.")
        seed = [sys.executable, str(units.MANAGE), "seed_demo"]
        environ = {"MODELGATE_ALLOW_AS_OF": "true"}
        self.demo = self._start("demo", "The demo", seed, environ=environ, is_shown=self.wait_demo)

    def _watch(self) -> None:
        """Until somebody stops us, or a child ends that should not."""
        while not self.family.is_stopping:
            if self.demo and not self.demo.is_running and not self._demo_ended(self.demo):
                return
            if self.family.the_dead():
                return
            self.family.pause(0.2)
            if self.demo and not self.demo_people_are_known:
                self._say_who_the_demo_people_are()

    def _announce_demo(self) -> None:
        """The home page says that a demo is coming to whoever is faster than the demo's own process."""
        if self.with_demo and not first_steps.demo_is_complete():
            progress.write(state="running", step="Starting", total=1)

    def _demo_ended(self, demo: Child) -> bool:
        """Whether to go on: a demo that failed is worth a word, and with --wait-demo an end."""
        failed = demo.process.returncode != 0
        if failed and self.wait_demo:
            return False
        if failed:
            progress.write(state="failed", error="See logs/demo.log in the data folder.")
            say(demo.why_it_ended())
            say("The portal runs without it; the next start tries again.")
        else:
            say("" if self.wait_demo else "The demo is complete.")
        self.demo = None
        self.family.forget(demo)
        return True

    def _result(self) -> int:
        for child in self.family.the_dead():
            if not self.family.is_stopping:
                say(child.why_it_ended())
                say("Nothing is lost: start again with python3 manage.py up.")
        return 0 if self.family.is_stopping else 1

    def _stop(self) -> None:
        say("\nStopping: no new requests; running work is finished first (Ctrl-C again ends it now) …")
        self.family.stop()
        say("Stopped.")


def _modeld_listens() -> bool:
    try:
        modeld.connect(Path(settings.MODELGATE_MODELD_SOCKET), timeout=2).close()
    except OSError:
        return False
    return True


def _hosts(host: str) -> list[str]:
    """The names under which this start may be addressed."""
    names = ["localhost", "127.0.0.1", "[::1]"]
    if host in ANYWHERE:
        own = socket.gethostname()
        names += [own, *_addresses(own)]
    else:
        names.append(f"[{host}]" if ":" in host else host)
    return list(dict.fromkeys(names))


def _addresses(name: str) -> list[str]:
    try:
        return socket.gethostbyname_ex(name)[2]
    except OSError:
        return []
