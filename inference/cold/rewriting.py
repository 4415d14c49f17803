"""A file without the rows of people who were erased: written beside the old one, and put in its place by the act."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from inference import leftovers
from inference.cold import columns, reading, writing
from inference.leftovers import Overtaken
from inference.models import ColdFile, Prediction


@dataclass(frozen=True)
class Rewrite:
    """What takes a file's place; None where no row is left."""

    old: ColdFile
    new: ColdFile | None

    @property
    def model_id(self) -> int:
        return self.old.version.model_id

    def swap(self) -> int:
        """The rows point to the same `ColdFile` as before; it names the new file."""
        mine = ColdFile.objects.filter(pk=self.old.pk, key=self.old.key)
        if self.new is None:
            changed = not Prediction.objects.filter(cold_file=self.old).exists() and mine.delete()[0]
        else:
            leftovers.settle(self.new.key)
            changed = mine.update(
                **{name: getattr(self.new, name) for name in ("key", "sha256", "size", "rows")}
            )
        if not changed:
            raise Overtaken(self.old.key)
        leftovers.discard(self.old.key)
        return 0

    def give_up(self) -> None:
        if self.new is not None:
            leftovers.drop(self.new.key)

    def history(self) -> list[dict[str, Any]]:
        becomes = self.new and {"file": self.new.key, "sha256": self.new.sha256}
        return [{"file": self.old.key, "sha256": self.old.sha256, "becomes": becomes}]


def prepare(file_id: int, ids: Collection[str]) -> Rewrite:
    """Write what is left of a file without those rows, and without all that nothing points to. Raises Damaged."""
    old = ColdFile.objects.select_related("version").filter(pk=file_id).first()
    if old is None:
        raise Overtaken(file_id)
    rows = Prediction.objects.filter(cold_file=old).values_list("public_id", flat=True)
    kept = set(rows.iterator()) - set(ids)
    if not kept:
        return Rewrite(old, None)
    data = reading.content(old)
    new = writing.announced(ColdFile(version_id=old.version_id, day=old.day, number=old.number))
    rewrite = Rewrite(old, new)
    try:
        writing.store(new, columns.pieces_without(data, kept))
    except pa.ArrowException as error:
        rewrite.give_up()
        raise reading.Damaged(old) from error
    except BaseException:
        rewrite.give_up()
        raise
    return rewrite
