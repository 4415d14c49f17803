"""Who gets what: one row for each address and method, one column for each visitor of `world.VISITORS`.

200 is the page, 302 the way to the login page (anonymous) or onwards, 403 a visible thing that one may not do,
404 a thing that one may not know of, 405 a method that the address does not have. A POST here carries no data:
whoever may post gets past the door and is told what is missing.
"""

from collections.abc import Mapping
from typing import Any

from django.urls import reverse

from tests.portal.access_api import API_NAMES, API_TABLE

#: What each argument of an address is called in `World.names`, for addresses where its own name does not say.
OTHER_NAMES = {
    "approval-detail": {"public_id": "request"},
    "approval-withdraw": {"public_id": "request"},
    "version-edit": {"number": "draft"},
    "version-check": {"number": "draft"},
    "version-request": {"number": "number"},
    "prediction": {"public_id": "prediction"},
    "prediction-outcome": {"public_id": "prediction"},
    "key-revoke": {"pk": "key"},
    "key-rotate": {"pk": "key"},
    "person": {"pk": "person"},
    "person-link": {"pk": "person"},
    "person-active": {"pk": "person"},
    "audit-event": {"seq": "event"},
    "release-ticks": {"number": "release"},
    **API_NAMES,
}
BATCH_NAMES = {"public_id": "batch"}


def place(name: str, arguments: list[str], names: Mapping[str, Any]) -> str:
    """The address of that name in this world."""
    others = OTHER_NAMES.get(name, BATCH_NAMES)
    return reverse(name, kwargs={each: names[others.get(each, each)] for each in arguments})


TABLE: dict[tuple[str, str], str] = {**API_TABLE}
