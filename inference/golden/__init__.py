"""Golden rows: does a version still give the answers by which it was approved?

`fingerprints` what answers here · `sets` rows and answers, kept · `replays` asked again, and what follows.
"""

from .replays import (
    AnswersMoved,
    gate_proven,
    known_or_replayed,
    prepare,
    prepare_checked,
    replay,
    require_unmoved,
    sweep,
)
from .sets import COUNT, freeze

__all__ = [
    "COUNT",
    "AnswersMoved",
    "freeze",
    "gate_proven",
    "known_or_replayed",
    "prepare",
    "prepare_checked",
    "replay",
    "require_unmoved",
    "sweep",
]
