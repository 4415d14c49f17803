"""Who may call what: a view that names no action opens to nobody."""

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from registry import permissions
from registry.errors import Forbidden
from registry.models import ApiKey, KeyAction, RegisteredModel, Role

#: For the few calls that every valid key may make.
ANY_KEY = "any"


class MayCall(BasePermission):
    """Each view names an action for each method: the key must carry it, and the caller's roles must allow it.

    This is the coarse door, before anything is looked up or read; the verbs decide about the thing itself.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if request.method not in view.allowed_methods:  # ends as 405
            return True
        actions = actions_of(view, str(request.method))
        if ANY_KEY in actions:
            return True
        key = key_of(request)
        carried = [action for action in actions if key is None or key.allows(action)]
        if not carried:
            raise Forbidden(
                _("This key does not carry the action “%(action)s”.") % {"action": "” / “".join(actions)},
                code="key_action_missing",
                fix=_("Use a key with that action."),
            )
        if not any(permissions.can_use_key_action(request.user, action) for action in carried):
            raise _role_missing(request.user, carried)
        return True


def _role_missing(user: Any, actions: list[str]) -> Forbidden:
    if user.is_service and actions == [KeyAction.APPROVE]:
        return Forbidden(_("Only a person may approve, never a service account."), code="service")
    needed = set().union(*(permissions.KEY_NEEDS[action] for action in actions))
    names = ", ".join(f"“{role.label}”" for role in Role if role in needed)
    return Forbidden(
        _("This needs one of these roles: %(names)s.") % {"names": names},
        code="role_missing",
        fix=_("An administrator can give it to you."),
    )


def actions_of(view: Any, method: str) -> tuple[str, ...]:
    """What a call of this method needs: one of these."""
    declared = getattr(view, "key_action", ())
    if isinstance(declared, dict):
        declared = declared.get("GET" if method in ("HEAD", "OPTIONS") else method, ())
    return (declared,) if isinstance(declared, str) else tuple(declared)


def key_of(request: Request) -> ApiKey | None:
    return request.auth if isinstance(request.auth, ApiKey) else None


def visible_models(request: Request) -> QuerySet[RegisteredModel]:
    return models_for(request.user, key_of(request))


def models_for(user: Any, key: ApiKey | None) -> QuerySet[RegisteredModel]:
    """The models that this person may see and that this key is for; everything else does not exist."""
    models = RegisteredModel.objects.visible_to(user)
    if key is not None and not key.all_models:
        return models.filter(pk__in=key.only_models.values("pk"))
    return models
