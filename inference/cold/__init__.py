"""The bulk of older predictions in columnar files.

`columns` rows as Parquet and back · `moving` what the tick does · `reading` cold rows become whole again ·
`rewriting` a file without those who were erased.
"""

from inference.cold.moving import drop_unneeded, due, move_old
from inference.cold.reading import Damaged, recall, recall_readable
from inference.cold.rewriting import prepare as without

__all__ = ["Damaged", "drop_unneeded", "due", "move_old", "recall", "recall_readable", "without"]
