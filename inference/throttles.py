"""How often a key may ask: so many predictions calls a minute, where the key has a rate.

Counted in the cache that all processes share, in whole minutes of the clock: at the turn of a minute a key may ask
twice its rate within a moment, never more than its rate within one minute.
"""

import time

from django.core.cache import cache
from django.utils.translation import gettext as _

from registry.errors import TooMany
from registry.models import ApiKey

WINDOW = 60  # seconds


def require_within(key: ApiKey | None) -> None:
    """TooMany, with the seconds until the key may ask again; a key without a rate costs nothing here."""
    if key is None or key.rate is None:
        return
    minute, second = divmod(time.time(), WINDOW)
    name = f"key-rate-{key.pk}-{int(minute)}"
    cache.add(name, 0, timeout=2 * WINDOW)
    try:
        count = cache.incr(name)
    except ValueError:  # the cache forgot it in between
        return
    if count <= key.rate:
        return
    seconds = max(1, int(WINDOW - second))
    raise TooMany(
        _("This key may ask %(rate)d times a minute; try again in %(seconds)d s.")
        % {"rate": key.rate, "seconds": seconds},
        fix=_("Send more rows in one call, or ask whoever manages the key for a higher rate."),
        retry_after=seconds,
    )
