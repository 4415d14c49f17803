"""How versions and models end, through verb, page, admin and API: the record of both stays."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import ProtectedError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from registry import gate, history
from registry.actions import catalog, endings, policies, releases
from registry.errors import Forbidden, Gone, Invalid, Refused
from registry.models import AuditEvent, ModelVersion, RegisteredModel, Release, ReleaseRequest, User
from registry.triggers import TABLES
from tests.api import ok, problem, program
from tests.factories import create_approval, create_model, create_release, create_request, create_version

pytestmark = pytest.mark.django_db
State = ModelVersion.State


@pytest.fixture
def model(author: User) -> RegisteredModel:
    return create_model(slug="loans", owners=[author])


# --- retire and archive ---


def test_a_serving_version_is_not_retired(operator: User, model: RegisteredModel) -> None:
    version = create_release(version=create_version(model=model)).version

    with pytest.raises(Refused) as caught:
        catalog.retire(version, reason="too old", actor=operator)

    assert caught.value.code == "still_serving"


def test_a_retired_version_is_neither_released_nor_gone_back_to(
    operator: User, model: RegisteredModel
) -> None:
    first, second = create_version(model=model), create_version(model=model)
    create_release(version=first)
    create_release(version=second)
    catalog.retire(first, reason="too old", actor=operator)

    with pytest.raises(Refused) as back:
        releases.roll_back(model, reason="errors", to=first.number, actor=operator)
    with pytest.raises(Refused) as forth:
        releases.release(model, version=first, reason="again", actor=operator)

    assert (back.value.code, forth.value.code) == ("target_not_eligible", "not_approved")


def test_archiving_leaves_a_version_where_it_is_and_out_of_lists(
    operator: User, model: RegisteredModel
) -> None:
    version = create_version(model=model, state=State.RETIRED)

    endings.archive(version, reason="of no use any more", actor=operator)

    assert list(model.versions.listed()) == []
    assert list(model.versions.all()) == [version]
    event = AuditEvent.objects.get(action="version.archived")
    assert (event.reason, event.after) == ("of no use any more", {"archived": True})
    endings.unarchive(version, reason="looked for", actor=operator)
    assert list(model.versions.listed()) == [version]


@pytest.mark.parametrize("state", [State.DRAFT, State.CHECKING, State.CHECKED])
def test_what_may_still_answer_is_not_archived(state: str, operator: User, model: RegisteredModel) -> None:
    version = create_version(model=model, state=state)

    with pytest.raises(Refused) as caught:
        endings.archive(version, reason="out of my sight", actor=operator)

    assert caught.value.code == "not_ended"


def test_archiving_twice_is_refused(operator: User, model: RegisteredModel) -> None:
    version = create_version(model=model, state=State.RETIRED)
    endings.archive(version, reason="old", actor=operator)

    with pytest.raises(Refused) as caught:
        endings.archive(version, reason="old", actor=operator)

    assert caught.value.code == "archived"


def test_others_do_not_archive(business: User, model: RegisteredModel) -> None:
    with pytest.raises(Forbidden):
        endings.archive(create_version(model=model, state=State.RETIRED), reason="old", actor=business)


def test_the_page_archives_and_lists_on_request(
    client: Client, operator: User, model: RegisteredModel
) -> None:
    version = create_version(model=model, state=State.RETIRED)
    client.force_login(operator)

    client.post(reverse("version-archive", args=["loans", 1]), {"reason": "of no use"})

    page = client.get(reverse("version-list", args=["loans"]))
    assert [row[0] for row in page.context["rows"]] == []
    asked = client.get(reverse("version-list", args=["loans"]), {"archived": "1"})
    assert [row[0] for row in asked.context["rows"]] == [version]
    client.post(reverse("version-archive", args=["loans", 1]), {"reason": "wanted again"})
    assert model.versions.listed().count() == 1


def test_the_api_archives_and_lists_on_request(operator: User, model: RegisteredModel) -> None:
    create_version(model=model, state=State.RETIRED)
    caller = program(operator, "read", "release")

    found = ok(caller.post("/models/loans/versions/1/archive/", {"reason": "of no use"}))

    assert found["archived_at"]
    assert ok(caller.get("/models/loans/versions/"))["count"] == 0
    assert ok(caller.get("/models/loans/versions/", archived="true"))["count"] == 1
    problem(caller.post("/models/loans/versions/1/archive/", {"reason": "again"}), 409, "archived")
    ok(caller.post("/models/loans/versions/1/unarchive/", {"reason": "wanted"}))
    assert ok(caller.get("/models/loans/versions/"))["count"] == 1


def test_the_admin_retires_and_archives_through_the_same_verbs(client: Client, author: User) -> None:
    author.grants.create(role="approver")
    author.is_staff = True
    author.save()
    version = create_version(model=create_model(owners=[author]), state=State.CHECKED)
    client.force_login(author)
    address = reverse("admin:registry_modelversion_change", args=[version.pk])

    for act in ("retire", "archive"):
        client.post(address, {"act": act, "reason": "from the admin"})

    version.refresh_from_db()
    assert (version.state, version.archived_at is not None) == (State.RETIRED, True)
    assert {event.channel for event in AuditEvent.objects.filter(reason="from the admin")} == {"admin"}


# --- a model's end ---


def test_a_deleted_model_is_gone_for_everybody_and_leaves_its_record(
    author: User, model: RegisteredModel
) -> None:
    version = create_version(model=model)
    request = create_request(version=version)

    endings.delete_model(model, reason="the product ended", actor=author)

    assert not RegisteredModel.objects.visible_to(author).exists()
    assert list(RegisteredModel.objects.tombstones()) == [model]
    event = AuditEvent.objects.get(action="model.deleted")
    assert event.before["versions"] == {"1": version.sha256}
    request.refresh_from_db()
    assert request.state == ReleaseRequest.State.WITHDRAWN


def test_its_short_name_stays_taken(author: User, model: RegisteredModel) -> None:
    endings.delete_model(model, reason="the product ended", actor=author)

    with pytest.raises(Refused) as caught:
        catalog.create_model(slug="loans", name="Loans", task="classification", actor=author)

    assert caught.value.code == "slug_in_use"


def test_a_model_that_answers_is_not_deleted_by_mistake(author: User, model: RegisteredModel) -> None:
    create_release(version=create_version(model=model), environment="staging")

    with pytest.raises(Refused) as caught:
        endings.delete_model(model, reason="the product ended", actor=author)
    with pytest.raises(Invalid) as mistyped:
        endings.delete_model(model, reason="the product ended", confirm="loan", actor=author)

    assert (caught.value.code, "v1 (staging)" in str(caught.value)) == ("still_serving", True)
    assert mistyped.value.errors[0]["field"] == "confirm"
    assert gate.answering_release(model, "staging")


def test_whoever_types_its_name_ends_its_serving_at_that_instant(
    author: User, operator: User, model: RegisteredModel
) -> None:
    release = create_release(version=create_version(model=model))
    before = timezone.now()

    endings.delete_model(model, reason="the product ended", confirm="loans", actor=author)

    stale = RegisteredModel.objects.get()
    for number in (None, release.version.number):
        with pytest.raises(Gone):
            gate.answering_release(stale, version_number=number)
    assert not gate.may_answer(ModelVersion.objects.get())
    assert list(Release.objects.answering()) == []
    answered = history.answered_at(stale, before)
    assert answered and (answered.release, answered.until) == (release, stale.deleted_at)
    assert history.answered_at(stale, timezone.now()) is None
    event = AuditEvent.objects.get(action="model.deleted")
    assert event.before["serving"] == {
        "production": {"release": 1, "version": 1, "sha256": release.version.sha256}
    }


def test_nothing_is_released_once_its_model_is_deleted(
    author: User, operator: User, model: RegisteredModel
) -> None:
    first, second = create_version(model=model), create_version(model=model)
    create_release(version=first)
    create_release(version=second)
    approved = create_approval(version=create_version(model=model))
    endings.delete_model(model, reason="the product ended", confirm="loans", actor=author)
    stale = RegisteredModel.objects.get()

    with pytest.raises(Refused):
        releases.release(stale, version=approved.version, reason="too late", actor=operator)
    with pytest.raises(Refused):
        releases.roll_back(stale, reason="too late", actor=operator)

    assert Release.objects.count() == 2


def test_one_whose_last_release_is_barred_may_be_deleted_and_keeps_its_releases(
    administrator: User, model: RegisteredModel
) -> None:
    release = create_release(version=create_version(model=model))
    ModelVersion.objects.update(state=State.QUARANTINED)

    endings.delete_model(model, reason="never again", actor=administrator)

    assert list(Release.objects.all()) == [release]


@pytest.mark.parametrize("role", ["business", "approver", "operator", "auditor"])
def test_only_owners_and_administrators_delete(role: str, request: Any, model: RegisteredModel) -> None:
    with pytest.raises(Forbidden):
        endings.delete_model(model, reason="away with it", actor=request.getfixturevalue(role))


def test_twice_is_refused(author: User, model: RegisteredModel) -> None:
    endings.delete_model(model, reason="the product ended", actor=author)

    with pytest.raises(Refused) as caught:
        endings.delete_model(model, reason="the product ended", actor=author)

    assert caught.value.code == "deleted"


def test_the_page_asks_for_the_name_and_shows_the_tombstone_to_auditors(
    client: Client, author: User, auditor: User, model: RegisteredModel
) -> None:
    version = create_release(version=create_version(model=model)).version
    client.force_login(author)
    address = reverse("model-delete", args=["loans"])
    assert "v1 ends serving in Production" in client.get(address).content.decode()
    assert client.post(address, {"slug": "loan", "reason": "the product ended"}).status_code == 422

    client.post(address, {"slug": "loans", "reason": "the product ended"})

    assert client.get(model.get_absolute_url()).status_code == 410
    assert client.get(version.get_absolute_url()).status_code == 410
    client.force_login(auditor)
    html = client.get(model.get_absolute_url()).content.decode()
    assert version.sha256 in html
    assert "the product ended" in html
    assert "Loans" in client.get(reverse("model-list")).content.decode()


def test_who_never_knew_of_it_learns_nothing(client: Client, author: User, business: User) -> None:
    model = create_model(slug="secret", owners=[author])
    model.groups.create(name="risk")
    endings.delete_model(model, reason="the product ended", actor=author)
    client.force_login(business)

    assert client.get(model.get_absolute_url()).status_code == 404
    problem(program(business).get("/models/secret/"), 404)


def test_the_api_deletes_and_then_says_gone(author: User, model: RegisteredModel) -> None:
    caller = program(author, "read", "upload", "predict")
    create_release(version=create_version(model=model))
    problem(caller.post("/models/loans/delete/", {"reason": "the product ended"}), 409, "still_serving")

    body = {"reason": "the product ended", "confirm": "loans"}
    assert caller.post("/models/loans/delete/", body).status_code == 204

    problem(caller.get("/models/loans/"), 410, "deleted")
    problem(caller.post("/models/loans/predict/", {"inputs": {}}), 410, "deleted")
    problem(caller.post("/models/loans/delete/", {"reason": "the product ended"}), 410, "deleted")
    assert ok(caller.get("/models/"))["count"] == 0


def test_the_admin_deletes_through_the_same_verb(
    client: Client, administrator: User, model: RegisteredModel
) -> None:
    client.force_login(administrator)
    address = reverse("admin:registry_registeredmodel_change", args=[model.pk])

    assert client.post(address, {"act": "delete", "reason": ""}).status_code == 422
    client.post(address, {"act": "delete", "reason": "asked by its owner"})

    assert RegisteredModel.objects.get().deleted_at
    assert AuditEvent.objects.get(action="model.deleted").channel == "admin"


def test_nothing_that_served_can_be_deleted(model: RegisteredModel) -> None:
    version = create_release(version=create_version(model=model)).version

    for row in (version, model, version.uploaded_by):
        with pytest.raises(ProtectedError), transaction.atomic():
            row.delete()


@pytest.mark.services
@pytest.mark.parametrize("table", TABLES)
def test_every_append_only_table_still_has_its_triggers(table: str) -> None:
    query = {
        "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s",
        "postgresql": "SELECT count(*) FROM pg_trigger WHERE tgname LIKE %s",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query, [f"{table}_no_%"])

        assert cursor.fetchone()[0] >= 2


def test_who_changes_a_model_that_was_just_deleted_does_not_bring_it_back(
    author: User, model: RegisteredModel
) -> None:
    seen_before = RegisteredModel.objects.get(pk=model.pk)
    endings.delete_model(model, reason="nobody asks it", actor=author)

    with pytest.raises(Gone):
        catalog.change_model(seen_before, name="Another name", actor=author)

    model.refresh_from_db()
    assert model.deleted_at is not None


def test_who_changes_a_name_leaves_the_policy_as_somebody_has_just_set_it(
    author: User, model: RegisteredModel
) -> None:
    seen_before = RegisteredModel.objects.get(pk=model.pk)
    policies.change_policy(model, {"extra_approval_for_pickle": True}, actor=author)

    catalog.change_model(seen_before, name="Another name", actor=author)

    model.refresh_from_db()
    assert (model.name, model.policy) == ("Another name", {"extra_approval_for_pickle": True})
