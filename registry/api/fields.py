"""Fields of bodies: what the framework has no word for."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from registry.api import strict
from registry.models import PRODUCTION, Dataset, ModelVersion, RegisteredModel, User

#: Digits of a number of ours, in an address or a body.
LONGEST_NUMBER = 9


class Body(serializers.Serializer):
    """What is sent. A name that nobody knows is a mistake, not something to pass over in silence."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        unknown = set(data) - set(self.fields) if hasattr(data, "keys") else set()
        if unknown:
            known = ", ".join(sorted(self.fields))
            message = _("There is no such field; there are: %(known)s.") % {"known": known}
            raise serializers.ValidationError(
                {
                    str(name): serializers.ErrorDetail(message, code="unknown_field")
                    for name in sorted(unknown)
                }
            )
        values: dict[str, Any] = super().to_internal_value(data)
        return values


class Query(serializers.Serializer):
    """What is asked for in the address."""


class EnvironmentField(serializers.CharField):
    """The name of an environment; production unless said otherwise."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "default": PRODUCTION, "max_length": 20, **kwargs})


class WordsField(serializers.CharField):
    """A reason or a comment. How long it must be is the verbs' rule."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs = {"required": False, "default": "", "allow_blank": True, **kwargs}
        super().__init__(help_text=lazy("3 to 2,000 characters"), **kwargs)


@extend_schema_field(OpenApiTypes.STR)
class TextOrFileField(serializers.CharField):
    """Text in a form, sent as a value or as a small file: `-F card=<card.md` and `-F card=@card.md` are the same."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "allow_blank": True, "max_length": 20_000, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        return str(super().to_internal_value(_text_of(data)))


@extend_schema_field(OpenApiTypes.OBJECT)
class JSONTextField(serializers.Field):
    """JSON, strictly: as it is in a JSON body, or as text or a file in a form."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, **kwargs})

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str | UploadedFile):
            return _storable(data)
        try:
            return _storable(strict.loads(_text_of(data)))
        except strict.NotStrict as exc:
            raise serializers.ValidationError(str(exc), code="unreadable_json") from exc

    def to_representation(self, value: Any) -> Any:
        return value


class DatasetField(serializers.SlugRelatedField):
    """The id of a dataset of the model at hand."""

    def __init__(self, **kwargs: Any) -> None:
        defaults = {"slug_field": "public_id", "queryset": Dataset.objects.none(), "required": False}
        super().__init__(**{**defaults, **kwargs})

    def get_queryset(self) -> QuerySet[Dataset]:
        return Dataset.objects.filter(model=self.context.get("model"))


class VersionField(serializers.SlugRelatedField):
    """The number of a version of the model at hand."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"slug_field": "number", "queryset": ModelVersion.objects.none(), **kwargs})

    def get_queryset(self) -> QuerySet[ModelVersion]:
        return ModelVersion.objects.filter(model=self.context.get("model")).select_related("model")

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not str(data).isdecimal() or len(str(data)) > LONGEST_NUMBER:
            raise serializers.ValidationError(_("The number of a version, such as 3."), code="wrong_type")
        return super().to_internal_value(int(data))


class ModelField(serializers.SlugRelatedField):
    """The short name of a model that the caller may see."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"slug_field": "slug", "queryset": RegisteredModel.objects.none(), **kwargs})

    def get_queryset(self) -> QuerySet[RegisteredModel]:
        models: QuerySet[RegisteredModel] = self.context.get("models", RegisteredModel.objects.none())
        return models


def people(*, required: bool = False) -> serializers.ListField:
    """A list of e-mail addresses of people who have an account."""
    child = serializers.SlugRelatedField(slug_field="email", queryset=User.objects.filter(is_service=False))
    return serializers.ListField(child=child, required=required)


def teams() -> serializers.ListField:
    """A list of names of teams."""
    return serializers.ListField(
        child=serializers.SlugRelatedField(slug_field="name", queryset=Group.objects.all()), required=False
    )


def _text_of(data: Any) -> Any:
    if not isinstance(data, UploadedFile):
        return data
    try:
        return data.read().decode()
    except UnicodeDecodeError as exc:
        raise serializers.ValidationError(_("Send text in UTF-8."), code="not_text") from exc


def _storable(value: Any) -> Any:
    """The same value, refused where a database could not keep one of its texts."""
    for text in _texts(value):
        if "\x00" in text or _has_surrogate(text):
            raise serializers.ValidationError(_("Remove characters that are no text."), code="not_text")
    return value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)
