"""Ids of predictions: opaque to clients, ordered by time for the index that holds them."""

import hashlib
import json
import os
import time

import numpy as np

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIX = "p_"


def new_ids(count: int) -> list[str]:
    """So many fresh ids: 48 bits of milliseconds, 80 random bits, in 26 characters."""
    moment = PREFIX + _encode(time.time_ns() // 1_000_000 << 80)[:10]
    if count == 1:
        return [moment + _encode(int.from_bytes(os.urandom(10)))[10:]]
    pairs = np.frombuffer(os.urandom(16 * count), "<u2").reshape(count, 8) & 1023
    return [moment + tail for tail in _PAIRS_TABLE[pairs].view("<U16").ravel().tolist()]


def derived_id(seed: str, *parts: str) -> str:
    """The id that belongs to these parts under a seed, itself an id: as old as the seed, and the same every time."""
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return seed[: len(PREFIX) + 10] + _encode(int.from_bytes(digest[:10]))[10:]


_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_PAIRS_TABLE = np.array(_PAIRS, "<U2")


def _encode(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])
