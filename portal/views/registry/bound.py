"""What a request is bound to, in words: kept as digests and numbers, read by people."""

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from registry.actions import approvals
from registry.models import Release, ReleaseRequest
from registry.policy import Policy

#: What is kept as a digest only: that it changed can be told, not from what to what.
_DIGESTS: dict[str, Promise] = {
    "schema": lazy("inputs and answer"),
    "environment": lazy("packages"),
    "metrics": lazy("measured figures"),
}


@dataclass(frozen=True)
class BoundLine:
    """One thing that must not change; `now` says how it stands where a stale request finds it otherwise."""

    name: str
    value: str
    now: str = ""
    title: str = ""


def bound_lines(one: ReleaseRequest) -> list[BoundLine]:
    """Everything that the decision is about, as it stood when it was asked."""
    version, then = one.version, one.bound
    is_stale = one.state == ReleaseRequest.State.STALE
    now = approvals.binding(version, one.environment.slug) if is_stale else then
    sha256 = then.get("sha256", "")
    return [
        BoundLine(_("Version"), f"{version.model.name} {version.label}"),
        BoundLine(_("Its file"), _("SHA-256 %(hash)s…") % {"hash": sha256[:12]}, title=sha256),
        BoundLine(_("Environment"), str(one.environment)),
        _changing(_("Replaces"), _release(one, then.get("release", 0)), _release(one, now.get("release", 0))),
        _digests(then, now),
        _changing(_("Rules"), _rules(one, then.get("policy")), _rules(one, now.get("policy"))),
    ]


def _changing(name: str, then: str, now: str) -> BoundLine:
    return BoundLine(name, then, "" if then == now else now)


def _release(one: ReleaseRequest, number: int) -> str:
    if not number:
        return _("Nothing: it would be the first")
    release = Release.objects.of(one.version.model, one.environment.slug).filter(number=number).first()
    return f"r{number} ({release.version.label})" if release else f"r{number}"


def _digests(then: dict[str, Any], now: dict[str, Any]) -> BoundLine:
    """Of what is kept as a digest: the names, and those that are others by now."""
    kept = [name for name in _DIGESTS if name in then]
    words = ", ".join(str(_DIGESTS[name]) for name in kept)
    changed = ", ".join(str(_DIGESTS[name]) for name in kept if then[name] != now.get(name))
    return BoundLine(
        _("As they were"),
        words[:1].upper() + words[1:],
        _("other %(names)s") % {"names": changed} if changed else "",
    )


def _rules(one: ReleaseRequest, policy: dict[str, Any] | None) -> str:
    said = Policy.read(policy or {}, one.version.model.task).deciding_sentences
    return " ".join(said) or _("No quality gate, and any approver decides")
