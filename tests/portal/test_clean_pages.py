"""Every page that we render keeps the strict policy, and is one page: one h1, a title, no id twice."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from registry.models import Role
from tests import factories
from tests.portal.access_table import place
from tests.portal.test_access import ADDRESSES
from tests.portal.world import create_world

SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/(?:ld\+)?json\")", re.I)
INLINE = re.compile(r"<style|<[^>]+\sstyle=|<[^>]+\son[a-z]+=\"", re.I)
KNOWN = {"slug", "number", "public_id", "pk", "seq"}
PAGES = sorted(
    name for name, needs in ADDRESSES.items() if ":" not in name and "/" not in name and set(needs) <= KNOWN
)


@pytest.mark.django_db
@pytest.mark.parametrize("name", PAGES)
def test_a_rendered_page_has_nothing_inline(name):
    world = create_world()
    everybody = factories.create_user(email="everybody@example.com", roles=Role.values)
    client = Client()
    client.force_login(everybody)

    answer = client.get(place(name, ADDRESSES[name], world.names))

    if answer.streaming:
        b"".join(answer.streaming_content)
        answer.close()
        return
    if not answer.content or not answer.headers.get("Content-Type", "").startswith("text/html"):
        return
    html = answer.content.decode()
    assert not SCRIPT.search(html)
    assert not INLINE.search(html)
    if "<!doctype html>" in html.lower():
        assert len(re.findall(r"<h1[\s>]", html)) == 1, re.findall(r"<h1.*", html)
        assert re.search(r"<title>\s*\S", html)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert len(re.findall(r'\sid="([^"]+)"', html)) == len(set(re.findall(r'\sid="([^"]+)"', html))), (
            "ids twice"
        )


@pytest.mark.parametrize("name", ["account_login", "account_reset_password"])
@pytest.mark.django_db
def test_a_page_before_sign_in_has_nothing_inline(client, name):
    html = client.get(reverse(name)).content.decode()

    assert not SCRIPT.search(html)
    assert not INLINE.search(html)


def test_an_address_that_only_takes_forms_says_so_on_a_page(operator, client):
    """A browser shows an empty answer as an error of its own."""
    factories.create_model(slug="loans")
    client.force_login(operator)

    answer = client.get("/models/loans/releases/roll-back/")

    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert b"only takes a form" in answer.content
