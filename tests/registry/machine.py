"""The state machine of versions, requests and releases as one table: which act, in which state, by whom.

What the table does not allow must be refused everywhere, leave an event and change nothing. `test_machine.py` tries
all of it on the verbs, `tests/portal/test_machine_doors.py` through page, API, admin and command,
`tests/portal/test_machine_walk.py` at random. A new verb or state that is not listed here fails the tests.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from pkgutil import iter_modules
from types import FunctionType
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone

from registry import actions
from registry.actions import admissions, approvals, catalog, endings, policies, quarantine, releases
from registry.audit import Action
from registry.models import ModelVersion, RegisteredModel, Release, ReleaseRequest, Role, User
from registry.triggers import MARKED
from tests.factories import (
    create_approval,
    create_model,
    create_release,
    create_request,
    create_user,
    create_version,
    create_version_to_review,
)

NAMES = ["numpy.nan_to_num"]
WHY = "because it must be so"
TEAM = "lending"

# --- people ---

#: Name → roles. Whoever has all of them shows that it is not the role alone that decides.
PEOPLE: dict[str, tuple[str, ...]] = {
    "stranger": (),
    "superuser": (),
    **{role.value: (role.value,) for role in Role},
    "outsider": (Role.AUTHOR, Role.BUSINESS, Role.INTEGRATOR),  # of another team
    "maker": tuple(Role.values),  # owns the model and uploaded the version
    "asker": tuple(Role.values),  # asked for the release
    "service": tuple(Role.values),
    "closed": tuple(Role.values),
}


def create_people() -> dict[str, User]:
    team, _made = Group.objects.get_or_create(name=TEAM)
    people = {}
    for name, roles in PEOPLE.items():
        people[name] = create_user(
            email=f"{name}@machine.example.com",
            roles=roles,
            is_service=name == "service",
            is_superuser=name == "superuser",
            is_active=name != "closed",
        )
        if name != "outsider":
            people[name].groups.add(team)
    return people


# --- scenes ---


@dataclass
class World:
    """One model with what a scene put there."""

    people: dict[str, User]
    model: RegisteredModel
    version: ModelVersion
    request: ReleaseRequest | None = None

    @property
    def asked(self) -> ReleaseRequest:
        assert self.request is not None
        return self.request

    def state(self) -> str:
        """Of the request if the scene is about one, else of the version."""
        row: Any = self.request or self.version
        row.refresh_from_db()
        return str(row.state)

    @property
    def serving(self) -> Release | None:
        return Release.objects.current(self.model)


def _world(people: dict[str, User], **fields: Any) -> World:
    maker = people["maker"]
    model = create_model(slug="loans", owners=[maker])
    model.groups.set(Group.objects.filter(name=TEAM))
    make = create_version_to_review if fields.get("state") == "needs_review" else create_version
    if make is create_version_to_review:
        fields.pop("state")
    return World(people, model, make(model=model, uploaded_by=maker, **fields))


def _of_state(state: str) -> Callable[[dict[str, User]], World]:
    return lambda people: _world(people, state=state)


def _archived(state: str) -> Callable[[dict[str, User]], World]:
    return lambda people: _world(people, state=state, archived_at=timezone.now())


def _approved(world: World, version: ModelVersion) -> ReleaseRequest:
    return create_approval(
        version=version, requested_by=world.people["asker"], approver=world.people["approver"]
    )


def _release(world: World, version: ModelVersion) -> None:
    create_release(version=version, request=_approved(world, version), released_by=world.people["operator"])


def _serving(people: dict[str, User]) -> World:
    world = _world(people)
    _release(world, world.version)
    return world


def _asked(people: dict[str, User], **fields: Any) -> World:
    world = _world(people)
    world.request = create_request(version=world.version, requested_by=people["asker"], **fields)
    return world


def _asked_of(state: str) -> Callable[[dict[str, User]], World]:
    return lambda people: _asked(people, state=state)


def _version_of_asked(people: dict[str, User]) -> World:
    world = _asked(people)
    world.request = None
    return world


def _barred(state: str) -> Callable[[dict[str, User]], World]:
    """A request for a version that may not answer any more."""

    def make(people: dict[str, User]) -> World:
        world = _asked(people)
        ModelVersion.objects.filter(pk=world.version.pk).update(state=state)
        return world

    return make


def _due(people: dict[str, User]) -> World:
    return _asked(people, expires_at=timezone.now() - timedelta(seconds=1))


def _moved(people: dict[str, User]) -> World:
    """Something else was released since somebody asked."""
    world = _asked(people)
    create_release(version=create_version(model=world.model))
    return world


def _released(people: dict[str, User]) -> World:
    world = _world(people)
    world.request = _approved(world, world.version)
    create_release(version=world.version, request=world.request, released_by=people["operator"])
    return world


def _approved_only(people: dict[str, User], **changes: Any) -> World:
    world = _world(people)
    request = _approved(world, world.version)
    ReleaseRequest.objects.filter(pk=request.pk).update(**changes or {"mode": "full"})
    return world


def _approval_over(people: dict[str, User]) -> World:
    return _approved_only(people, expires_at=timezone.now() - timedelta(seconds=1))


def _approval_moved(people: dict[str, User]) -> World:
    world = _approved_only(people)
    create_release(version=create_version(model=world.model))
    return world


def _approved_and_barred(state: str) -> Callable[[dict[str, User]], World]:
    def make(people: dict[str, User]) -> World:
        world = _approved_only(people)
        ModelVersion.objects.filter(pk=world.version.pk).update(state=state)
        return world

    return make


def _replaced(people: dict[str, User]) -> World:
    """The version answered, then another one took over."""
    world = _serving(people)
    _release(world, create_version(model=world.model, uploaded_by=people["maker"]))
    return world


def _replaced_and_barred(state: str) -> Callable[[dict[str, User]], World]:
    def make(people: dict[str, User]) -> World:
        world = _replaced(people)
        ModelVersion.objects.filter(pk=world.version.pk).update(state=state)
        return world

    return make


def _frozen(people: dict[str, User]) -> World:
    """Somebody rolled back to the first version; a third one is approved for what serves now."""
    world = _replaced(people)
    releases.roll_back(world.model, reason=WHY, to=1, actor=people["operator"])
    world.version = create_version(model=world.model, uploaded_by=people["maker"])
    _approved(world, world.version)
    return world


def _silent(people: dict[str, User]) -> World:
    """What was released last is in quarantine: nothing answers."""
    world = _serving(people)
    ModelVersion.objects.filter(pk=world.version.pk).update(state="quarantined")
    return world


def deleted(scene: Callable[[dict[str, User]], World]) -> Callable[[dict[str, User]], World]:
    """The same, of a model that was deleted since."""

    def make(people: dict[str, User]) -> World:
        world = scene(people)
        RegisteredModel.objects.filter(pk=world.model.pk).update(deleted_at=timezone.now())
        world.model.refresh_from_db()
        world.version.model.refresh_from_db()
        if world.request is not None:
            world.request.version.model.refresh_from_db()
        return world

    return make


Scenes = dict[str, Callable[[dict[str, User]], World]]

VERSION: Scenes = {
    **{state.value: _of_state(state.value) for state in ModelVersion.State},
    "asked": _version_of_asked,
    "serving": _serving,
    "serving_quarantined": _silent,
    "archived_retired": _archived("retired"),
    "archived_checks_failed": _archived("checks_failed"),
    "archived_quarantined": _archived("quarantined"),
}
REQUEST: Scenes = {
    **{state.value: _asked_of(state.value) for state in ReleaseRequest.State},
    "due": _due,
    "moved": _moved,
    "released": _released,
    "of_retired": _barred("retired"),
    "of_quarantined": _barred("quarantined"),
}
PLACE: Scenes = {
    "empty": _of_state("checked"),
    "asked": _version_of_asked,
    "approved": _approved_only,
    "approval_over": _approval_over,
    "approval_moved": _approval_moved,
    "approved_retired": _approved_and_barred("retired"),
    "approved_quarantined": _approved_and_barred("quarantined"),
    "serving": _serving,
    "silent": _silent,
    "replaced": _replaced,
    "replaced_retired": _replaced_and_barred("retired"),
    "replaced_quarantined": _replaced_and_barred("quarantined"),
    "frozen": _frozen,
}


# --- acts ---


@dataclass(frozen=True)
class Act:
    """One verb: who may, and in which scenes, with the state that the subject has afterwards."""

    name: str
    verb: Callable[..., Any]
    action: Action  # as it is written down, done or refused
    scenes: Scenes
    allowed: Mapping[str, str]
    who: frozenset[str]
    call: Callable[[World, Any], Any]
    #: Scenes in which even the refusal moves the subject on, because its time is over or it is about something else.
    settles: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @property
    def home(self) -> str:
        """A scene in which it is allowed."""
        return next(iter(self.allowed))


def _who(names: str) -> frozenset[str]:
    return frozenset(names.split())


AUTHORS = _who("author maker asker service")
OPERATORS = _who("operator maker asker service")
OTHER_APPROVERS = _who("approver asker")  # of a version: the maker is none
DECIDERS = _who("approver")  # of a request: neither its maker nor its asker
OVER = {"due": "expired", "moved": "stale", "of_retired": "stale"}


def _state_in(scene: str) -> str:
    ended = ("retired", "quarantined")
    return "quarantined" if scene == "silent" else next((name for name in ended if name in scene), "checked")


ACTS = [
    Act(
        "edit_draft",
        catalog.edit_draft,
        Action.VERSION_EDITED,
        VERSION,
        {"draft": "draft", "checks_failed": "draft"},
        _who("maker"),
        lambda world, actor: catalog.edit_draft(world.version, card="Other words", actor=actor),
    ),
    Act(
        "start_checks",
        catalog.start_checks,
        Action.VERSION_CHECKING,
        VERSION,
        {"draft": "checking", "checks_failed": "checking"},
        AUTHORS,
        lambda world, actor: catalog.start_checks(world.version, actor=actor),
    ),
    Act(
        "admit",
        admissions.admit,
        Action.VERSION_ADMITTED,
        VERSION,
        {"needs_review": "checking"},
        OTHER_APPROVERS,
        lambda world, actor: admissions.admit(world.version, names=NAMES, comment=WHY, actor=actor),
    ),
    Act(
        "refuse",
        admissions.refuse,
        Action.VERSION_NOT_ADMITTED,
        VERSION,
        {"needs_review": "checks_failed"},
        OTHER_APPROVERS,
        lambda world, actor: admissions.refuse(world.version, comment=WHY, actor=actor),
    ),
    Act(
        "retire",
        catalog.retire,
        Action.VERSION_RETIRED,
        VERSION,
        dict.fromkeys(
            "draft needs_review checks_failed checked quarantined asked"
            " archived_checks_failed archived_quarantined".split(),
            "retired",
        ),
        OPERATORS,
        lambda world, actor: catalog.retire(world.version, reason=WHY, actor=actor),
    ),
    Act(
        "archive",
        endings.archive,
        Action.VERSION_ARCHIVED,
        VERSION,
        {name: name for name in ("retired", "checks_failed", "quarantined")},
        OPERATORS,
        lambda world, actor: endings.archive(world.version, reason=WHY, actor=actor),
    ),
    Act(
        "unarchive",
        endings.unarchive,
        Action.VERSION_UNARCHIVED,
        VERSION,
        {f"archived_{name}": name for name in ("retired", "checks_failed", "quarantined")},
        OPERATORS,
        lambda world, actor: endings.unarchive(world.version, reason=WHY, actor=actor),
    ),
    Act(
        "lift_quarantine",
        quarantine.lift_quarantine,
        Action.VERSION_QUARANTINE_LIFTED,
        VERSION,
        {"quarantined": "checked", "serving_quarantined": "checked"},
        OTHER_APPROVERS,
        lambda world, actor: quarantine.lift_quarantine(world.version, reason=WHY, actor=actor),
    ),
    Act(
        "ask",
        approvals.ask,
        Action.REQUEST_MADE,
        VERSION,
        {"checked": "checked", "serving": "checked"},
        AUTHORS,
        lambda world, actor: approvals.ask(world.version, reason=WHY, actor=actor),
    ),
    Act(
        "approve",
        approvals.approve,
        Action.REQUEST_APPROVED,
        REQUEST,
        {"waiting": "approved"},
        DECIDERS,
        lambda world, actor: approvals.approve(world.asked, comment=WHY, actor=actor),
        settles=OVER,
    ),
    Act(
        "reject",
        approvals.reject,
        Action.REQUEST_REJECTED,
        REQUEST,
        {"waiting": "rejected", "of_quarantined": "rejected"},
        DECIDERS,
        lambda world, actor: approvals.reject(world.asked, comment=WHY, actor=actor),
        settles=OVER,
    ),
    Act(
        "ask_changes",
        approvals.ask_changes,
        Action.REQUEST_CHANGES_ASKED,
        REQUEST,
        {"waiting": "changes_asked", "of_quarantined": "changes_asked"},
        DECIDERS,
        lambda world, actor: approvals.ask_changes(world.asked, comment=WHY, actor=actor),
        settles=OVER,
    ),
    Act(
        "withdraw",
        approvals.withdraw,
        Action.REQUEST_WITHDRAWN,
        REQUEST,
        dict.fromkeys(["waiting", "due", "moved", "of_retired", "of_quarantined"], "withdrawn"),
        _who("asker"),
        lambda world, actor: approvals.withdraw(world.asked, actor=actor),
    ),
    Act(
        "release",
        releases.release,
        Action.RELEASE_MADE,
        PLACE,
        {"approved": "checked"},
        OPERATORS,
        lambda world, actor: releases.release(world.model, version=world.version, reason=WHY, actor=actor),
    ),
    Act(
        "roll_back",
        releases.roll_back,
        Action.RELEASE_ROLLED_BACK,
        PLACE,
        {"replaced": "checked"},
        OPERATORS,
        lambda world, actor: releases.roll_back(
            world.model, to=world.version.number, reason=WHY, actor=actor
        ),
    ),
    Act(
        "unfreeze",
        releases.unfreeze,
        Action.FREEZE_LIFTED,
        PLACE,
        {"frozen": "checked"},
        OPERATORS,
        lambda world, actor: releases.unfreeze(world.model, reason=WHY, actor=actor),
    ),
    Act(
        "delete_model",
        endings.delete_model,
        Action.MODEL_DELETED,
        PLACE,
        {name: _state_in(name) for name in PLACE},
        _who("maker asker service admin"),
        lambda world, actor: endings.delete_model(world.model, reason=WHY, confirm="loans", actor=actor),
    ),
    Act(
        "change_policy",
        policies.change_policy,
        Action.MODEL_POLICY_CHANGED,
        PLACE,
        {name: _state_in(name) for name in PLACE},
        _who("maker asker service admin"),
        lambda world, actor: policies.change_policy(
            world.model, {"extra_approval_for_pickle": True}, actor=actor
        ),
    ),
]
BY_NAME = {act.name: act for act in ACTS}

#: Public functions of `registry.actions` that move nothing by a person's word, or nothing of this machine.
NO_ACTS = {
    "admissions": "",
    "approvals": "approvers_of binding close_with_model expire_due lock_open require_full settle settle_all",
    "endings": "serving",
    "keys": "create_key revoke_key rotate_key",
    "people": "has_second_factor invite one_time_link remove_second_factor set_active set_groups set_roles",
    "policies": "",
    "quarantine": "quarantine",
    "releases": "approved_request names open_freeze rollback_preview",
    "catalog": "add_dataset begin_checks change_model create_model finish_checks require_listed serving_in"
    " upload_version",
}


def verbs() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function that `registry.actions` defines, with its module."""
    for found in iter_modules(actions.__path__):
        if found.name.startswith("_"):
            continue
        module = import_module(f"{actions.__name__}.{found.name}")
        for name, one in inspect.getmembers(module):
            is_own = isinstance(one, FunctionType) and one.__module__ == module.__name__
            if is_own and not name.startswith("_"):
                yield found.name, one


# --- the record ---

#: What a look or a refusal may change; so may the columns that say when a session or a key was used last.
UNCOUNTED = frozenset({"registry_auditevent", "registry_audithead", "registry_idempotencyrecord"})


def digest(*, but: str = "") -> str:
    """One word for all rows of the registry, except the audit log (and one table)."""
    found = hashlib.sha256()
    for model in apps.get_app_config("registry").get_models(include_auto_created=True):
        table = model._meta.db_table
        if table in UNCOUNTED or table == but:
            continue
        used = MARKED.get(table)
        columns = ", ".join(str(one.column) for one in model._meta.concrete_fields if one.column != used)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1")
            found.update(json.dumps([table, cursor.fetchall()], default=str).encode())
    return found.hexdigest()
