"""The first call that a new key may make: shown with the key, so it must be one that this key's actions allow."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal import answers
from registry import permissions
from registry.models import PRODUCTION, ApiKey, KeyAction, ModelVersion, RegisteredModel, Release

#: What can be looked at with a key that neither predicts nor reads, by its action.
_LOOKS = {KeyAction.BATCH: "batches/", KeyAction.MONITOR: "incidents/", KeyAction.AUDIT: "audit/"}


@dataclass(frozen=True)
class FirstCall:
    """A line for a terminal; `model` where it is about one, and whether that one answers now."""

    text: str
    model: RegisteredModel | None = None
    is_serving: bool = True


def first_call(key: ApiKey, host: str) -> FirstCall | None:
    """A prediction where the key may ask for one, else something to look at; None where it may do neither."""
    models = RegisteredModel.objects.visible_to(key.user)
    if not key.all_models:
        models = models.filter(pk__in=key.only_models.values("pk"))
    actions = [action for action in key.actions if permissions.can_use_key_action(key.user, action)]
    model, version, is_serving = _to_ask(models)
    if model and KeyAction.PREDICT in actions and (is_serving or KeyAction.READ not in actions):
        address = f"{host}/api/v1/models/{model.slug}/predict/"
        return FirstCall(answers.curl(address, _example(version)), model, is_serving)
    if model and KeyAction.READ in actions:
        return FirstCall(_look(f"{host}/api/v1/models/{model.slug}/"), model)
    if KeyAction.READ in actions:
        return FirstCall(_look(f"{host}/api/v1/models/"))
    place = next((_LOOKS[KeyAction(action)] for action in actions if action in _LOOKS), "")
    return FirstCall(_look(f"{host}/api/v1/{place}")) if place else None


def example_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The first example row that a version's schema carries; empty where it has none."""
    return next((dict(each["inputs"]) for each in schema.get("examples", [])), {})


def _to_ask(models: Any) -> tuple[RegisteredModel | None, ModelVersion | None, bool]:
    """A model that answers in production, with the version that does, before one that does not yet."""
    answering = Release.objects.answering().filter(model__in=models, environment__slug=PRODUCTION)
    release = answering.select_related("model", "version").order_by("model__name").first()
    if release:
        return release.model, release.version, True
    model = models.first()
    return model, model.versions.order_by("-number").first() if model else None, False


def _example(version: ModelVersion | None) -> dict[str, Any]:
    return example_of(version.schema) if version else {}


def _look(address: str) -> str:
    return f'curl -sS -H "Authorization: Bearer $MODELGATE_KEY" {shlex.quote(address)}'
