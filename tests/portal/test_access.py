"""Every address of the project against every kind of visitor. An address that is missing here fails the first test."""

import re
from collections.abc import Iterator

import pytest
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


def visit(world: World, visitor: str, name: str, method: str) -> int:
    """The status that this visitor gets; what the visit changed is undone."""
    client = Client()
    if visitor != "anonymous":
        client.force_login(world.people[visitor])
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
    return "admin" if space.startswith("admin") else f"{space or 'page'} {re.split('[-_]', own)[0]}"


SECTIONS = sorted({section_of(name) for name, _method in TABLE})


@pytest.mark.django_db
@pytest.mark.parametrize("section", SECTIONS)
def test_every_visitor_gets_what_the_table_says(section: str) -> None:
    world = create_world()
    rows = {row: expected for row, expected in TABLE.items() if section_of(row[0]) == section}

    got = {row: " ".join(str(visit(world, visitor, *row)) for visitor in VISITORS) for row in rows}

    assert got == rows
