"""What answers here now, with everything about it that is the same for every call."""

from dataclasses import dataclass
from typing import Any

from inference import golden
from inference.validation import RowJudge
from registry import permissions
from registry.changes import Known
from registry.models import ModelVersion, RegisteredModel, Release, User
from registry.schema import Schema

KEPT = 64  # schemas of versions


@dataclass(frozen=True)
class Served:
    """One release, its version and what is made of its schema: always together, so no answer mixes two releases."""

    release: Release
    judge: RowJudge

    @property
    def version(self) -> ModelVersion:
        return self.release.version

    @property
    def schema(self) -> Schema:
        return self.judge.schema


def may_predict(actor: Any, model: RegisteredModel, known: Known) -> bool:
    """As `permissions.can_predict`, asked once for this person and model until something changes."""
    return known.recall(
        ("may predict", actor.pk, model.pk), lambda: permissions.can_predict(_as_they_are_now(actor), model)
    )


def answering(model: RegisteredModel, environment: str, version_number: int | None, known: Known) -> Served:
    """As the gate says, asked once until something changes; a refusal is asked again."""

    def find() -> Served:
        release = golden.gate_proven(model, environment, version_number)
        return Served(release, _judge_of(release.version))

    return known.recall(("answers", model.pk, environment, version_number), find)


def _as_they_are_now(actor: Any) -> Any:
    """What is remembered is about the person in the database, not about an object that was read a while ago."""
    return actor if actor.pk is None else User.objects.get(pk=actor.pk)


_judges: dict[int, tuple[dict[str, Any], RowJudge]] = {}


def _judge_of(version: ModelVersion) -> RowJudge:
    """A version's schema is read once a process, however often releases and roles change around it."""
    kept = _judges.get(version.pk)
    if kept is None or kept[0] != version.schema:
        kept = version.schema, RowJudge(version.schema_object)
        while len(_judges) >= KEPT:
            _judges.pop(next(iter(_judges)), None)
        _judges[version.pk] = kept
    return kept[1]
