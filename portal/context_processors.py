"""What every page needs: the navigation that this person has, and the names of things."""

from typing import NamedTuple, cast

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise, SimpleLazyObject
from django.utils.translation import gettext_lazy as _

from monitoring.models import Incident
from portal.models import Notice
from registry.models import ModelVersion, ReleaseRequest, Role, User


class Item(NamedTuple):
    title: str | Promise
    icon: str
    name: str
    roles: frozenset[str] | None = None  # None: everybody


class Link(NamedTuple):
    title: str | Promise
    icon: str
    url: str
    current: bool
    waiting: int


class Group(NamedTuple):
    title: str | Promise
    links: list[Link]


_BUILDERS = frozenset({Role.AUTHOR, Role.APPROVER, Role.OPERATOR, Role.AUDITOR, Role.ADMIN})
_WATCHERS = _BUILDERS | {Role.INTEGRATOR}
_PREDICTORS = frozenset(
    {Role.BUSINESS, Role.AUTHOR, Role.APPROVER, Role.OPERATOR, Role.INTEGRATOR, Role.ADMIN}
)

NAVIGATION: list[tuple[str | Promise, list[Item]]] = [
    ("", [Item(_("Home"), "home", "home")]),
    (
        _("Predict"),
        [
            Item(_("Models"), "box", "model-list"),
            Item(_("Batch jobs"), "file-spreadsheet", "batch-list", _PREDICTORS | {Role.AUDITOR}),
            Item(_("My history"), "history", "history", _PREDICTORS),
        ],
    ),
    (
        _("Build"),
        [
            Item(_("Versions"), "versions", "version-index", _BUILDERS),
            Item(_("Compare"), "git-compare", "compare-index", _BUILDERS),
            Item(_("Upload a version"), "upload", "version-upload-index", frozenset({Role.AUTHOR})),
        ],
    ),
    (
        _("Govern"),
        [
            Item(_("Approvals"), "checklist", "approval-list", _BUILDERS),
            Item(_("Audit log"), "file-text", "audit-log"),
        ],
    ),
    (
        _("Operate"),
        [
            Item(_("Health"), "activity-heartbeat", "fleet", _WATCHERS),
            Item(_("Drift"), "chart-line", "drift-fleet", _WATCHERS),
            Item(_("Alerts"), "alert-triangle", "alert-list", _WATCHERS),
            Item(_("Releases"), "rocket", "release-index", _BUILDERS),
        ],
    ),
    (
        _("Develop"),
        [
            Item(_("API keys"), "key", "key-list"),
            Item(_("API docs"), "api", "api-docs"),
            Item(_("Request log"), "history", "request-log"),
        ],
    ),
    (
        _("Admin"),
        [
            Item(_("Users and roles"), "users", "people", frozenset({Role.ADMIN, Role.AUDITOR})),
            Item(
                _("System check"),
                "heartbeat",
                "system-check",
                frozenset({Role.ADMIN, Role.OPERATOR, Role.AUDITOR}),
            ),
            Item(_("Admin site"), "settings", "admin:index", frozenset({Role.ADMIN, Role.APPROVER})),
        ],
    ),
]


#: Pages whose name does not say which list they belong to.
_PARTS_OF = {
    "dataset-list": "model-list",
    "compare": "compare-index",
    "predict": "model-list",
    "batch-new": "batch-list",
    "prediction": "history",
    "health": "fleet",
    "drift": "drift-fleet",
    "incident": "alert-list",
    "roll-back": "release-index",
    "usage": "request-log",
    "person": "people",
    "person-invite": "people",
    "person-link": "people",
}


def navigation_for(request: HttpRequest) -> list[Group]:
    """Only what this person has; a group with nothing in it does not appear."""
    roles: frozenset[str] = getattr(request.user, "roles", frozenset())
    groups = []
    for title, items in NAVIGATION:
        links = [_link(request, item) for item in items if item.roles is None or item.roles & roles]
        if links:
            groups.append(Group(title, links))
    return groups


def _link(request: HttpRequest, item: Item) -> Link:
    match = request.resolver_match
    current = match is not None and (match.view_name == item.name or _belongs(match.view_name, item.name))
    return Link(item.title, item.icon, reverse(item.name), current, _count(request, item.name))


def _belongs(view_name: str, item_name: str) -> bool:
    """A page about one thing lights the list that it comes from."""
    if view_name in _PARTS_OF:
        return _PARTS_OF[view_name] == item_name
    subject = item_name.removesuffix("-list").removesuffix("-index").removesuffix("-log")
    return view_name.startswith(f"{subject}-") and not view_name.startswith("version-upload")


def _count(request: HttpRequest, name: str) -> int:
    """Requests, files to look at and incidents that wait for this very person."""
    user = cast(User, request.user)
    if name == "alert-list":
        return Incident.objects.for_handler(user).count()
    if name != "approval-list" or Role.APPROVER not in user.roles:
        return 0
    waiting = ReleaseRequest.objects.visible_to(user).waiting().exclude(decisions__decided_by=user)
    held = ModelVersion.objects.visible_to(user).awaiting_review().exclude(uploaded_by=user)
    return waiting.exclude(requested_by=user).exclude(version__uploaded_by=user).count() + held.count()


def _unread(user: User) -> str:
    """How many, as the bell says it; nothing for none."""
    count = Notice.objects.of(user).unread()[:100].count()
    return "99+" if count > 99 else str(count or "")


def portal(request: HttpRequest) -> dict[str, object]:
    context: dict[str, object] = {
        "site_name": settings.SITE_NAME,
        "LANGUAGE_CHOICES": settings.LANGUAGES,
        "jail_is_lowered": settings.MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX,
    }
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        # Lazy: fragments and files that show no sidebar pay nothing for it.
        context["navigation"] = SimpleLazyObject(lambda: navigation_for(request))
        context["unread_notices"] = SimpleLazyObject(lambda: _unread(user))
        context["role_names"] = SimpleLazyObject(lambda: [Role(role).label for role in sorted(user.roles)])
    return context
