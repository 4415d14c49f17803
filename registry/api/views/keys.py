"""Keys: made, rotated and revoked. A key may only touch keys that can do no more than itself.

Nor does a key live on through its likes: what it makes ends when it ends, and it rotates nothing but itself.
"""

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from registry import permissions
from registry.actions import keys
from registry.api.access import ANY_KEY, key_of
from registry.api.base import Endpoint
from registry.api.bodies import KeyBody, RotateBody
from registry.api.serializers import KeySerializer, NewKeySerializer
from registry.audit import Action
from registry.errors import Forbidden
from registry.models import ApiKey, KeyAction, RegisteredModel, User


class Keys(Endpoint):
    serializer_class = KeySerializer

    def rows(self) -> QuerySet[ApiKey]:
        """Your own; those of service accounts for who looks after them; all for administrators."""
        rows = (
            ApiKey.objects.select_related("user")
            .prefetch_related("only_models")
            .order_by("-created_at", "-pk")
        )
        if permissions.can_manage_people(self.actor):
            return rows
        mine = Q(user=self.actor)
        return rows.filter(
            mine | Q(user__is_service=True) if permissions.can_own_service_keys(self.actor) else mine
        )

    def get_key(self) -> ApiKey:
        found = self.about(get_object_or_404(self.rows(), pk=self.kwargs["pk"]))
        self.require_within(
            found.actions, None if found.all_models else list(found.only_models.all()), found.user, found.rate
        )
        return found

    def require_within(
        self, actions: list[str], models: list[RegisteredModel] | None, owner: User, rate: int | None
    ) -> None:
        """What a key could not do itself, it must not do through a key that it makes or takes over."""
        key = key_of(self.request)
        if key is None:
            return
        known = set(actions) & set(KeyAction.values)  # the verb names the others
        is_wider = not known <= set(key.actions) or owner != key.user
        if key.rate is not None:
            is_wider = is_wider or rate is None or rate > key.rate
        if not key.all_models:
            own = set(key.only_models.values_list("pk", flat=True))
            is_wider = is_wider or models is None or not {model.pk for model in models} <= own
        if is_wider:
            raise Forbidden(
                _("This key may not make or change a key that can do more than itself."),
                code="key_wider_than_yours",
                fix=_("Sign in and do it there, or ask for fewer actions."),
            )

    def own_end(self) -> datetime | None:
        """When the key of this call ends; a person who is signed in has no end."""
        key = key_of(self.request)
        return key.expires_at if key else None

    def require_itself(self, found: ApiKey) -> None:
        key = key_of(self.request)
        if key is not None and key != found:
            raise Forbidden(
                _("A key may rotate no key but itself."),
                code="not_this_key",
                fix=_("Sign in and do it there, or call with the key that is to be rotated."),
            )

    def tell_secret(self, key: ApiKey, secret: str) -> Response:
        key.secret = secret  # type: ignore[attr-defined]
        return Response(NewKeySerializer(key).data, status=201)


class KeyList(Keys, ListAPIView):
    """Keys that you may manage, newest first. Secrets are never shown again."""

    key_action = {"GET": "read", "POST": ANY_KEY}
    attempts = {"POST": Action.KEY_CREATED}
    shown_once = frozenset({"secret"})

    @extend_schema(request=KeyBody, responses={201: NewKeySerializer})
    def post(self, request: Request) -> Response:
        """Make a key. Its secret is in this answer and nowhere else. Made by a key, it ends no later than that one."""
        body: dict[str, Any] = self.read(KeyBody, models=self.models())
        owner = _owner(body.pop("owner", ""), self.actor)
        models = body.pop("models", None)
        self.require_within(body["actions"], models, owner, body.get("rate"))
        made = keys.create_key(owner=owner, models=models, **body, not_after=self.own_end(), actor=self.actor)
        return self.tell_secret(*made)


class KeyRotate(Keys):
    key_action = ANY_KEY
    attempts = {"POST": Action.KEY_ROTATED}
    shown_once = frozenset({"secret"})

    @extend_schema(request=RotateBody, responses={201: NewKeySerializer})
    def post(self, request: Request, pk: int) -> Response:
        """A new key with the same rights; the old one ends at once or after some hours.

        A key rotates only itself, and its successor ends when it would have ended.
        """
        key = self.get_key()
        self.require_itself(key)
        body = self.read(RotateBody)
        self.require_within([], [], key.user, body.get("rate", key.rate))
        return self.tell_secret(*keys.rotate_key(key, **body, not_after=self.own_end(), actor=self.actor))


class KeyRevoke(Keys):
    key_action = ANY_KEY
    attempts = {"POST": Action.KEY_REVOKED}

    @extend_schema(request=None, responses=KeySerializer)
    def post(self, request: Request, pk: int) -> Response:
        """From now on this key opens nothing."""
        key = self.get_key()
        keys.revoke_key(key, actor=self.actor)
        key.refresh_from_db()
        return self.answer(key)


def _owner(address: str, actor: User) -> User:
    if not address or address.lower() == actor.email:
        return actor
    owner = User.objects.filter(email=address.lower(), is_service=True).first()
    if owner is None:
        raise serializers.ValidationError(
            {"owner": [serializers.ErrorDetail(_("There is no such service account."), code="unknown_owner")]}
        )
    return owner
