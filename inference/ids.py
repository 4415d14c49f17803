"""Ids of predictions: opaque to clients, ordered by time for the index that holds them."""

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX = "p_"


def new_ids(count: int) -> list[str]:
    """So many fresh ids: 48 bits of milliseconds, 80 random bits, in 26 characters."""
    moment = time.time_ns() // 1_000_000 << 80
    random = os.urandom(10 * count)
    return [PREFIX + _encode(moment | int.from_bytes(random[10 * i : 10 * i + 10])) for i in range(count)]


def _encode(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
