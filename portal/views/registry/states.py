"""The one word that a page says about a version, and the one next step."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from registry import permissions
from registry.models import PRODUCTION, ModelVersion, RegisteredModel, Release, ReleaseRequest, Role, User

_REQUEST_WORDS = {
    ReleaseRequest.State.WAITING: "waiting_for_approval",
    ReleaseRequest.State.APPROVED: "approved",
    ReleaseRequest.State.REJECTED: "rejected",
    ReleaseRequest.State.CHANGES_ASKED: "changes_asked",
    ReleaseRequest.State.STALE: "stale",
}


def words_of(versions: Iterable[ModelVersion]) -> dict[int, str]:
    """The state word of each version, in three queries for a whole list."""
    versions = list(versions)
    ids = [version.pk for version in versions]
    models = {version.model_id for version in versions}
    serving, rolled_back, served = _by_releases(models)
    asked = dict(
        ReleaseRequest.objects.filter(version__in=ids)
        .order_by("requested_at")
        .values_list("version_id", "state")
    )
    words = {}
    for version in versions:
        if version.state != ModelVersion.State.CHECKED:
            words[version.pk] = version.state
        elif version.pk in serving:
            words[version.pk] = "serving" if serving[version.pk] == PRODUCTION else "serving_elsewhere"
        elif version.pk in rolled_back:
            words[version.pk] = "rolled_back"
        elif asked.get(version.pk) in (ReleaseRequest.State.STALE, None) and version.pk in served:
            words[version.pk] = "approved"
        else:
            words[version.pk] = _REQUEST_WORDS.get(
                ReleaseRequest.State(asked.get(version.pk, "withdrawn")), "checked"
            )
    return words


def word_of(version: ModelVersion) -> str:
    return words_of([version])[version.pk]


def _by_releases(models: set[int]) -> tuple[dict[int, str], set[int], set[int]]:
    """Version ids that serve now (and where), that a rollback replaced, and that ever served."""
    releases = (
        Release.objects.filter(model__in=models)
        .order_by("model_id", "environment_id", "number")
        .values_list("model_id", "environment__slug", "version_id", "kind")
    )
    current: dict[tuple[int, str], int] = {}
    rolled_back: set[int] = set()
    served: set[int] = set()
    for model_id, environment, version_id, kind in releases:
        before = current.get((model_id, environment))
        if kind != Release.Kind.RELEASE and before and before != version_id:
            rolled_back.add(before)
        rolled_back.discard(version_id)
        current[model_id, environment] = version_id
        served.add(version_id)
    serving: dict[int, str] = {}
    for (_model, environment), version_id in current.items():
        if serving.get(version_id) != PRODUCTION:
            serving[version_id] = environment
    return serving, rolled_back, served


@dataclass(frozen=True)
class Step:
    """What should happen next with a version: a sentence, and a button if this person may do it."""

    text: str
    label: str = ""
    url: str = ""
    is_post: bool = False
    why_not: str = ""


#: What is said of a version where nobody has to do anything.
_SAID = {
    "checking": lazy("The checks are running; this page follows them."),
    "serving": lazy("Serving: it answers every request in production."),
    "quarantined": lazy(
        "Quarantined: its answers cannot be relied on, so it gives none. The alert says why."
    ),
    "retired": lazy("Retired. It stays in the record."),
}
#: Why approval is to be asked for, by state word.
_TO_ASK = {
    "checked": lazy("Checked. Ask for approval, so that it may answer."),
    "rejected": lazy("Rejected. Read why, then ask again or upload a better version."),
    "changes_asked": lazy("An approver asked for changes. Answer them, then ask again."),
    "stale": lazy("What it was compared with has changed. Ask again."),
}


def next_step(version: ModelVersion, word: str, user: User) -> Step:
    """The one next step of a version, for this person."""
    if word in ("draft", "checks_failed") or word in _TO_ASK:
        return _author_step(version, word, user)
    if word == "waiting_for_approval":
        request = version.requests.waiting().first()
        url = request.get_absolute_url() if request else reverse("approval-list")
        return Step(_("Waiting for an approver who is not its author."), _("Open the request"), url)
    if word == "needs_review":
        count = len(version.unknown_names)
        text = _("Nothing of it is loaded until an approver has looked at %(count)d names.") % {
            "count": count
        }
        if not count:
            text = _("Made with other versions than ours: an approver decides whether that may be.")
        step = Step(
            text,
            _("Look at the names") if count else _("Look at the difference"),
            f"{version.get_absolute_url()}#review",
        )
        may = permissions.can_admit(user, version)
        return step if may else _needs(step, _("An approver who did not upload it goes on from here."))
    if word in ("approved", "serving_elsewhere"):
        url = reverse("version-release", args=[version.model.slug, version.number])
        step = Step(_("Approved. An operator can release it."), _("Release…"), url)
        may = permissions.can_release(user, version.model)
        return step if may else _needs(step, _("An operator releases it."))
    if word == "rolled_back":
        url = reverse("release-list", args=[version.model.slug])
        return Step(_("Rolled back. It can be brought back from the releases page."), _("Releases"), url)
    return Step(str(_SAID.get(word, _SAID["retired"])))


def _author_step(version: ModelVersion, word: str, user: User) -> Step:
    place = [version.model.slug, version.number]
    is_author = permissions.has_role(user, Role.AUTHOR)
    if word == "draft":
        text = _("Review the schema, then start the checks.")
        step = Step(text, _("Review the schema"), reverse("version-edit", args=place))
        may = permissions.can_edit_draft(user, version)
        return step if may else _needs(step, _("Its uploader goes on from here."))
    if word == "checks_failed":
        if permissions.can_edit_draft(user, version):
            text = _("Read the failed check. Correct the schema, the figures or the card, then check again.")
            return Step(text, _("Correct its papers"), reverse("version-edit", args=place))
        text = _("Read the failed check and mend the file, then check again or upload a new version.")
        step = Step(text, _("Check again"), reverse("version-check", args=place), is_post=True)
        return step if is_author else _needs(step, _("A data scientist goes on from here."))
    step = Step(str(_TO_ASK[word]), _("Ask for approval"), reverse("version-request", args=place))
    return step if is_author else _needs(step, _("A data scientist asks for approval."))


def _needs(step: Step, why: str) -> Step:
    return Step(step.text, why_not=why)


def latest_words(model: RegisteredModel) -> dict[int, str]:
    return words_of(model.versions.all())
