"""Whether models run in the whole jail on this machine, in a word; if not, what is missing and what to do."""

from typing import Any

from inference.runners import claims
from inference.runners.conversations import Client

NOT_TRIED = "not tried yet"
WHAT_TO_DO = {
    "landlock": "needs Linux 5.13 or later with landlock among its security modules (boot option lsm=landlock,…)",
    "seccomp": "needs a kernel with seccomp filters, on x86_64 or aarch64",
    "no_new_privs": "needs Linux 3.5 or later",
    "rlimits": "needs the right to lower resource limits",
}


def state(client: Client) -> str:
    """ "ok", or the missing layers. Raises ModelError when the supervisor is away."""
    jail: dict[str, Any] = client.status().get("jail") or {}
    if jail.get("missing") is None:
        return NOT_TRIED
    missing = claims.words(jail["missing"])
    if not missing:
        return "ok"
    told = "; ".join(
        f"{name} is {why} ({WHAT_TO_DO.get(name, 'not known here')})" for name, why in missing.items()
    )
    if jail.get("optional_for_skops") is True:
        return f"ok for skops files alone: {told}"
    return (
        f"no model is loaded: {told}. MODELGATE_JAIL_OPTIONAL_FOR_SKOPS=true loads skops files all the same"
    )
