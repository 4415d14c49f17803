"""Whether models run in the whole jail on this machine, in a word; if not, what is missing and what to do."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from inference.runner.jail import REQUIRED
from inference.runners import claims
from inference.runners.conversations import Client

NOT_TRIED = "not tried yet"
WHAT_TO_DO = {
    "landlock": "needs Linux 5.13 or later with landlock among its security modules (boot option lsm=landlock,…)",
    "seccomp": "needs a kernel with seccomp filters, on x86_64 or aarch64",
    "no_new_privs": "needs Linux 3.5 or later",
    "rlimits": "needs the right to lower resource limits",
    "network": "needs a start as root, or a kernel that lets users make namespaces (user.max_user_namespaces)",
    "uid": "needs a start as root, and a Python that other users can read (not below /root)",
}


class Layer(NamedTuple):
    """One layer of the jail as it was found when it was tried."""

    name: str
    state: str  # "on…" or "off: why"
    is_required: bool
    to_do: str

    @property
    def is_on(self) -> bool:
        return self.state.startswith("on")


def layers(status: Mapping[str, Any]) -> list[Layer]:
    """Every layer, the required ones first; none before the jail has been tried."""
    found = claims.words((status.get("jail") or {}).get("layers"))
    names = [*REQUIRED, *(name for name in found if name not in REQUIRED)]
    return [
        Layer(name, found.get(name, "off: unknown"), name in REQUIRED, WHAT_TO_DO.get(name, ""))
        for name in names
        if found
    ]


def state(client: Client) -> str:
    """ "ok", or the missing layers. Raises ModelError when the supervisor is away."""
    return said(client.status())


def said(status: Mapping[str, Any]) -> str:
    jail: dict[str, Any] = status.get("jail") or {}
    if jail.get("missing") is None:
        return NOT_TRIED
    missing = claims.words(jail["missing"])
    if not missing:
        return "ok"
    told = "; ".join(
        f"{name} is {why} ({WHAT_TO_DO.get(name, 'not known here')})" for name, why in missing.items()
    )
    if jail.get("optional_for_skops_and_onnx") is True:
        return f"ok for skops and ONNX files alone: {told}"
    return (
        f"no model is loaded: {told}. MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX=true loads skops and ONNX files"
        " all the same"
    )
