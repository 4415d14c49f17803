"""The one gate: may this version answer here? Form, API, CSV, command and task all ask it."""

from typing import Any

from django.utils.translation import gettext as _

from registry.errors import Gone, NothingServing, Refused
from registry.models import PRODUCTION, Environment, ModelVersion, RegisteredModel, Release


def answering_release(
    model: RegisteredModel, environment: str = PRODUCTION, version_number: int | None = None
) -> Release:
    """The release under which `model` answers in `environment`.

    Without `version_number`: the current one; NothingServing (503) when there is none or its version is barred.
    With it: the latest release of that version there; Refused `not_released` (409) when it never was released
    in this environment, so that an unapproved version answers nowhere.
    """
    if version_number is None:
        return _current(model, environment)
    release = (
        Release.objects.of(model, environment)
        .filter(version__number=version_number)
        .order_by("-number")
        .first()
    )
    if release is not None:
        require_present(release.version.model)
    if release is None:
        raise Refused(
            _("Version %(number)s of “%(model)s” was never released to %(environment)s.")
            % {"number": version_number, "model": model, "environment": environment},
            code="not_released",
            fix=_("Leave out the version, or ask for its approval and release first."),
        )
    if not may_answer(release.version):
        raise Refused(
            _("Version %(number)s of “%(model)s” may not answer any more.")
            % {"number": version_number, "model": model},
            code="version_barred",
        )
    return release


def may_answer(version: ModelVersion) -> bool:
    return version.state == ModelVersion.State.CHECKED and version.model.deleted_at is None


def require_not_deleted(slug: str, user: Any) -> None:
    """Gone (410) where somebody who knew of a model asks for it after its end; to all others it never was."""
    deleted = RegisteredModel.objects.tombstones().would_show(user).filter(slug=slug).first()
    if deleted is not None:
        require_present(deleted)


def require_present(model: RegisteredModel) -> None:
    """Gone (410) where the model was deleted."""
    if model.deleted_at:
        raise Gone(
            _("“%(model)s” was deleted on %(day)s.")
            % {"model": model, "day": model.deleted_at.date().isoformat()},
            code="deleted",
            fix=_("An auditor can look at what stayed of it."),
        )


def deleted(model: RegisteredModel) -> Gone:
    """Somebody was faster and deleted it."""
    return Gone(_("%(model)s is deleted.") % {"model": model}, code="deleted")


def environment_named(slug: str) -> Environment:
    """The environment of that name; Refused `unknown_environment` (422) when there is none."""
    environment = Environment.objects.filter(slug=slug).first()
    if environment is None:
        known = ", ".join(Environment.objects.values_list("slug", flat=True))
        raise Refused(
            _("There is no environment “%(slug)s”; there are: %(known)s.") % {"slug": slug, "known": known},
            code="unknown_environment",
            status=422,
        )
    return environment


def _current(model: RegisteredModel, environment: str) -> Release:
    release = Release.objects.current(model, environment)
    if release is None:
        environment_named(environment)
        raise NothingServing(
            _("No approved version of “%(model)s” is serving in %(environment)s.")
            % {"model": model, "environment": environment}
        )
    require_present(release.version.model)
    if release.version.state == ModelVersion.State.QUARANTINED:
        raise NothingServing(
            _("%(version)s is quarantined: its answers cannot be relied on, so it gives none.")
            % {"version": release.version},
            fix=_("An operator can roll back to a version that served here before."),
        )
    if not may_answer(release.version):
        raise NothingServing(
            _("%(version)s may not answer any more, and nothing else is released.")
            % {"version": release.version}
        )
    return release
