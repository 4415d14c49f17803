"""Notices: what happened, in one sentence with one link, to the few whom it concerns."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import ngettext

from monitoring.models import Incident
from portal.models import Notice
from registry.models import ApiKey, RegisteredModel, Role, User

READ_DAYS = 30
#: A key's owner is told when so many days are left.
KEY_DAYS = (14, 3, 0)

SENTENCES = {
    "batch_finished": lazy("%(file)s is scored: %(scored)s rows, %(invalid)s skipped."),
    "batch_failed": lazy("%(file)s could not be scored."),
    "approval_asked": lazy("%(who)s asks to serve %(version)s in %(environment)s."),
    "request_approved": lazy("%(version)s is approved for %(environment)s."),
    "request_rejected": lazy("%(version)s was rejected for %(environment)s."),
    "request_changes_asked": lazy("An approver asks for changes to %(version)s."),
    "released": lazy("%(who)s released %(version)s to %(environment)s."),
    "rolled_back": lazy("%(who)s rolled back to %(version)s in %(environment)s."),
    "auto_rolled_back": lazy("%(environment)s went back to %(version)s by itself."),
    "incident_opened": lazy("%(model)s: %(incident)s."),
    "incident_resolved": lazy("%(model)s: %(incident)s is resolved."),
    "problem_reported": lazy("%(who)s reports a problem with a prediction of %(model)s."),
    "key_ended": lazy("The key %(key)s has ended."),
    "person_link": lazy(
        "%(who)s made a link with which your password can be set. Not for you? Tell an administrator."
    ),
    "person_factor": lazy("%(who)s removed your second factor. Set it up again."),
}
ICONS = {
    "batch": "file-spreadsheet",
    "approval": "checklist",
    "request": "checklist",
    "released": "rocket",
    "rolled": "arrow-back-up",
    "auto": "arrow-back-up",
    "incident": "alert-triangle",
    "key": "key",
    "person": "key",
    "problem": "alert-circle",
}


def sentence(kind: str, names: dict[str, Any]) -> str:
    """What a notice says, in the language of this moment."""
    if kind == "key_ends":
        days = int(names["days"])
        text = ngettext(
            "The key %(key)s ends in %(days)s day.", "The key %(key)s ends in %(days)s days.", days
        )
        return text % names
    if "incident" in names:
        kinds = dict(Incident.Kind.choices)
        names = {**names, "incident": kinds.get(names["incident"], names["incident"])}
    return str(SENTENCES[kind]) % names


def icon_of(kind: str) -> str:
    return ICONS.get(kind.partition("_")[0], "bell")


def tell(
    people: Iterable[User],
    kind: str,
    *,
    url: str,
    about: str,
    once: str,
    at: datetime | None = None,
    **names: Any,
) -> None:
    """Tell each of `people` once; whoever is told already, has no account any more or is no person is left out."""
    Notice.objects.bulk_create(
        [
            Notice(
                user=user,
                kind=kind,
                names=names,
                url=url[:300],
                about=about,
                once=f"{kind}:{once}",
                at=at or timezone.now(),
            )
            for user in {user.pk: user for user in people}.values()
            if user.is_active and not user.is_service
        ],
        ignore_conflicts=True,
    )


def with_roles(*roles: str) -> QuerySet[User]:
    return User.objects.filter(grants__role__in=roles, is_active=True).distinct()


def keepers_of(model: RegisteredModel, *roles: str) -> list[User]:
    """The owners of a model, and everybody with one of these roles."""
    return [*model.owners.all(), *with_roles(*roles)]


def tick() -> None:
    """Keys that end soon, and notices that were read long ago."""
    for days in KEY_DAYS:
        _tell_of_keys(days)
    Notice.objects.filter(read_at__lt=timezone.now() - timedelta(days=READ_DAYS)).delete()


def _tell_of_keys(days: int) -> None:
    """Those with at most `days` left and more than the next number; of the ended ones, those of the last week.

    A key that was made for no longer than `days` ends as its owner wished, and needs no word.
    """
    now = timezone.now()
    nearer = max((other for other in KEY_DAYS if other < days), default=-7)
    due = ApiKey.objects.filter(
        revoked_at=None,
        user__is_active=True,
        expires_at__gt=now + timedelta(days=nearer),
        expires_at__lte=now + timedelta(days=days),
    ).select_related("user")
    for key in due:
        if key.expires_at - key.created_at > timedelta(days=days):
            _tell_of_key(key, days, -(-(key.expires_at - now) // timedelta(days=1)))


def _tell_of_key(key: ApiKey, days: int, left: int) -> None:
    people = with_roles(Role.INTEGRATOR) if key.user.is_service else [key.user]
    tell(
        people,
        "key_ends" if days else "key_ended",
        url=reverse("key-list"),
        about=key.prefix,
        once=f"{key.pk}:{days}",
        key=key.name,
        days=left,
    )
