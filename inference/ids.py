"""Ids of predictions: opaque to clients, ordered by time for the index that holds them."""

import hashlib
import json
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX = "p_"


def new_ids(count: int) -> list[str]:
    """So many fresh ids: 48 bits of milliseconds, 80 random bits, in 26 characters."""
    moment = time.time_ns() // 1_000_000 << 80
    random = os.urandom(10 * count)
    return [PREFIX + _encode(moment | int.from_bytes(random[10 * i : 10 * i + 10])) for i in range(count)]


def derived_id(seed: str, *parts: str) -> str:
    """The id that belongs to these parts under a seed, itself an id: as old as the seed, and the same every time."""
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return seed[: len(PREFIX) + 10] + _encode(int.from_bytes(digest[:10]))[10:]


_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]


def _encode(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])
