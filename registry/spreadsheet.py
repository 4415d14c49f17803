"""Cells that a spreadsheet shows and does not run.

Excel and LibreOffice run text that begins with `=`, `+`, `-` or `@`, also in full width or behind a tab: a name that
somebody typed into a form would become a formula on the machine of whoever opens the file.
"""

import re
from collections.abc import Sequence

_RISKY = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\x00]")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?%?")


def escape(text: str) -> str:
    """Put an apostrophe before text that would be run; numbers stay numbers."""
    if not text or not _RISKY.match(text) or _NUMBER.fullmatch(text):
        return text
    return f"'{text}"


def escape_all(texts: Sequence[str]) -> Sequence[str]:
    """Most columns hold no risky cell at all; looking once is cheaper than changing each."""
    return [escape(text) for text in texts] if any(map(_RISKY.match, texts)) else texts
