"""The shared cache: Redis, and this process's own memory while Redis does not answer.

What lives in it are rates and remembered readings. Without it no rate may fall away, and nobody may be kept from a
rollback: each process counts for itself until Redis is back.
"""

from collections.abc import Callable
from typing import Any

import structlog
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)


def _steady(name: str) -> Callable[..., Any]:
    def method(self: "SteadyRedisCache", *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(super(SteadyRedisCache, self), name)(*args, **kwargs)
        except RedisError as error:
            logger.warning("cache_away", error=type(error).__name__)
            return getattr(self.memory, name)(*args, **kwargs)

    method.__name__ = name
    return method


class SteadyRedisCache(RedisCache):
    """A Redis that may go away and come back."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self.memory = LocMemCache("while-redis-is-away", params)

    add, get, set, touch, delete = map(_steady, ("add", "get", "set", "touch", "delete"))
    get_many, set_many, delete_many = map(_steady, ("get_many", "set_many", "delete_many"))
    has_key, incr, clear = map(_steady, ("has_key", "incr", "clear"))
