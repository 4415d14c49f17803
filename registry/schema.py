"""What a version asks for and what it answers: the schema of its inputs and its target.

Plain values in, plain values out. A schema is taken from reference data by `infer`, corrected by people as JSON,
and read by everything that asks: forms, validation, batches, monitoring, the comparison of two versions.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import pyarrow as pa
import pyarrow.compute as pc
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from registry.errors import FieldError, Invalid

FieldType = Literal["number", "integer", "category", "boolean", "text"]
Task = Literal["classification", "regression"]
Label = str | int | bool
Words = dict[str, str]  # by language code; English is always there

FIELD_TYPES: tuple[str, ...] = get_args(FieldType)
MAX_FIELDS = 2_000
MAX_CLASSES = 1_000
MAX_CATEGORIES = 10_000
FEW_CATEGORIES = 200
_POSITIVE_WORDS = ("yes", "true", "1", "y", "positive")


def words(texts: Mapping[str, str], fallback: str = "") -> str:
    """The text in the reader's language, else in English, else the fallback."""
    language = (get_language() or "en").split("-")[0]
    return texts.get(language) or texts.get("en") or fallback


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the reference data held in one column."""

    min: float | None = None
    max: float | None = None
    missing: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {"min": self.min, "max": self.max, "missing": self.missing}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One input of the model: its type, the values that are allowed, and the words that people see."""

    name: str
    type: FieldType
    required: bool = True
    min: float | None = None
    max: float | None = None
    unit: str = ""
    categories: tuple[str, ...] = ()
    strict: bool = False
    label: Words = field(default_factory=dict)
    help: Words = field(default_factory=dict)
    training: Training = field(default_factory=Training)

    @property
    def is_numeric(self) -> bool:
        return self.type in ("number", "integer")

    @property
    def label_text(self) -> str:
        return words(self.label, humanize(self.name))

    @property
    def help_text(self) -> str:
        return words(self.help)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "required": self.required,
            "min": self.min,
            "max": self.max,
            "unit": self.unit,
            "categories": list(self.categories),
            "strict": self.strict,
            "label": dict(self.label),
            "help": dict(self.help),
            "training": self.training.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the model answers. `classes` keep their JSON type; `positive` is the class whose chance is told first."""

    name: str
    task: Task
    classes: tuple[Label, ...] = ()
    positive: Label | None = None
    words: dict[str, Words] = field(default_factory=dict)
    question: Words = field(default_factory=dict)
    unit: str = ""

    def word(self, label: Label) -> str:
        """The business's word for a class, else the class itself."""
        return words(self.words.get(str(label), {}), str(label))

    @property
    def question_text(self) -> str:
        return words(self.question)

    def class_of(self, value: object) -> Label | None:
        """The class that equals a value, with the class's own JSON type: 1.0 and numpy's 1 are the class 1."""
        for each in self.classes:
            if each == value and isinstance(each, str) == isinstance(value, str):
                return each
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "task": self.task,
            "classes": list(self.classes),
            "positive": self.positive,
            "words": {name: dict(texts) for name, texts in self.words.items()},
            "question": dict(self.question),
            "unit": self.unit,
        }


@dataclass(frozen=True, kw_only=True)
class Example:
    """A real row with a name, offered above the form."""

    name: str
    inputs: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "inputs": dict(self.inputs)}


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The contract of a version: its inputs in order, its target, a few examples."""

    fields: tuple[Field, ...]
    target: Target
    examples: tuple[Example, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.fields)

    def field(self, name: str) -> Field:
        return next(each for each in self.fields if each.name == name)

    def to_json(self) -> dict[str, Any]:
        return {
            "fields": [each.to_json() for each in self.fields],
            "target": self.target.to_json(),
            "examples": [each.to_json() for each in self.examples],
        }

    @classmethod
    def from_json(cls, data: object) -> "Schema":
        """Read a schema that a person or a program wrote; every mistake is named with its place and its remedy."""
        return _Reader().schema(data)


def humanize(name: str) -> str:
    """`marital_status` → `Marital status`."""
    spaced = " ".join(name.replace("_", " ").replace("-", " ").split())
    return spaced[:1].upper() + spaced[1:] if spaced else name


# --- reading JSON ---


class _Reader:
    """Walks over the JSON once and collects every problem before it refuses."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def schema(self, data: object) -> Schema:
        top = self._object(data, "schema", allowed={"fields", "target", "examples"})
        fields = self._fields(top.get("fields"))
        target = self._target(top.get("target"), {each.name for each in fields})
        examples = self._examples(top.get("examples", []), {each.name for each in fields})
        if self.errors or target is None:
            raise Invalid(_("The schema has mistakes."), code="invalid_schema", errors=self.errors)
        return Schema(fields=tuple(fields), target=target, examples=tuple(examples))

    def _fail(self, place: str, code: str, expected: str, fix: str, value: Any = None) -> None:
        shown = value if isinstance(value, str | int | float | bool) else None
        self.errors.append(FieldError(field=place, code=code, value=shown, expected=expected, fix=fix))

    def _object(self, data: object, place: str, allowed: set[str]) -> dict[str, Any]:
        if not isinstance(data, dict):
            self._fail(place, "wrong_type", _("an object"), _("Write it as {…}."))
            return {}
        for key in data:
            if key not in allowed:
                fix = _("Remove it. Allowed here: %(names)s.") % {"names": ", ".join(sorted(allowed))}
                self._fail(f"{place}.{key}", "unknown_field", _("a known name"), fix)
        return data

    def _list(self, data: object, place: str) -> list[Any]:
        if isinstance(data, list):
            return data
        self._fail(place, "wrong_type", _("a list"), _("Write it as […]."))
        return []

    def _text(self, data: Mapping[str, Any], key: str, place: str, *, needed: bool = False) -> str:
        value = data.get(key, "")
        if value is None:
            value = ""
        if not isinstance(value, str) or len(value) > 10_000:
            self._fail(f"{place}.{key}", "wrong_type", _("a text"), _("Write it in quotes."), value)
            return ""
        if needed and not value.strip():
            self._fail(f"{place}.{key}", "missing", _("a text"), _("Give it a value."))
        return value

    def _flag(self, data: Mapping[str, Any], key: str, place: str, default: bool) -> bool:
        value = data.get(key, default)
        if isinstance(value, bool):
            return value
        self._fail(f"{place}.{key}", "not_a_boolean", _("true or false"), _("Write true or false."), value)
        return default

    def _number(self, data: Mapping[str, Any], key: str, place: str) -> float | None:
        value = data.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            self._fail(f"{place}.{key}", "not_a_number", _("a number"), _("Write a number or null."), value)
            return None
        return value

    def _words(self, data: Mapping[str, Any], key: str, place: str) -> Words:
        value = data.get(key) or {}
        if isinstance(value, str):
            value = {"en": value}
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            fix = _('Write it as {"en": "…", "hi": "…"}.')
            self._fail(f"{place}.{key}", "wrong_type", _("texts by language"), fix)
            return {}
        return {str(language): text for language, text in value.items() if text}

    def _fields(self, data: object) -> list[Field]:
        items = self._list(data, "fields")
        if not items:
            self._fail("fields", "missing", _("at least one field"), _("List the inputs of the model."))
        if len(items) > MAX_FIELDS:
            self._fail(
                "fields", "too_long", f"≤ {MAX_FIELDS}", _("Remove fields that the model does not use.")
            )
            return []
        fields = [self._field(item, f"fields[{position}]") for position, item in enumerate(items)]
        for name, times in Counter(each.name for each in fields).items():
            if times > 1:
                self._fail("fields", "duplicate", _("different names"), _("Rename one of them."), name)
        return fields

    def _field(self, item: object, place: str) -> Field:
        allowed = {
            "name", "type", "required", "min", "max", "unit", "categories", "strict", "label", "help", "training",
        }  # fmt: skip
        data = self._object(item, place, allowed)
        kind = data.get("type")
        if kind not in FIELD_TYPES:
            self._fail(
                f"{place}.type", "not_in_list", ", ".join(FIELD_TYPES), _("Choose one of these types."), kind
            )
            kind = "text"
        low, high = self._number(data, "min", place), self._number(data, "max", place)
        if low is not None and high is not None and low > high:
            self._fail(f"{place}.min", "out_of_range", f"≤ {high}", _("Swap min and max."), low)
        return Field(
            name=self._text(data, "name", place, needed=True),
            type=cast(FieldType, kind),
            required=self._flag(data, "required", place, default=True),
            min=low,
            max=high,
            unit=self._text(data, "unit", place),
            categories=self._categories(data, place, kind),
            strict=self._flag(data, "strict", place, default=False),
            label=self._words(data, "label", place),
            help=self._words(data, "help", place),
            training=self._training(data.get("training") or {}, f"{place}.training"),
        )

    def _categories(self, data: Mapping[str, Any], place: str, kind: object) -> tuple[str, ...]:
        items = self._list(data.get("categories") or [], f"{place}.categories")
        if not all(isinstance(item, str) for item in items) or len(set(map(str, items))) != len(items):
            self._fail(
                f"{place}.categories", "wrong_type", _("different texts"), _("Write each once, in quotes.")
            )
            return ()
        if len(items) > MAX_CATEGORIES:
            self._fail(f"{place}.categories", "too_long", f"≤ {MAX_CATEGORIES}", _("Use the type text."))
        if kind == "category" and not items:
            self._fail(f"{place}.categories", "missing", _("at least one"), _("List the allowed values."))
        return tuple(items)

    def _training(self, item: object, place: str) -> Training:
        data = self._object(item, place, allowed={"min", "max", "missing"})
        low, high = self._number(data, "min", place), self._number(data, "max", place)
        return Training(min=low, max=high, missing=self._number(data, "missing", place) or 0.0)

    def _target(self, item: object, inputs: set[str]) -> Target | None:
        allowed = {"name", "task", "classes", "positive", "words", "question", "unit"}
        data = self._object(item, "target", allowed)
        task = data.get("task")
        if task not in get_args(Task):
            self._fail(
                "target.task", "not_in_list", ", ".join(get_args(Task)), _("Choose one of these."), task
            )
            return None
        name = self._text(data, "name", "target", needed=True)
        if name in inputs:
            fix = _("Remove it from the fields: the model must not see its own answer.")
            self._fail("target.name", "duplicate", _("a name that is no input"), fix, name)
        classes = self._classes(data) if task == "classification" else ()
        positive = data.get("positive")
        if positive is not None and not _has_exactly(classes, positive):
            self._fail(
                "target.positive", "not_in_list", _("one of the classes"), _("Choose a class."), positive
            )
        texts = self._object(data.get("words") or {}, "target.words", allowed={str(each) for each in classes})
        return Target(
            name=name,
            task=cast(Task, task),
            classes=classes,
            positive=positive,
            words={key: self._words(texts, key, "target.words") for key in texts},
            question=self._words(data, "question", "target"),
            unit=self._text(data, "unit", "target"),
        )

    def _classes(self, data: Mapping[str, Any]) -> tuple[Label, ...]:
        items = self._list(data.get("classes") or [], "target.classes")
        kinds = {type(item) for item in items}
        if (
            len(kinds) > 1
            or not kinds <= {str, int, bool}
            or len({str(item) for item in items}) != len(items)
        ):
            fix = _("Write each class once, all as text, whole numbers or booleans.")
            self._fail("target.classes", "wrong_type", _("different values of one type"), fix)
            return ()
        if not 2 <= len(items) <= MAX_CLASSES:
            self._fail(
                "target.classes", "out_of_range", f"2 … {MAX_CLASSES}", _("List what the model can answer.")
            )
        return tuple(items)

    def _examples(self, data: object, names: set[str]) -> list[Example]:
        examples = []
        for position, item in enumerate(self._list(data, "examples")):
            place = f"examples[{position}]"
            entry = self._object(item, place, allowed={"name", "inputs"})
            inputs = self._object(entry.get("inputs") or {}, f"{place}.inputs", allowed=names)
            examples.append(Example(name=self._text(entry, "name", place, needed=True), inputs=dict(inputs)))
        return examples


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _has_exactly(classes: Iterable[Label], value: object) -> bool:
    return any(each == value and type(each) is type(value) for each in classes)


# --- taking a schema from reference data ---


def infer(
    table: pa.Table,
    target: str,
    task: Task,
    *,
    columns: Sequence[str] | None = None,
    question: str = "",
) -> Schema:
    """A first schema from reference data; `columns` names the inputs where the data holds more than the model reads."""
    if target not in table.column_names:
        raise Invalid(
            _("The reference data has no column “%(name)s”.") % {"name": target},
            code="missing_target",
            fix=_("Name one of: %(names)s.") % {"names": ", ".join(table.column_names)},
        )
    names = list(columns) if columns is not None else [each for each in table.column_names if each != target]
    absent = [each for each in names if each not in table.column_names]
    if absent:
        raise Invalid(
            _("The reference data lacks columns that the model reads: %(names)s.")
            % {"names": ", ".join(absent)},
            code="missing_columns",
            fix=_("Give reference data with these columns, spelled the same."),
        )
    fields = tuple(_infer_field(name, plain(table[name])) for name in names)
    answer = _infer_target(target, plain(table[target]), task, question)
    return Schema(fields=fields, target=answer, examples=_pick_examples(table, fields, answer))


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without dictionaries, views and odd widths: int64, float64, bool or string."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.cast(kind.value_type))
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_uint64(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pc.if_else(pc.is_nan(column.cast(pa.float64())), None, column.cast(pa.float64()))
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    return column.cast(pa.string())


def _infer_field(name: str, column: pa.ChunkedArray) -> Field:
    missing = round(column.null_count / len(column), 6) if len(column) else 0.0
    common: dict[str, Any] = {
        "name": name,
        "required": column.null_count == 0,
        "label": {"en": humanize(name)},
    }
    if pa.types.is_boolean(column.type):
        return Field(type="boolean", training=Training(missing=missing), **common)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        bounds = pc.min_max(column).as_py()
        training = Training(min=_finite(bounds["min"]), max=_finite(bounds["max"]), missing=missing)
        kind: FieldType = "integer" if pa.types.is_integer(column.type) else "number"
        return Field(type=kind, training=training, **common)
    categories = _categories_of(column)
    if categories is None:
        return Field(type="text", training=Training(missing=missing), **common)
    return Field(type="category", categories=categories, training=Training(missing=missing), **common)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _categories_of(column: pa.ChunkedArray) -> tuple[str, ...] | None:
    """The sorted categories of a text column, or None where its values are rather free text."""
    values = [each for each in pc.unique(column).to_pylist() if each is not None]
    filled = len(column) - column.null_count
    is_free_text = filled > FEW_CATEGORIES and len(values) > filled / 2
    is_category = len(values) <= FEW_CATEGORIES or (
        filled >= 10 * len(values) and len(values) <= MAX_CATEGORIES
    )
    if not values or is_free_text or not is_category:
        return None
    return tuple(sorted(values))


def _infer_target(name: str, column: pa.ChunkedArray, task: Task, question: str) -> Target:
    asked = {"en": question} if question else {}
    if task == "regression":
        if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
            raise Invalid(
                _("The target “%(name)s” is not a number.") % {"name": name},
                code="wrong_task",
                fix=_("Choose classification, or another target column."),
            )
        return Target(name=name, task=task, question=asked)
    classes = _classes_of(name, column)
    return Target(
        name=name,
        task=task,
        classes=classes,
        positive=guess_positive(classes),
        words={str(each): {"en": humanize(str(each))} for each in classes},
        question=asked,
    )


def _classes_of(name: str, column: pa.ChunkedArray) -> tuple[Label, ...]:
    values = [each for each in pc.unique(column).to_pylist() if each is not None]
    if any(isinstance(each, float) and not each.is_integer() for each in values) or len(values) > MAX_CLASSES:
        raise Invalid(
            _("The target “%(name)s” has %(count)d different values: too many for classes.")
            % {"name": name, "count": len(values)},
            code="wrong_task",
            fix=_("Choose regression, or another target column."),
        )
    if len(values) < 2:
        raise Invalid(
            _("The target “%(name)s” has only one value.") % {"name": name},
            code="one_class",
            fix=_("Give reference data that holds each of the model's answers."),
        )
    return tuple(sorted(int(each) if isinstance(each, float) else each for each in values))


def guess_positive(classes: Sequence[Label]) -> Label | None:
    """Of two classes the one that means yes, else the last; of more than two none."""
    if len(classes) != 2:
        return None
    for word in _POSITIVE_WORDS:
        for each in classes:
            if str(each).strip().lower() == word:
                return each
    return classes[-1]


# --- examples ---


def _pick_examples(
    table: pa.Table, fields: Sequence[Field], target: Target, count: int = 3
) -> tuple[Example, ...]:
    """Real rows that differ from each other as much as possible, without gaps where there are such."""
    rows = _candidates(table, [each.name for each in fields], target.name)
    chosen: list[dict[str, Any]] = []
    while rows and len(chosen) < count:
        best = max(rows, key=lambda row: _distance(row, chosen, fields, target.name))
        if chosen and not _distance(best, chosen, fields, target.name):
            break
        chosen.append(best)
        rows.remove(best)
    naming = _telling_fields(chosen, fields)
    return tuple(
        Example(
            name=_example_name(row, naming) or _("Example %(number)d") % {"number": position},
            inputs={each.name: row[each.name] for each in fields},
        )
        for position, row in enumerate(chosen, start=1)
    )


def _candidates(table: pa.Table, names: list[str], target: str, limit: int = 200) -> list[dict[str, Any]]:
    step = max(1, len(table) // limit)
    sample = table.select([*names, target]).take(list(range(0, len(table), step))[:limit])
    flat = pa.table({name: plain(sample[name]) for name in sample.column_names})
    rows: list[dict[str, Any]] = flat.to_pylist()
    complete = [row for row in rows if all(value is not None for value in row.values())]
    return complete or rows


def _distance(
    row: dict[str, Any], chosen: list[dict[str, Any]], fields: Sequence[Field], target: str
) -> float:
    """How unlike the nearest chosen row: another answer counts most, then every field by its share of difference."""
    if not chosen:
        return 0.0
    return min(
        len(fields) * 0.5 * float(row[target] != other[target])
        + sum(_difference(row, other, each) for each in fields)
        for other in chosen
    )


def _difference(row: dict[str, Any], other: dict[str, Any], each: Field) -> float:
    mine, theirs = row[each.name], other[each.name]
    low, high = each.training.min, each.training.max
    if each.is_numeric and mine is not None and theirs is not None and low is not None and high is not None:
        return float(abs(mine - theirs) / (high - low)) if high > low else 0.0
    return float(mine != theirs)


def _telling_fields(chosen: list[dict[str, Any]], fields: Sequence[Field]) -> list[Field]:
    """Up to three fields in which the examples differ most, in the schema's order."""
    differing = [
        (len({row[each.name] for row in chosen}), -position, each)
        for position, each in enumerate(fields)
        if each.type != "text" and not _is_id(each) and len({row[each.name] for row in chosen}) > 1
    ]
    differing.sort(key=lambda entry: entry[:2], reverse=True)
    best = [each for _count, _position, each in differing[:3]]
    return [each for each in fields if each in best]


def _is_id(each: Field) -> bool:
    return each.name.lower() == "id" or each.name.lower().endswith(("_id", " id"))


def _example_name(row: Mapping[str, Any], naming: Sequence[Field]) -> str:
    parts = []
    for each in naming:
        value = row[each.name]
        if value is None:
            continue
        named = each.is_numeric or each.type == "boolean" or len(str(value)) <= 3
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        parts.append(f"{each.label_text} {shown}" if named else shown)
    name = ", ".join(parts)
    return name[:1].upper() + name[1:]


# --- comparing two schemas ---


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference between two schemas. `breaks`: a client of the first would be refused by the second."""

    field: str
    kind: Literal["added", "removed", "retyped", "changed"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    what: tuple[str, ...] = ()
    breaks: bool = False


def diff(a: Schema, b: Schema) -> list[Change]:
    """What differs between two schemas, in the second's order, removed fields last."""
    before = {each.name: each for each in a.fields}
    after = {each.name: each for each in b.fields}
    changes = [_field_change(before.get(name), each) for name, each in after.items()]
    removed = [_removal(each) for name, each in before.items() if name not in after]
    target = _target_change(a.target, b.target)
    return [each for each in [*changes, *removed, target] if each is not None]


def _field_change(old: Field | None, new: Field) -> Change | None:
    if old is None:
        return Change(field=new.name, kind="added", before=None, after=new.to_json(), breaks=new.required)
    what = _differing(old.to_json(), new.to_json())
    if not what:
        return None
    kind: Literal["retyped", "changed"] = "retyped" if old.type != new.type else "changed"
    breaks = old.type != new.type or _narrows(old, new)
    return Change(
        field=new.name, kind=kind, before=old.to_json(), after=new.to_json(), what=what, breaks=breaks
    )


def _removal(old: Field) -> Change:
    # A client that still sends the field is told `unknown_field`.
    return Change(field=old.name, kind="removed", before=old.to_json(), after=None, breaks=True)


def _target_change(old: Target, new: Target) -> Change | None:
    what = _differing(old.to_json(), new.to_json())
    if not what:
        return None
    breaks = old.task != new.task or old.classes != new.classes
    kind: Literal["retyped", "changed"] = "retyped" if old.task != new.task else "changed"
    return Change(
        field=new.name, kind=kind, before=old.to_json(), after=new.to_json(), what=what, breaks=breaks
    )


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(key for key in new if old.get(key) != new[key])


def _narrows(old: Field, new: Field) -> bool:
    return (
        (new.required and not old.required)
        or _or(new.min, -math.inf) > _or(old.min, -math.inf)
        or _or(new.max, math.inf) < _or(old.max, math.inf)
        or (new.strict and not (old.strict and set(old.categories) <= set(new.categories)))
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
