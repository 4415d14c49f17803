"""Commands for administrators and scripts: thin, recorded as commands, refusals in a sentence."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, get_commands
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client

from inference.predictions import predict
from portal import units
from registry import audit, triggers
from registry.audit_export import SCRIPT, export
from registry.models import ApiKey, AuditEvent, Role, User
from tests import factories
from tests.inference import answers

pytestmark = pytest.mark.django_db


def run(*arguments: str, **options: Any) -> list[str]:
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue().splitlines()


class TestAdduser:
    def test_it_invites_with_roles_and_a_link_that_works_once(self, client: Client) -> None:
        link = run("adduser", "ana@example.com", "--role", "author,approver", "--name", "Ana")[-1]

        ana = User.objects.get(email="ana@example.com")
        assert ana.roles == {Role.AUTHOR, Role.APPROVER}
        assert not ana.has_usable_password()
        path = "/" + link.split("/", 3)[3]
        page = client.get(path, follow=True)
        choice = {"password1": "a long enough one 7", "password2": "a long enough one 7"}
        client.post(page.redirect_chain[-1][0], choice)
        ana.refresh_from_db()
        assert ana.check_password("a long enough one 7")
        ana.set_unusable_password()
        ana.save()
        Client().get(path, follow=True)
        assert not User.objects.get(pk=ana.pk).has_usable_password()

    def test_it_is_recorded_as_a_command(self) -> None:
        run("adduser", "ana@example.com", "--role", "author")

        invited = AuditEvent.objects.get(action=audit.Action.USER_INVITED)
        assert (invited.channel, invited.actor_name) == ("command", "system")

    def test_it_takes_a_password_from_a_script(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))

        said = run("adduser", "ana@example.com", "--role", "author", "--password-stdin")

        assert User.objects.get(email="ana@example.com").check_password("correct horse battery")
        assert "http" not in "".join(said)

    def test_it_refuses_a_weak_password_and_invites_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("123\n"))

        with pytest.raises(CommandError, match="too short"):
            run("adduser", "ana@example.com", "--password-stdin")

        assert not User.objects.filter(email="ana@example.com").exists()

    def test_it_names_the_roles_there_are(self) -> None:
        with pytest.raises(CommandError, match="approver"):
            run("adduser", "ana@example.com", "--role", "boss")

    def test_it_refuses_a_second_account_for_one_address(self) -> None:
        run("adduser", "ana@example.com")

        with pytest.raises(CommandError, match="has an account already"):
            run("adduser", "Ana@example.com")


class TestSignin:
    def test_it_prints_a_link_alone(self, author: User) -> None:
        [link] = run("signin", author.email)

        assert "/accounts/password/reset/key/" in link
        assert AuditEvent.objects.filter(
            action=audit.Action.USER_LINK_ISSUED, target_id=str(author.pk)
        ).exists()

    def test_it_says_who_is_not_here(self) -> None:
        with pytest.raises(CommandError, match="adduser"):
            run("signin", "nobody@example.com")


class TestApikey:
    def test_the_last_line_is_the_secret_alone(self, business: User) -> None:
        secret = run("apikey", business.email, "--actions", "predict,read", "--days", "7")[-1]

        key = ApiKey.objects.get()
        assert key.digest == ApiKey.digest_of(secret)
        assert (key.user, sorted(key.actions), key.all_models) == (business, ["predict", "read"], True)

    def test_it_can_be_held_to_some_models(self, business: User) -> None:
        model = factories.create_model(slug="income")

        run("apikey", business.email, "--models", "income", "--actions", "predict")

        assert list(ApiKey.objects.get().only_models.all()) == [model]

    def test_it_gives_no_more_than_the_owner_may(self, business: User) -> None:
        with pytest.raises(CommandError, match="approve"):
            run("apikey", business.email, "--actions", "approve")

    def test_it_names_the_models_there_are(self, business: User) -> None:
        factories.create_model(slug="income")

        with pytest.raises(CommandError, match="income"):
            run("apikey", business.email, "--models", "incme", "--actions", "predict")


class TestRollback:
    def test_it_says_what_answers_now(self, operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
        model = factories.create_model(slug="income")
        asked: dict[str, Any] = {}

        def roll_back(model: Any, **how: Any) -> Any:
            asked.update(how, model=model)
            return type("Made", (), {"version": "income v1", "number": 3})()

        monkeypatch.setattr("registry.actions.releases.roll_back", roll_back)

        said = run("rollback", "income", "--reason", "v2 is wrong", "--by", operator.email, "--expect", "2")

        assert said == ["income v1 answers in production (release 3)."]
        assert asked == {
            "model": model,
            "environment": "production",
            "reason": "v2 is wrong",
            "to": None,
            "expect": 2,
            "actor": operator,
        }

    def test_a_refusal_is_told_and_recorded(self, author: User) -> None:
        factories.create_model(slug="income")

        with pytest.raises(CommandError):
            run("rollback", "income", "--reason", "because", "--by", author.email)

        refused = AuditEvent.objects.get(action=audit.Action.RELEASE_ROLLED_BACK)
        assert (refused.result, refused.channel, refused.actor_name) == ("refused", "command", author.email)


class TestAuditVerify:
    def test_an_intact_log_is_said_to_be(self) -> None:
        run("adduser", "ana@example.com", "--role", "author")

        assert "intact" in run("audit_verify")[0]

    def test_an_export_is_verified_with_our_own_key_and_seals(self, auditor: User, tmp_path: Path) -> None:
        run("adduser", "ana@example.com", "--role", "author")
        lines = b"".join(export(AuditEvent.objects.all(), "jsonl", chosen={}, actor=auditor))  # type: ignore[arg-type]
        (tmp_path / "audit.jsonl").write_bytes(lines)

        assert "made with this key" in "".join(run("audit_verify", str(tmp_path / "audit.jsonl")))
        (tmp_path / "audit.jsonl").write_bytes(lines.replace(b"ana@", b"eve@"))
        with pytest.raises(CommandError, match="BROKEN at #"):
            run("audit_verify", str(tmp_path / "audit.jsonl"))

    def test_it_prints_the_verifier_that_runs_anywhere(self) -> None:
        assert run("audit_verify", "--script") == SCRIPT.read_text().splitlines()

    def test_an_altered_event_is_named(self) -> None:
        run("adduser", "ana@example.com", "--role", "author")
        triggers.remove(connection)
        try:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE registry_auditevent SET actor_name = 'somebody else' WHERE seq = 2")
        finally:
            triggers.install(connection)

        with pytest.raises(CommandError, match="breaks at event 2") as caught:
            run("audit_verify")
        assert caught.value.returncode == 1


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("web", ["uvicorn", "portal.asgi:application", "--port", "9000"]),
        ("worker", ["celery", "-A", "portal", "worker"]),
        ("beat", ["celery", "-A", "portal", "beat"]),
        ("modeld", ["inference.modeld", "--socket", "--store"]),
    ],
)
def test_a_production_unit_becomes_the_process_itself(
    unit: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, command: became.append(command))
    monkeypatch.setattr(os, "chdir", lambda folder: None)

    run(unit, *(["--port", "9000"] if unit == "web" else []))

    [command] = became
    assert [word for word in dict.fromkeys(command) if word in words] == words


def test_only_up_starts_a_scheduler_with_its_worker() -> None:
    assert "--beat" not in units.worker()
    assert "--beat" in units.worker(with_beat=True)


def test_every_command_of_ours_says_what_it_does() -> None:
    ours = [
        name
        for name, app in get_commands().items()
        if app in ("portal", "registry", "inference", "monitoring")
    ]

    assert {
        "up",
        "test",
        "web",
        "worker",
        "beat",
        "modeld",
        "adduser",
        "signin",
        "apikey",
        "rollback",
    } <= set(ours)


class TestErasePredictions:
    def test_it_erases_and_says_what_it_does_not_know(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers.install(monkeypatch)
        release, admin = factories.create_release(), factories.create_user(roles=[Role.ADMIN])
        business = factories.create_user(roles=[Role.BUSINESS])
        [row] = predict(release.model, [answers.row()], actor=business, channel="api").rows

        said = run("erase_predictions", row.id, "p_nothing", reason="asked by the person", by=admin.email)

        assert said == ["1 erased, with 0 outcomes.", "p_nothing: nothing is known under this id"]
        event = AuditEvent.objects.get(action=audit.Action.PREDICTION_ERASED)
        assert (event.channel, event.actor_name) == ("command", str(admin))

    def test_who_may_not_is_told_and_it_is_recorded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers.install(monkeypatch)
        release, business = factories.create_release(), factories.create_user(roles=[Role.BUSINESS])
        [row] = predict(release.model, [answers.row()], actor=business, channel="api").rows

        with pytest.raises(CommandError, match="Only an owner"):
            run("erase_predictions", row.id, reason="curious", by=business.email)

        refused = AuditEvent.objects.get(action=audit.Action.PREDICTION_ERASED)
        assert refused.result == "refused"
