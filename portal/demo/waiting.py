"""Waiting for what workers do: a condition, looked at again and again until it holds or its time is over."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.utils.translation import gettext as _

T = TypeVar("T")
BETWEEN_LOOKS = 0.2


class TookTooLong(Exception):
    """What was waited for did not come; the message says what, and where to look."""


def wait_for(look: Callable[[], T | None], *, what: str, seconds: float) -> T:
    """The first answer of `look` that is not None."""
    until = time.monotonic() + seconds
    while (found := look()) is None:
        if time.monotonic() > until:
            raise TookTooLong(
                _("%(what)s was not finished within %(seconds)d s. Is a worker running?")
                % {"what": what, "seconds": seconds}
            )
        time.sleep(BETWEEN_LOOKS)
    return found
