"""What no log line holds: the link that lets somebody in once. It may still work while the line is read."""

import logging
import re
from typing import Any

ONE_TIME_LINK = re.compile(r"(?<=/password/reset/key/).+")


def redact(text: str) -> str:
    return ONE_TIME_LINK.sub("…", text)


class OneTimeLinks(logging.Filter):
    """Shortens such links in the lines of others too: Django names the path of whatever went wrong."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _redacted(record.msg)
        if record.args:
            record.args = _redacted(record.args)
        return True


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _redacted(inner) for name, inner in value.items()}
    return tuple(map(_redacted, value)) if type(value) is tuple else value
