"""What a key opens: its actions and its models. A view that names no action opens to no key."""

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from registry import permissions
from registry.errors import Forbidden
from registry.models import ApiKey, RegisteredModel

#: For the few calls that every valid key may make.
ANY_KEY = "any"


class KeyAllows(BasePermission):
    """The key that was shown must carry the action that the view declares for this method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        key = key_of(request)
        if key is None or request.method not in view.allowed_methods:  # the latter ends as 405
            return True
        actions = actions_of(view, str(request.method))
        if ANY_KEY in actions:
            return True
        carried = [action for action in actions if key.allows(action)]
        if not carried:
            raise Forbidden(
                _("This key does not carry the action “%(action)s”.") % {"action": "” / “".join(actions)},
                code="key_action_missing",
                fix=_("Use a key with that action."),
            )
        if not any(permissions.can_use_key_action(request.user, action) for action in carried):
            raise Forbidden(
                _("The owner of this key has no role that allows “%(action)s”.") % {"action": carried[0]},
                code="key_owner_role_missing",
                fix=_("An administrator can give them the role."),
            )
        return True


def actions_of(view: Any, method: str) -> tuple[str, ...]:
    """What a key needs for this method of the view: one of these."""
    declared = getattr(view, "key_action", ())
    if isinstance(declared, dict):
        declared = declared.get("GET" if method in ("HEAD", "OPTIONS") else method, ())
    return (declared,) if isinstance(declared, str) else tuple(declared)


def key_of(request: Request) -> ApiKey | None:
    return request.auth if isinstance(request.auth, ApiKey) else None


def visible_models(request: Request) -> QuerySet[RegisteredModel]:
    """The models that this person may see and that this key is for; everything else does not exist."""
    models = RegisteredModel.objects.visible_to(request.user)
    key = key_of(request)
    if key is not None and not key.all_models:
        return models.filter(pk__in=key.only_models.values("pk"))
    return models
