"""Ids of predictions: opaque to clients, ordered by time for the index that holds them."""

import hashlib
import json
import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX = "p_"


def new_ids(count: int) -> list[str]:
    """So many fresh ids: 48 bits of milliseconds, 80 random bits, in 26 characters."""
    moment = PREFIX + _encode(time.time_ns() // 1_000_000 << 80)[:10]
    dice = os.urandom(16 * count).translate(_LETTERS).decode()
    return [moment + dice[at : at + 16] for at in range(0, len(dice), 16)]


def derived_id(seed: str, *parts: str) -> str:
    """The id that belongs to these parts under a seed, itself an id: as old as the seed, and the same every time."""
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return seed[: len(PREFIX) + 10] + _encode(int.from_bytes(digest[:10]))[10:]


_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
#: What each byte stands for: the five bits that one character holds.
_LETTERS = (_ALPHABET * 8).encode()


def _encode(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])
