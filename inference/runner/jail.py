"""The one door between us and a model file: everything after it is untrusted.

Each layer answers for itself ("on…" or "off: why"); none is skipped in silence. What must be there before a file is
opened is `REQUIRED`; the rest is taken where the system gives it.
"""

import os
import socket
from collections.abc import Callable, Collection

from . import landlock, limits, seccomp

Layers = dict[str, str]

REQUIRED = ("rlimits", "no_new_privs", "landlock", "seccomp")
# Layers that a test may leave out, to show what each of them holds.
SWITCHES = ("network", "uid", "dumpable", *REQUIRED)
SWITCHED_OFF = "off: switched off for a test"


class Missing(Exception):
    """A layer without which nothing is loaded is not there."""


def enter(wanted: limits.Limits, without: Collection[str] = ()) -> Layers:
    """Give up, for good, what a model does not need. Called once, in the forked runner, before the file is read.

    The order matters: namespaces and the change of user need privileges, changing the user clears the signal of the
    parent's death, Landlock and seccomp need no_new_privs, and seccomp denies what all others need.
    """
    was_root = os.geteuid() == 0
    layers: Layers = {}
    steps: dict[str, Callable[[], str]] = {
        "process_group": limits.lead_a_group,
        "network": limits.leave_the_network,
        "uid": lambda: limits.drop_user(wanted.uid, was_root=was_root),
        "parent_death": limits.die_with_parent,
        "no_new_privs": limits.gain_nothing,
        "dumpable": limits.stay_closed,
        "rlimits": lambda: limits.limit_resources(wanted, own_user=layers["uid"].startswith("on")),
        "landlock": lambda: _or_off(landlock.restrict),
        "seccomp": lambda: _or_off(seccomp.install),
    }
    for name, step in steps.items():
        layers[name] = SWITCHED_OFF if name in without else step()
    return proven(layers)


def missing(layers: Layers, required: Collection[str] = REQUIRED) -> Layers:
    """The required layers that are not on, each with its reason."""
    found = {name: layers.get(name, "off: unknown") for name in required}
    return {name: state for name, state in found.items() if not state.startswith("on")}


def demand(layers: Layers, required: Collection[str]) -> None:
    if lacking := missing(layers, required):
        raise Missing("; ".join(f"{name} is {state}" for name, state in lacking.items()))


def _or_off(step: Callable[[], str]) -> str:
    try:
        return step()
    except OSError as error:
        return f"off: {error.strerror or error}"


def proven(layers: Layers) -> Layers:
    """A kernel that says yes and holds nothing (an emulated one may) is found out by trying."""
    attempts: dict[str, Callable[[], object]] = {
        "landlock": lambda: os.close(os.open("/", os.O_RDONLY)),
        "seccomp": lambda: socket.socket(socket.AF_UNIX).close(),
    }
    for name, attempt in attempts.items():
        if layers[name].startswith("on") and _succeeds(attempt):
            layers[name] = "off: the kernel accepted it and does not enforce it"
    return layers


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True
