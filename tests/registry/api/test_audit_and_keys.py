"""The audit log and keys through the API."""

import csv
import io
import json

import pytest
from django.db import connection

from registry import triggers
from registry.actions import people
from registry.models import ApiKey, AuditEvent, Role, User
from tests.api import Program, body_of, create_key, ok, problem, program
from tests.factories import create_model, create_user


@pytest.fixture
def reader(auditor: User, author: User) -> Program:
    ok(
        program(author).post(
            "/models/", {"slug": "loans", "name": "=cmd|'/c calc'!A1", "task": "regression"}
        ),
        201,
    )
    ok(program(author).post("/models/", {"slug": "tumours", "name": "Tumours", "task": "regression"}), 201)
    return program(auditor)


def test_events_are_listed_newest_first_and_filtered(reader: Program) -> None:
    found = ok(reader.get("/audit/"))

    assert [event["seq"] for event in found["results"]] == [2, 1]
    assert ok(reader.get("/audit/", model="loans"))["count"] == 1
    assert ok(reader.get("/audit/", action="model.created", actor="author", channel="api"))["count"] == 2
    assert ok(reader.get("/audit/", result="refused"))["count"] == 0
    assert ok(reader.get("/audit/", since="2000-01-01T00:00:00Z", until="2001-01-01T00:00:00Z"))["count"] == 0
    assert ok(reader.get("/audit/", q="tumours"))["count"] == 1
    problem(reader.get("/audit/", action="no.such"), 422)


def test_a_path_into_other_tables_is_no_filter(reader: Program) -> None:
    assert ok(reader.get("/audit/", actor__password__startswith="a"))["count"] == 2


def test_a_key_for_some_models_reads_their_events_only(reader: Program, auditor: User) -> None:
    limited = program(auditor, "audit", models=[create_model(slug="other")])

    assert ok(limited.get("/audit/"))["count"] == 0


def test_the_chain_is_verified(reader: Program) -> None:
    found = ok(reader.get("/audit/verify/"))

    assert (found["ok"], found["from"], found["to"], found["broken_at"]) == (True, 1, 2, None)
    assert found["head"] == AuditEvent.objects.get(seq=2).hash


def test_a_tampered_row_is_named(reader: Program) -> None:
    triggers.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE registry_auditevent SET actor_name = 'somebody@example.com' WHERE seq = 1")
    triggers.install(connection)

    found = ok(reader.get("/audit/verify/"))

    assert (found["ok"], found["broken_at"]) == (False, 1)


def test_an_export_names_its_filter_and_the_head_and_is_recorded(reader: Program) -> None:
    lines = body_of(reader.get("/audit/export/", model="loans")).decode().splitlines()

    first, *events = [json.loads(line) for line in lines]
    assert (first["filter"], first["chain_head"]["seq"]) == ({"model": "loans"}, 2)
    assert [event["model_slug"] for event in events] == ["loans"]
    assert AuditEvent.objects.order_by("-seq")[0].action == "audit.exported"


def test_a_spreadsheet_runs_nothing_of_an_export(reader: Program) -> None:
    text = body_of(reader.get("/audit/export/", **{"as": "csv"})).decode()

    rows = list(csv.DictReader(io.StringIO(text.split("\n", 1)[1])))
    assert rows[0]["target_name"].startswith("'=cmd")


@pytest.mark.parametrize("path", ["/audit/", "/audit/verify/", "/audit/export/"])
def test_the_log_is_for_auditors_and_administrators(operator: User, path: str) -> None:
    problem(program(operator).get(path), 403)


def test_a_key_is_shown_once(business: User) -> None:
    caller = program(business)

    made = ok(caller.post("/keys/", {"name": "report", "actions": ["predict"], "days": 30}), 201)

    assert made["secret"].startswith("mg_")
    assert made["models"] is None
    assert "secret" not in ok(caller.get("/keys/"))["results"][0]
    problem(Program(made["secret"]).get("/models/"), 403, "key_action_missing")


def test_a_key_makes_none_that_can_do_more(author: User) -> None:
    own = create_model(slug="own")
    create_model(slug="other")
    caller = program(author, "read", "predict", models=[own])

    problem(caller.post("/keys/", {"name": "wider", "actions": ["upload"]}), 403, "key_wider_than_yours")
    problem(caller.post("/keys/", {"name": "wider", "actions": ["read"]}), 403, "key_wider_than_yours")
    problem(caller.post("/keys/", {"name": "wider", "actions": ["read"], "models": ["other"]}), 422)
    ok(caller.post("/keys/", {"name": "same", "actions": ["read"], "models": ["own"]}), 201)


def test_a_key_carries_nothing_beyond_the_roles(business: User) -> None:
    problem(
        program(business).post("/keys/", {"name": "x", "actions": ["approve"]}), 422, "action_not_allowed"
    )
    problem(program(business).post("/keys/", {"name": "x", "actions": ["fly"]}), 422, "unknown_action")
    problem(
        program(business).post("/keys/", {"name": "x", "actions": ["read"], "days": 1000}), 422, "bad_expiry"
    )


def test_rotating_ends_the_old_key(business: User) -> None:
    caller = program(business, "read", "predict")
    pk = ApiKey.objects.get().pk

    made = ok(caller.post(f"/keys/{pk}/rotate/"), 201)

    problem(caller.get("/keys/"), 401, "key_revoked")
    ok(Program(made["secret"]).get("/keys/"))


def test_what_a_key_makes_ends_no_later_than_it(business: User) -> None:
    caller = program(business, "read")
    end = ApiKey.objects.get().expires_at

    made = ok(caller.post("/keys/", {"name": "longer", "actions": ["read"], "days": 365}), 201)
    fresh = ok(caller.post(f"/keys/{ApiKey.objects.get(name='test').pk}/rotate/"), 201)

    ends = ApiKey.objects.filter(prefix__in=[made["prefix"], fresh["prefix"]]).values_list(
        "expires_at", flat=True
    )
    assert list(ends) == [end, end]


def test_a_key_rotates_only_itself(business: User) -> None:
    caller, other = program(business, "read"), program(business, "read")
    pk = ApiKey.objects.order_by("-pk")[0].pk

    problem(caller.post(f"/keys/{pk}/rotate/"), 403, "not_this_key")
    ok(other.post(f"/keys/{pk}/rotate/"), 201)


def test_a_person_who_is_signed_in_rotates_for_the_whole_time(business: User) -> None:
    create_key(business, "read")
    old = ApiKey.objects.get()
    caller = Program()
    caller.client.force_login(business)

    fresh = ok(caller.post(f"/keys/{old.pk}/rotate/"), 201)

    assert ApiKey.objects.get(prefix=fresh["prefix"]).expires_at > old.expires_at


def test_revoking_ends_it_at_once(business: User) -> None:
    caller, other = program(business), program(business, "read")
    pk = ApiKey.objects.order_by("-pk")[0].pk

    assert ok(caller.post(f"/keys/{pk}/revoke/"))["state"] == "revoked"
    problem(other.get("/models/"), 401, "key_revoked")


def test_other_peoples_keys_do_not_exist(business: User, author: User) -> None:
    create_key(author)
    theirs = ApiKey.objects.get(user=author).pk

    problem(program(business).post(f"/keys/{theirs}/revoke/"), 404)


def test_an_integrator_looks_after_service_accounts(integrator: User) -> None:
    service = people.invite(
        email="service@example.com",
        roles=[Role.INTEGRATOR],
        is_service=True,
        actor=create_user(roles=[Role.ADMIN]),
    )
    caller = program(integrator)
    response = caller.post("/keys/", {"name": "nightly", "actions": ["predict"], "owner": service.email})

    problem(response, 403, "key_wider_than_yours")  # with a key; a person who is signed in may
    caller.client.force_login(integrator)
    made = caller.client.post(
        "/api/v1/keys/",
        {"name": "nightly", "actions": ["predict"], "owner": service.email},
        content_type="application/json",
    )
    assert ok(made, 201)["owner"] == "service@example.com"
