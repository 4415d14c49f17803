"""The log: what one sees of it, how it is found, exported and verified."""

import csv
import io
import json
import zipfile

from django.db import connection, transaction
from django.urls import reverse

from registry import audit, seals, triggers
from registry.audit import Action
from registry.errors import Refused
from registry.models import AuditEvent
from tests import factories


def record(actor, action=Action.MODEL_CREATED, **fields):
    with transaction.atomic():
        return audit.record(action, target=fields.pop("target", None), actor=actor, **fields)


def seen(client, **query):
    return list(client.get(reverse("audit-log"), query).context["page"].object_list)


def test_an_auditor_sees_everything_newest_first(auditor, business, client):
    first, second = record(business), record(business)
    client.force_login(auditor)

    assert [event.seq for event in seen(client)][-2:] == [second.seq, first.seq]


def test_others_see_what_they_did_themselves(auditor, business, client):
    own = record(business)
    record(auditor)
    client.force_login(business)

    assert own in seen(client)
    assert {event.actor_id for event in seen(client)} == {business.pk}


def test_an_author_sees_what_happened_to_their_models(author, auditor, client):
    model = factories.create_model(owners=[author])
    event = record(auditor, target=model)
    hidden = record(auditor, target=factories.create_model())
    client.force_login(author)

    assert event in seen(client)
    assert hidden not in seen(client)


def test_the_query_is_the_filter(auditor, client):
    model = factories.create_model(slug="loans")
    event = record(auditor, action=Action.MODEL_CHANGED, target=model, reason="new owner")
    record(auditor)
    client.force_login(auditor)

    for query in ({"action": "model.changed"}, {"model": "loans"}, {"q": "new owner"}):
        assert seen(client, **query) == [event], query
    assert seen(client, result="refused") == []


def test_an_event_that_is_not_mine_is_not_found(business, auditor, client):
    event = record(auditor)
    client.force_login(business)

    assert client.get(reverse("audit-event", args=[event.seq])).status_code == 404


def test_an_event_shows_before_after_and_both_hashes(auditor, client):
    event = record(auditor, before={"state": "old"}, after={"state": "new"})
    client.force_login(auditor)

    html = client.get(reverse("audit-event", args=[event.seq])).content.decode()

    assert event.hash in html
    assert event.prev_hash in html
    assert "old" in html


def test_it_is_exported_as_csv_with_the_filter_and_the_head_of_the_chain(auditor, client):
    record(auditor, action=Action.MODEL_CHANGED, reason="=HYPERLINK()")
    client.force_login(auditor)

    response = client.get(reverse("audit-export"), {"action": "model.changed", "format": "csv"})
    rows = list(csv.reader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))

    assert "model.changed" in rows[0][1]
    assert json.loads(rows[0][2])["seq"] == AuditEvent.objects.order_by("-seq")[1].seq
    assert len(rows) == 3
    assert dict(zip(rows[1], rows[2], strict=True))["reason"] == "'=HYPERLINK()"


def test_an_exported_chain_can_be_checked_by_anybody(auditor, client):
    for _ in range(3):
        record(auditor)
    client.force_login(auditor)

    lines = (
        b"".join(client.get(reverse("audit-export"), {"format": "jsonl"}).streaming_content)
        .decode()
        .splitlines()
    )

    events = [json.loads(line) for line in lines[1:]]
    assert [event["prev_hash"] for event in events[1:]] == [event["hash"] for event in events[:-1]]
    assert events[-1]["hash"] == json.loads(lines[0])["chain_head"]["hash"]
    for event in events:
        facts = {name: value for name, value in event.items() if name not in ("prev_hash", "hash")}
        assert audit.link(event["prev_hash"], facts) == event["hash"]


def test_the_export_is_itself_written_down(auditor, client):
    client.force_login(auditor)

    b"".join(client.get(reverse("audit-export")).streaming_content)

    assert AuditEvent.objects.get(action="audit.exported").actor_id == auditor.pk


def test_the_export_is_for_those_who_see_everything(business, client):
    client.force_login(business)

    assert client.get(reverse("audit-export")).status_code == 403


def test_a_tampered_event_is_said_in_red(auditor, client, monkeypatch):
    event = record(auditor)
    client.force_login(auditor)
    triggers.remove(connection)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE registry_auditevent SET reason = 'nothing to see' WHERE id = %s", [event.pk]
            )
        html = client.post(reverse("audit-verify"), follow=True).content.decode()
        walks = count_walks(monkeypatch)
        client.get(reverse("audit-log"))
    finally:
        triggers.install(connection)

    assert f"Chain broken at #{event.seq}" in html
    assert walks == []


def test_the_chain_is_walked_for_those_who_see_everything_only(business, auditor, client, monkeypatch):
    walks = count_walks(monkeypatch)
    record(business)

    client.force_login(business)
    html = client.get(reverse("audit-log")).content.decode()
    assert "Chain" not in html
    assert walks == []

    client.force_login(auditor)
    assert "Chain verified" in client.get(reverse("audit-log")).content.decode()
    assert len(walks) == 1


def count_walks(monkeypatch):
    walks, verify = [], audit.verify

    def walk():
        walks.append(1)
        return verify()

    monkeypatch.setattr(audit, "verify", walk)
    return walks


def test_a_sealed_chain_says_so(auditor, client):
    record(auditor)
    seals.seal_head()
    client.force_login(auditor)

    html = client.get(reverse("audit-log")).content.decode()

    assert "Chain verified from #1" in html
    assert "1 seal fits, up to #1" in html


def test_the_bundle_brings_its_verifier(auditor, client):
    record(auditor)
    client.force_login(auditor)

    bundle = b"".join(client.get(reverse("audit-export"), {"format": "zip"}).streaming_content)
    script = client.get(reverse("audit-script"))

    with zipfile.ZipFile(io.BytesIO(bundle)) as files:
        assert files.read("verify_audit.py") == script.content
    assert 'filename="verify_audit.py"' in script["Content-Disposition"]


def test_the_words_that_a_page_says_find_the_event(auditor, client):
    event = record(auditor, action=Action.VERSION_CHECKS_FAILED)
    refused = audit.record_refusal(
        Action.RELEASE_ROLLED_BACK, target=None, actor=auditor, error=Refused("no")
    )
    client.force_login(auditor)

    for words in ("version.checks_failed", "Version checks failed", "checks failed", "Checks"):
        assert seen(client, q=words) == [event], words
    for words in ("Refused", "refused", "rolled back", "Release rolled back"):
        assert seen(client, q=words) == [refused], words


def test_a_row_opens_beside_the_list_and_as_a_page(auditor, client):
    event = record(auditor)
    client.force_login(auditor)
    address = reverse("audit-event", args=[event.seq])

    assert '<aside class="side-panel"' in client.get(reverse("audit-log")).content.decode()
    beside = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in beside
    assert event.hash in beside
    assert "<html" in client.get(address).content.decode()
