"""How a check ends: with an Outcome, or with a Problem that somebody can solve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.utils.translation import gettext as _

from inference.runners import ModelError
from registry.errors import Refused

T = TypeVar("T")


class Problem(Exception):
    """A check that failed: one sentence for the person who uploaded, and what they can do."""

    def __init__(self, detail: str, *log: str, figures: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.log = log
        self.figures = figures or {}


@dataclass(frozen=True)
class Outcome:
    detail: str
    log: Sequence[str] = ()
    skipped: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)


def known(value: T | None) -> T:
    if value is None:
        raise Problem(_("An earlier check did not get this far."))
    return value


def explain(error: Exception) -> tuple[str, list[str]]:
    """Detail and log of whatever ended a check."""
    if isinstance(error, Problem):
        return str(error), list(error.log)
    if isinstance(error, ModelError):
        return " ".join(filter(None, [str(error), error.detail[:300], error.fix])), [error.code]
    if isinstance(error, Refused):
        return f"{error} {error.fix}".strip(), [each["field"] for each in error.errors]
    return _(
        "The check could not be carried out (%(error)s). Start the checks again; tell an administrator if it "
        "happens twice."
    ) % {"error": type(error).__name__}, []
