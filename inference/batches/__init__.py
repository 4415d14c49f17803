"""Scoring files in the background.

`verbs` what people do · `preparing` file → chunks · `working` a worker's turn · `scoring` one chunk · `finishing` parts
→ result · `results` files people download · `rows` one row by its id · `rewriting` files without somebody's rows ·
`upkeep` what the tick does · `leases` who owns what · `files` where things lie · `parts`, `answers`, `problems` the
pieces.

The job row is the truth; messages may be lost or doubled. Every row ends in the result exactly once.
"""

from inference.batches.rows import prediction_id
from inference.batches.upkeep import requeue_lost
from inference.batches.verbs import (
    can_change,
    can_read_rows,
    cancel,
    delete_now,
    problems_for,
    require_rows,
    retry,
    run,
    start_batch,
    summary_for,
)

__all__ = [
    "can_change",
    "can_read_rows",
    "cancel",
    "delete_now",
    "prediction_id",
    "problems_for",
    "requeue_lost",
    "require_rows",
    "retry",
    "run",
    "start_batch",
    "summary_for",
]
