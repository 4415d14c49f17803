"""The list of what running models leaves behind."""

from inference.models.batches import BatchChunk, BatchJob
from inference.models.calls import Call
from inference.models.checks import CheckAttempts
from inference.models.cold import ColdFile, Leftover
from inference.models.forms import VersionForm, stored_form
from inference.models.golden import GoldenSet, Replay
from inference.models.heartbeat import Heartbeat
from inference.models.measurements import Comparison, Measurement
from inference.models.predictions import Erasure, Feedback, LogSegment, Prediction
from inference.models.reports import ProblemReport

__all__ = [
    "BatchChunk",
    "BatchJob",
    "Call",
    "CheckAttempts",
    "ColdFile",
    "Comparison",
    "Erasure",
    "Feedback",
    "GoldenSet",
    "Heartbeat",
    "Leftover",
    "LogSegment",
    "Measurement",
    "Prediction",
    "ProblemReport",
    "Replay",
    "VersionForm",
    "stored_form",
]
