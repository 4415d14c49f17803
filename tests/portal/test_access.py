"""Every address of the project against every kind of visitor. An address that is missing here fails the first test."""

import re
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.portal.access_table import TABLE, place
from tests.portal.world import VISITORS, World, create_world


def addresses(
    resolver: URLResolver, space: str = "", above: tuple[str, ...] = ()
) -> Iterator[tuple[str, list[str]]]:
    """The names of all addresses, with their namespaces, and the arguments that each takes."""
    for entry in resolver.url_patterns:
        arguments = (*above, *entry.pattern.regex.groupindex)
        if isinstance(entry, URLResolver):
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from addresses(entry, inner, arguments)
        elif isinstance(entry, URLPattern):
            yield (f"{space}{entry.name}" if entry.name else f"{space}{entry.pattern}"), list(arguments)


ADDRESSES = dict(addresses(get_resolver()))


def sessions(world: World) -> dict[str, str]:
    """One session for each visitor: a visit is undone, and with it a sign-out."""
    found = {}
    for visitor, person in world.people.items():
        client = Client()
        client.force_login(person)
        found[visitor] = client.cookies[settings.SESSION_COOKIE_NAME].value
    return found


def visit(world: World, session: str | None, name: str, method: str) -> int:
    """The status that a visitor with this session gets; what the visit changed is undone."""
    client = Client()
    if session:
        client.cookies[settings.SESSION_COOKIE_NAME] = session
    url = place(name, ADDRESSES[name], world.names)
    with transaction.atomic():
        answer = client.generic(method, url)
        if answer.streaming:
            b"".join(answer.streaming_content)  # type: ignore[arg-type]
        transaction.set_rollback(True)
    return answer.status_code


def test_no_address_is_missing_from_the_table() -> None:
    listed = {name for name, _method in TABLE}

    assert set(ADDRESSES) - listed == set()
    assert listed - set(ADDRESSES) == set()


def section_of(name: str) -> str:
    """Rows are walked in a few sections, each with a world of its own: a world for each row takes minutes."""
    space, _, own = name.rpartition(":")
    subject = re.split(r"\W|_", own.removeprefix("registry_"))[0]
    return f"{space or 'page'} {subject}"


SECTIONS = sorted({section_of(name) for name, _method in TABLE})


@pytest.mark.django_db
@pytest.mark.parametrize("section", SECTIONS)
def test_every_visitor_gets_what_the_table_says(section: str) -> None:
    world = create_world()
    rows = {row: expected for row, expected in TABLE.items() if section_of(row[0]) == section}

    session = sessions(world)
    got = {row: " ".join(str(visit(world, session.get(each), *row)) for each in VISITORS) for row in rows}

    assert got == rows
