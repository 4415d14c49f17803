"""Let the unknown names of one version into the jail, or not: an approver who did not upload it, and once.

Until then nothing of the file is loaded, not even in the jail. What is admitted holds for this version alone.
"""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from registry import audit, permissions
from registry.actions import catalog
from registry.actions._words import reason_from
from registry.audit import Action
from registry.errors import FieldError, Invalid, Refused
from registry.models import Admission, CheckResult, ModelVersion, Role

State = ModelVersion.State


def admit(version: ModelVersion, *, names: Iterable[str], comment: str, actor: Any) -> ModelVersion:
    """Admit exactly the names that the file needs, and start its checks. The comment says why they are harmless."""
    words = _words_of_reviewer(version, comment, actor)
    return _admit(version, sorted(set(names)), words, actor)


@transaction.atomic
def _admit(version: ModelVersion, names: list[str], words: str, actor: Any) -> ModelVersion:
    _require_waiting(version)
    _require_exactly(names, version.names_to_review)
    if not ModelVersion.objects.filter(pk=version.pk).move(
        old=State.NEEDS_REVIEW, new=State.CHECKING, admitted=sorted({*version.admitted, *names})
    ):
        raise _nothing_to_admit(version)
    _write_down(version, Admission.Verdict.ADMITTED, Action.VERSION_ADMITTED, names, words, actor)
    return catalog.begin_checks(version, old=[State.CHECKING], actor=actor)


@transaction.atomic
def refuse(version: ModelVersion, *, comment: str, actor: Any) -> ModelVersion:
    """Keep the names out: the version ends here, and its author reads why."""
    words = _words_of_reviewer(version, comment, actor)
    _require_waiting(version)
    names, check = version.names_to_review, "inventory" if version.unknown_names else "environment"
    if not ModelVersion.objects.filter(pk=version.pk).move(old=State.NEEDS_REVIEW, new=State.CHECKS_FAILED):
        raise _nothing_to_admit(version)
    _write_down(version, Admission.Verdict.REFUSED, Action.VERSION_NOT_ADMITTED, names, words, actor)
    CheckResult.objects.update_or_create(
        version=version,
        name=check,
        defaults={
            "position": 0,
            "status": CheckResult.Status.FAILED,
            "detail": words,
            "log": "\n".join(names),
        },
    )
    version.refresh_from_db()
    return version


def _words_of_reviewer(version: ModelVersion, comment: str, actor: Any) -> str:
    permissions.require_role(permissions.has_role(actor, Role.APPROVER), Role.APPROVER)
    permissions.require(
        actor.pk != version.uploaded_by_id,
        _("You uploaded this version, so another approver must look at its names."),
        code="own_version",
    )
    permissions.require(
        permissions.can_admit(actor, version),
        _("Only a person may admit names, never a service account."),
        code="service",
    )
    return reason_from(comment, field="comment")


def _require_waiting(version: ModelVersion) -> None:
    version.refresh_from_db(fields=["state", "globals", "admitted", "environment"])
    if version.state != State.NEEDS_REVIEW:
        raise _nothing_to_admit(version)


def _require_exactly(given: list[str], needed: list[str]) -> None:
    """What was looked at must be what is let in: no name less, and none more."""
    lacking = _("The file needs it too; name it, or refuse the file.")
    beyond = _("The file does not need it; leave it out.")
    errors = [
        *(_wrong(name, "missing_name", lacking) for name in sorted(set(needed) - set(given))),
        *(_wrong(name, "extra_name", beyond) for name in sorted(set(given) - set(needed))),
    ]
    if errors:
        raise Invalid(
            _("Name exactly what the file needs: %(names)s.") % {"names": ", ".join(needed)[:1000]},
            code="other_names",
            errors=errors,
        )


def _wrong(name: str, code: str, fix: str) -> FieldError:
    return {
        "field": "names",
        "code": code,
        "value": name[:300],
        "expected": f"{name[:300]}: {fix}",
        "fix": fix,
    }


def _write_down(
    version: ModelVersion,
    verdict: Admission.Verdict,
    action: Action,
    names: list[str],
    words: str,
    actor: Any,
) -> None:
    Admission.objects.create(
        version=version, verdict=verdict, sha256=version.sha256, names=names, comment=words, decided_by=actor
    )
    audit.record(action, target=version, actor=actor, reason=words, sha256=version.sha256, names=names)


def _nothing_to_admit(version: ModelVersion) -> Refused:
    version.refresh_from_db(fields=["state"])
    return Refused(
        _("%(version)s is %(state)s: it waits for nobody to admit anything.")
        % {"version": version, "state": version.get_state_display().lower()},
        code="nothing_to_admit",
    )
