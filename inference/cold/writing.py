"""A new file, from its announcement to its hash; which row points to it, and when, the caller decides."""

import secrets
from collections.abc import Iterable

import pyarrow as pa

from inference import leftovers
from inference.cold import columns
from inference.models import ColdFile
from registry import storage


def announced(file: ColdFile) -> ColdFile:
    """Give the file a key that no other ever had: two workers write beside each other, never over each other."""
    unique = secrets.token_hex(8)
    file.key = f"predictions/{file.version_id}/{file.day}-{file.number:04d}-{unique}.parquet"
    leftovers.announce(file.key)
    return file


def store(file: ColdFile, pieces: Iterable[pa.Table]) -> None:
    """Write the rows under the file's key, and note how many they are and what proves them."""
    with storage.scratch(".parquet") as path:
        file.rows = columns.write(pieces, path)
        file.size, file.sha256 = path.stat().st_size, storage.sha256_of(path)
        storage.put(file.key, path)
