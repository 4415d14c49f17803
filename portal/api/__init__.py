"""What the API's framework is told by settings: who calls, how bodies are read, what errors look like.

Nothing in here may import `rest_framework.views`, which reads these names while it is itself being imported.
"""

from portal.api.authentication import IsAuthenticated, KeyAuthentication, SessionAuthentication
from portal.api.paging import Pagination
from portal.api.parsing import StrictJSONParser, UploadParser
from portal.api.problems import exception_handler
from portal.api.throttling import WriteThrottle

__all__ = [
    "IsAuthenticated",
    "KeyAuthentication",
    "Pagination",
    "SessionAuthentication",
    "StrictJSONParser",
    "UploadParser",
    "WriteThrottle",
    "exception_handler",
]
