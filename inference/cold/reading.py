"""What cold rows asked, put back into them: each file is read once, proven by its hash, and decoded where needed."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import pyarrow as pa
import structlog
from django.utils.translation import gettext as _

from inference.cold import columns
from inference.cold.columns import Details
from inference.models import ColdFile, Prediction
from registry import storage
from registry.errors import Unavailable

logger = structlog.get_logger(__name__)


class Damaged(Unavailable):
    """A file that is missing or not the one that was written."""

    default_code = "cold_file_damaged"

    def __init__(self, file: ColdFile) -> None:
        super().__init__(
            _("The predictions in the file %(file)s cannot be read: it is missing or damaged.")
            % {"file": file.key},
            fix=_("An administrator can put it back from a backup. Other predictions are not touched by it."),
        )


def recall(predictions: Iterable[Prediction]) -> None:
    """Give cold rows their inputs and reasons back, in memory. Raises Damaged."""
    for file_id, rows in _by_file(predictions).items():
        _recall(file_id, rows, None)


def recall_readable(predictions: Sequence[Prediction], fields: Sequence[str]) -> list[Prediction]:
    """The same for statistics over many rows: only those inputs, and without the rows of damaged files."""
    lost = set()
    for file_id, rows in _by_file(predictions).items():
        try:
            _recall(file_id, rows, fields)
        except Damaged:
            lost.add(file_id)
    return [each for each in predictions if each.cold_file_id not in lost]


def content(file: ColdFile) -> bytes:
    """The bytes that were written, and no others. Raises Damaged."""
    try:
        data = storage.read_intact(file.key, file.sha256)
    except OSError as error:
        raise Damaged(file) from error
    if data is None:
        raise Damaged(file)
    return data


def _by_file(predictions: Iterable[Prediction]) -> dict[int, list[Prediction]]:
    found: dict[int, list[Prediction]] = defaultdict(list)
    for each in predictions:
        if each.cold_file_id is not None:
            found[each.cold_file_id].append(each)
    return found


def _recall(file_id: int, rows: Sequence[Prediction], fields: Sequence[str] | None) -> None:
    found = _details(file_id, [row.public_id for row in rows], fields)
    for row in rows:
        if row.public_id in found:  # else it was erased a moment ago
            row.inputs, row.why = found[row.public_id]


def _details(file_id: int, ids: Sequence[str], fields: Sequence[str] | None) -> dict[str, Details]:
    """Nothing where the file is gone with the last of its rows. One that cannot be read may just have been replaced."""
    failed = ""
    while (file := ColdFile.objects.filter(pk=file_id).first()) is not None:
        try:
            return _read(file, ids, fields)
        except Damaged:
            if file.key == failed:
                logger.exception("cold_file_damaged", file=file.key)
                raise
            failed = file.key
    return {}


def _read(file: ColdFile, ids: Sequence[str], fields: Sequence[str] | None) -> dict[str, Details]:
    data = content(file)
    try:
        return columns.details(data, ids, fields)
    except pa.ArrowException as error:
        raise Damaged(file) from error
