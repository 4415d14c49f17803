"""A version's answers on a whole dataset, with its figures: asked once, kept, and read by gates and comparisons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from inference import runners, sampling
from inference.checks import metrics, rows
from inference.checks.outcome import Problem, known
from inference.models import Comparison, Measurement
from inference.runners import Answer
from inference.validation import validate_columns
from registry import measures, tables
from registry.models import Dataset, ModelVersion
from registry.schema import Label, Schema

MOST_ROWS = 50_000
CHUNK = 10_000
SECONDS = 60.0  # for one chunk

Array = npt.NDArray[Any]
Predict = Callable[[pa.Table], Answer]
#: Every metric under every usual averaging; the first value is the one we report.
Figures = dict[str, list[float]]


@dataclass(frozen=True)
class Answers:
    """One answer per place. A place is a row's number in the dataset, so that answers of two versions can be joined."""

    places: Array
    indices: Array | None  # of each row's label in `classes`; None for regression
    values: Array | None  # of regressions and of two classes
    classes: tuple[Label, ...]

    def at(self, places: Array) -> "Answers":
        """The answers at these places, in their order; every one must be there."""
        where = np.searchsorted(self.places, places)
        return Answers(
            places,
            None if self.indices is None else self.indices[where],
            None if self.values is None else self.values[where],
            self.classes,
        )

    @property
    def labels(self) -> list[Label]:
        indices = known(self.indices)
        return [self.classes[index] for index in indices.tolist()]


def judged_on(version: ModelVersion) -> Dataset | None:
    """Rows that the model has not seen, where there are such; else what it learned from."""
    return version.evaluation or version.reference


def on_the_same_rows(a: ModelVersion, b: ModelVersion) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The figures of two versions that were measured on the same rows already; None where there are no such.

    A version that was judged on what it learned from always looks better than one judged on what it had not seen;
    and what an author declares was measured on rows that nobody here knows.
    """
    dataset = judged_on(a)
    one, other = measures.numbers(a.measured_metrics), measures.numbers(b.measured_metrics)
    if one and other and dataset is not None and dataset == judged_on(b):
        return one, other
    both = Measurement.objects.filter(version__in=(a, b), labelled__gt=0).order_by("-measured_at")
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for each in both:
        of_data = found.setdefault(each.dataset_id, {})
        of_data[each.version_id] = measures.numbers(each.metrics)
        if len(of_data) == 2:
            return of_data[a.pk], of_data[b.pk]
    return None


def of(version: ModelVersion, dataset: Dataset) -> Measurement:
    """What is kept, or a new measurement by the version's own runner."""
    kept = Measurement.objects.filter(version=version, dataset=dataset).first()
    if kept is not None:
        return kept
    with runners.fresh(version) as runner:
        try:
            return measure(version, dataset, lambda table: runner.predict(table, SECONDS))[0]
        except (
            Problem
        ) as problem:  # an outcome that the version does not know: its answers count all the same
            kept = Measurement.objects.filter(version=version, dataset=dataset).first()
            if kept is None:
                raise
            Measurement.objects.filter(pk=kept.pk).update(note=str(problem))
            kept.note = str(problem)
            return kept


def forget(version: ModelVersion) -> None:
    """A draft's schema may have changed since its answers were kept."""
    Measurement.objects.filter(version=version).delete()
    Comparison.objects.filter(Q(a=version) | Q(b=version)).delete()


def measure(version: ModelVersion, dataset: Dataset, predict: Predict) -> tuple[Measurement, Figures]:
    """Ask the version every row that fits its schema, keep its answers, and measure where the outcome is known.

    Raises Problem where the data has outcomes that the model does not know.
    """
    schema = version.schema_object
    table, places = rows_for(schema, dataset)
    parts = [predict(table.slice(start, CHUNK)) for start in range(0, table.num_rows, CHUNK)]
    kept, _new = Measurement.objects.update_or_create(
        version=version,
        dataset=dataset,
        defaults={
            "rows": table.num_rows,
            "labelled": 0,
            "classes": list(parts[0].classes) if parts else [],
            "metrics": {},
            "note": "",
            "answers": _packed(places, parts),
            "measured_at": timezone.now(),
        },
    )
    target = target_column(dataset, schema)
    if not target or not parts:
        return kept, {}
    found, labelled = _figures(schema, table.column(target), parts)
    kept.metrics, kept.labelled = {name: values[0] for name, values in found.items()}, labelled
    kept.save(update_fields=["metrics", "labelled"])
    return kept, found


def answers_of(kept: Measurement) -> Answers:
    table = pa.ipc.open_stream(pa.py_buffer(bytes(kept.answers))).read_all()
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return Answers(columns["place"], columns.get("label"), columns.get("value"), tuple(kept.classes))


def answers_from(places: Array, answer: Answer) -> Answers:
    """The same shape for rows that were asked just now and are not kept."""
    return Answers(places, answer.indices, answer.values, answer.classes)


def rows_for(schema: Schema, dataset: Dataset, most: int = MOST_ROWS) -> tuple[pa.Table, Array]:
    """The rows of the dataset that would be answered, spread over all of it, and their places."""
    table = tables.read_dataset(dataset)
    places = sampling.places(table.num_rows, most)
    if len(places) < table.num_rows:
        table = table.take(pa.array(places))
    valid = validate_columns(schema, table).valid
    return rows.valid(table, schema), places[valid]


def target_column(dataset: Dataset | None, schema: Schema) -> str:
    if dataset is None:
        return ""
    return next(
        (name for name in (dataset.target, schema.target.name) if name and name in dataset.columns), ""
    )


def positions(truth: pa.ChunkedArray, classes: Sequence[Label], schema: Schema) -> Array:
    """Each outcome's place among the model's classes."""
    found: dict[Any, int] = {}
    for value in pc.unique(truth).to_pylist():
        label = schema.target.class_of(value)
        if label is None or label not in classes:
            raise Problem(
                _("The data has an outcome that the model does not know: %(value)s.")
                % {"value": repr(value)[:100]}
            )
        found[value] = list(classes).index(label)
    return np.array([found[value] for value in truth.to_pylist()])


def _figures(schema: Schema, column: pa.ChunkedArray, parts: Sequence[Answer]) -> tuple[Figures, int]:
    """Of the rows whose outcome is known, and how many these are."""
    is_known = pc.is_valid(column).to_numpy(zero_copy_only=False)
    truth = column.filter(pa.array(is_known))
    count = len(truth)
    if not count:
        return {}, 0
    if parts[0].indices is None:
        values = np.concatenate([known(part.values) for part in parts])[is_known]
        return metrics.of_numbers(np.asarray(truth.cast(pa.float64()).to_numpy()), values), count
    classes = parts[0].classes
    probabilities = None
    if parts[0].probabilities is not None:
        probabilities = np.concatenate([known(part.probabilities) for part in parts])[is_known]
    indices = np.concatenate([known(part.indices) for part in parts])[is_known]
    placed = positions(truth, classes, schema)
    return metrics.of_classes(placed, indices, probabilities, classes, schema.target.positive), count


def _packed(places: Array, parts: Sequence[Answer]) -> bytes:
    columns: dict[str, Any] = {"place": pa.array(places.astype("int64"))}
    if parts and parts[0].indices is not None:
        columns["label"] = pa.array(np.concatenate([known(part.indices) for part in parts]).astype("int32"))
    if parts and parts[0].values is not None:
        columns["value"] = pa.array(np.concatenate([known(part.values) for part in parts]).astype("float64"))
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed
