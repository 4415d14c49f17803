"""What is tried before anybody may ask for a version's release; every result says what a person can do about it.

`steps` are the checks, in their order · `metrics` the figures recomputed · `run` carries a version through them
· `frozen` the golden rows that they leave.
"""

from .frozen import requeue_unfrozen
from .run import requeue_stuck, start

__all__ = ["requeue_stuck", "requeue_unfrozen", "start"]
