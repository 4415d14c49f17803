"""What a model tries in its jail, with all layers on and with each of them off."""

import io
import os
import pickle
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import skops.io
from django.test import Client as DjangoClient

from inference.modeld.supervisor import Settings
from inference.runner import jail
from inference.runners import Client, ModelError, ModelUnavailable
from inference.runners import jail as account
from portal import units
from registry import inspection
from registry.errors import Refused
from tests import hostile, probe, trained
from tests.inference.conftest import MakeSpec
from tests.live import wait_until
from tests.modeld import ROOT, Supervisor

pytestmark = pytest.mark.slow

VALUE = "correct-horse-battery-staple"

MACHINE_HAS = "this machine lacks a layer of the jail that Modelgate requires"
OLDER = str(ROOT / "tests" / "older_kernel.py")

TRY = """
import sys, types
probe = types.ModuleType("probe")
exec({probe!r}, probe.__dict__)
sys.modules["probe"] = probe
import sklearn.linear_model
def predict(self, X):
    import sys
    raise KeyError(sys.modules["probe"].report(**{places!r}))
sklearn.linear_model.LogisticRegression.predict = predict
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What is there to be read, changed and talked to."""
    monkeypatch.setenv(hostile.SECRET, VALUE)
    data = tmp_path / "data"
    (data / "empty").mkdir(parents=True)
    for name in ("secret_key", "victim", "deleted"):
        (data / name).write_text("secret")
    (tmp_path / "other_model").write_text("model")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(data / "socket"))
        unix.listen()
        abstract.bind(f"\0{tmp_path}")
        abstract.listen()
        yield {
            "name": f"modelgate-{tmp_path.name}",
            "data": str(data),
            "secret_key": str(data / "secret_key"),
            "other_model": str(tmp_path / "other_model"),
            "our_code": str(ROOT / "inference" / "modeld" / "supervisor.py"),
            "port": tcp.getsockname()[1],
            "udp_port": udp.getsockname()[1],
            "unix": str(data / "socket"),
            "abstract": f"\0{tmp_path}",
        }
    for folder in ("/tmp", "/dev/shm"):
        Path(folder, f"modelgate-{tmp_path.name}").unlink(missing_ok=True)


@dataclass
class Found:
    """What a probe could open, and which hostile files changed what outside."""

    opened: set[str]
    harm: dict[str, set[str]]


def what_opens(tmp_path: Path, make_spec: MakeSpec, places: dict[str, Any], *options: str) -> Found:
    """With these options, of a model that tries everything, and of the whole hostile corpus, let in by force."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Supervisor(tmp_path / "s.sock", tmp_path, *options).start()
        try:
            opened = what_the_probe_opens(running, tmp_path, make_spec, places)
            return Found(opened, harm_of_the_corpus(running, tmp_path, make_spec, listener))
        finally:
            running.stop()


def what_the_probe_opens(
    running: Supervisor, tmp_path: Path, make_spec: MakeSpec, places: dict[str, Any]
) -> set[str]:
    more = {"own_model": str(tmp_path / "own"), "supervisor": running.process.pid}
    source = TRY.format(probe=Path(probe.__file__).read_text(), places={**places, **more})
    data = hostile.with_code(source, trained.whole_numbers())
    (tmp_path / "own").write_bytes(data)
    spec = make_spec(data, columns=(("age", "integer"),), admitted=hostile.EXEC)
    with pytest.raises(ModelError) as error:
        running.client.predict(spec, pa.table({"age": [33]}), 60)
    kind, _colon, found = error.value.detail.partition(": ")
    assert kind == "KeyError", error.value.detail
    return set(found.strip("'").split())


def harm_of_the_corpus(
    running: Supervisor, tmp_path: Path, make_spec: MakeSpec, listener: socket.socket
) -> dict[str, set[str]]:
    """What loading each file changed outside, as if somebody had admitted every name in it: kinds, by what they did."""
    canary, port = tmp_path / "canary", listener.getsockname()[1]
    listener.setblocking(False)
    harm: dict[str, set[str]] = {}
    for kind, data in hostile.corpus(canary, port).items():
        if kind in hostile.NO_PICKLES:
            continue
        spec = make_spec(data, key=f"{tmp_path.name}-{kind}", admitted=names_in(data))
        with suppress(ModelError):
            running.client.describe(spec)
        for effect in effects(canary, listener, f"sleep\0{300 + port}\0"):
            harm.setdefault(effect, set()).add(kind)
    return harm


def names_in(data: bytes) -> list[tuple[str, str]]:
    try:
        found = inspection.look(io.BytesIO(data)).globals
    except Refused:
        return []
    return [(module, name) for module, _dot, name in (each.rpartition(".") for each in found)]


def effects(canary: Path, listener: socket.socket, command: str) -> Iterator[str]:
    """What has changed outside since we last looked; nothing of it is left for the next look."""
    if canary.exists():
        canary.unlink()
        yield "files"
    with suppress(BlockingIOError):
        connection, _address = listener.accept()
        with connection:
            yield "network"
            connection.setblocking(True)
            told = b"".join(iter(partial(connection.recv, 1 << 16), b""))
            if VALUE.encode() in told:
                yield "secrets"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_text() == command:
                os.kill(int(process.name), signal.SIGKILL)
                yield "processes"


# What opens when one layer is left out and all others hold: on every machine, and on some. An act that is on no line
# is closed by two layers at least. Without `no_new_privs` neither Landlock nor seccomp can be had.
NOWHERE: frozenset[str] = frozenset()
#: What a runner with a user of its own may not do where it loses both Landlock and seccomp.
HELD_BY_THE_USER = frozenset({"files"})
ALWAYS = {
    "network": NOWHERE,
    "uid": NOWHERE,
    "dumpable": NOWHERE,
    "rlimits": {"take_memory"},
    "landlock": {
        "list_processes",
        "list_root",
        "list_temporary_files",
        "read_device",
        "read_kernel_settings",
        "read_passwd",
    },
    "seccomp": {
        "fork",
        "hand_over_descriptors",
        "leave_the_group",
        "let_others_look_in",
        "memory_file",
        "netlink_socket",
        "other_personality",
        "outlive_the_parent",
        "shared_memory",
        "socket_pair",
    },
}
SOMETIMES = {
    "network": NOWHERE,
    "uid": {"have_capabilities", "lock_memory"},  # root
    "dumpable": NOWHERE,
    "rlimits": {"dump_core", "lock_memory", "open_many_files"},  # what the system around us allows
    "landlock": {  # files of root, read by a runner that keeps its user
        "list_data_folder",
        "list_system_settings",
        "read_data_folder",
        "read_other_models",
        "read_our_code",
        "read_own_environment",
        "read_own_model_by_path",
        "read_parent_command_line",
    },
    "seccomp": {  # files of the same user; calls that another filter around us may refuse; an older Landlock
        "change_attributes",
        "change_mode",
        "change_owner",
        "change_times",
        "change_user",
        "connect_abstract_unix",
        "connect_tcp",
        "connect_unix",
        "handle_on_parent",
        "io_uring",
        "keys_of_the_kernel",
        "listen_tcp",
        "new_user_namespace",
        "performance_counters",
        "send_udp",
        "signal_everybody",
        "signal_parent",
        "signal_supervisor",
        "truncate_file",
        "user_faults",
        "watch_a_folder",
    },
}


def wait_until_tried(client: Client) -> None:
    """The zygote tries the jail when it starts; a runner cannot be had before."""
    wait_until(lambda: account.state(client) != account.NOT_TRIED, 90)


def without(*layers: str) -> list[str]:
    return [word for layer in layers for word in ("--without", layer)]


def test_the_probe_tries_enough() -> None:
    assert len(probe.ACTS) >= 70
    assert set().union(*ALWAYS.values(), *SOMETIMES.values()) <= set(probe.ACTS)


def test_a_model_in_its_jail_succeeds_with_nothing(
    tmp_path: Path, make_spec: MakeSpec, places: dict[str, Any]
) -> None:
    found = what_opens(tmp_path, make_spec, places)

    assert found.opened == set()
    assert found.harm == {}


@pytest.mark.parametrize("layer", ALWAYS)
def test_each_layer_holds_what_opens_without_it(
    tmp_path: Path, make_spec: MakeSpec, places: dict[str, Any], layer: str
) -> None:
    found = what_opens(tmp_path, make_spec, places, *without(layer))

    assert found.opened >= ALWAYS[layer]
    assert found.opened <= {*ALWAYS[layer], *SOMETIMES[layer]}
    assert found.harm == {}, "no file of the corpus is held by one layer alone"


def test_landlock_alone_still_lets_nobody_write_execute_or_connect(
    tmp_path: Path, make_spec: MakeSpec, places: dict[str, Any]
) -> None:
    """What two layers hold opens when both are gone; the first of them is seccomp."""
    found = what_opens(tmp_path, make_spec, places, *without("landlock", "seccomp"))

    assert found.opened >= {"execute", "write_device", "write_temporary_file", "signal_everybody"}
    assert found.harm.keys() - HELD_BY_THE_USER <= {"files", "processes"}
    assert "network" not in found.harm, "the empty network holds what Landlock and seccomp let through"


def test_the_probe_is_able_to_do_what_it_tries(
    tmp_path: Path, make_spec: MakeSpec, places: dict[str, Any]
) -> None:
    """Otherwise "closed" would say nothing."""
    found = what_opens(tmp_path, make_spec, places, *without(*jail.SWITCHES))

    assert len(found.opened) >= 45
    assert found.opened >= {"connect_tcp", "send_udp", "listen_tcp", "connect_abstract_unix", "connect_unix"}
    assert found.harm.keys() == {"files", "network", "secrets", "processes"}
    assert len(found.harm["files"]) >= 25
    assert found.harm["secrets"] == {"everybodys_environment"}, "a runner's own environment holds none"


# --- a machine that lacks a layer ---


@pytest.fixture(params=["landlock", "seccomp"])
def lacking(request: pytest.FixtureRequest) -> str:
    layer: str = request.param
    return layer


@pytest.fixture
def start_on_older_kernel(tmp_path: Path, lacking: str) -> Iterator[Any]:
    started: list[Supervisor] = []

    def start(*options: str) -> Client:
        running = Supervisor(tmp_path / "s.sock", tmp_path, *options)
        running.machine = (sys.executable, OLDER, lacking)
        started.append(running)
        return running.start().client

    yield start
    for running in started:
        running.stop()


def test_without_a_required_layer_nothing_is_loaded(
    start_on_older_kernel: Any, make_spec: MakeSpec, lacking: str
) -> None:
    client = start_on_older_kernel()
    files = {"joblib": trained.joblib_bytes, "pickle": pickle.dumps, "skops": skops.io.dumps}
    specs = [make_spec(dump(trained.logistic()), form=form) for form, dump in files.items()]

    for spec in specs * 3:  # and it stays the machine's fault, never a crash loop of the model
        with pytest.raises(ModelUnavailable) as error:
            client.describe(spec)
        assert error.value.code == "jail_missing"
        assert f"{lacking} is off" in error.value.detail
        assert "/readyz" in str(error.value.fix)

    told = account.state(client)
    assert told.startswith(f"no model is loaded: {lacking} is off: Function not implemented") or (
        lacking == "landlock" and "landlock is off: this kernel has no Landlock" in told
    )
    assert "MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX" in told


def test_one_setting_lets_skops_files_in_all_the_same_and_no_others(
    start_on_older_kernel: Any, make_spec: MakeSpec, lacking: str
) -> None:
    client = start_on_older_kernel("--jail-optional-for-skops-and-onnx")

    answer = client.predict(make_spec(skops.io.dumps(trained.logistic()), form="skops"), trained.table(5), 20)
    facts = client.describe(make_spec(skops.io.dumps(trained.forest()), form="skops"))
    with pytest.raises(ModelUnavailable) as error:
        client.describe(make_spec(trained.logistic()))

    assert answer.labels == trained.logistic().predict(trained.people()[trained.INPUTS].head(5)).tolist()
    assert facts.layers[lacking].startswith("off")
    assert error.value.code == "jail_missing"
    assert account.state(client).startswith(f"ok for skops and ONNX files alone: {lacking} is off")


def test_what_is_a_program_needs_the_whole_jail_whatever_the_setting_says() -> None:
    lowered = Settings(stores=(), is_jail_optional_for_skops_and_onnx=True)

    assert [lowered.required(form) for form in ("skops", "onnx")] == [[], []]
    for form in ("joblib", "pickle", "mlflow", "anything"):
        assert lowered.required(form) == list(jail.REQUIRED)


def test_no_new_privileges_carry_the_two_others(tmp_path: Path, make_spec: MakeSpec) -> None:
    running = Supervisor(tmp_path / "s.sock", tmp_path, *without("no_new_privs")).start()
    try:
        with pytest.raises(ModelUnavailable) as error:
            running.client.describe(make_spec(trained.logistic()))
    finally:
        running.stop()

    assert error.value.code == "jail_missing"
    assert "landlock is off" in error.value.detail and "seccomp is off" in error.value.detail


# --- the account ---


@pytest.mark.django_db
def test_readyz_says_that_the_jail_is_whole(modeld: Supervisor, client: DjangoClient) -> None:
    wait_until_tried(modeld.client)
    response = client.get("/readyz")

    assert (response.status_code, response.json()["jail"]) == (200, "ok")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("optional", "status"), [(False, 503), (True, 200)], ids=["required", "optional for skops and ONNX"]
)
def test_readyz_says_what_is_missing_and_what_to_do(
    modeld: Supervisor, client: DjangoClient, monkeypatch: pytest.MonkeyPatch, optional: bool, status: int
) -> None:
    said = {"missing": {"landlock": "off: Function not implemented"}, "optional_for_skops_and_onnx": optional}
    monkeypatch.setattr(Client, "status", lambda self: {"jail": said})

    response = client.get("/readyz")

    assert response.status_code == status
    told = response.json()["jail"]
    assert "landlock is off: Function not implemented" in told and "Linux 5.13" in told


def test_the_setting_becomes_an_argument_of_the_supervisor(settings: Any) -> None:
    assert "--jail-optional-for-skops-and-onnx" not in units.modeld()
    settings.MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX = True
    assert "--jail-optional-for-skops-and-onnx" in units.modeld()


def test_before_it_is_tried_nothing_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "status", lambda self: {"jail": {"missing": None}})

    assert account.state(Client(Path("nowhere"))) == account.NOT_TRIED


def test_every_required_layer_is_on_here(modeld: Supervisor, make_spec: MakeSpec) -> None:
    facts = modeld.client.describe(make_spec(trained.logistic()))

    assert jail.missing(facts.layers) == {}, MACHINE_HAS
    assert modeld.client.status()["jail"]["missing"] == {}
    assert account.state(modeld.client) == "ok"


def test_a_layer_left_out_for_a_test_is_not_told_as_ready(tmp_path: Path, make_spec: MakeSpec) -> None:
    running = Supervisor(tmp_path / "s.sock", tmp_path, *without("landlock")).start()
    try:
        running.client.describe(make_spec(trained.logistic()))
        assert "landlock is off: switched off for a test" in account.state(running.client)
    finally:
        running.stop()


def test_the_environment_switches_nothing_off(
    tmp_path: Path, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "WITHOUT",
        "MODELGATE_WITHOUT",
        "MODELD_WITHOUT",
        "MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX",
    ):
        monkeypatch.setenv(name, "landlock")
    running = Supervisor(tmp_path / "s.sock", tmp_path).start()
    try:
        facts = running.client.describe(make_spec(trained.logistic()))
    finally:
        running.stop()

    assert jail.missing(facts.layers) == {}


def test_a_layer_that_is_accepted_and_not_enforced_counts_as_off() -> None:
    """Emulated kernels do that. Nothing has been closed here, so both attempts succeed."""
    found = jail.proven({"landlock": "on: version 1", "seccomp": "on: 3 instructions"})

    assert jail.missing(found, ["landlock", "seccomp"]).keys() == {"landlock", "seccomp"}
