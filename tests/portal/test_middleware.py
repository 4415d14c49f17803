"""What every request passes."""

import io
import logging
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from registry.actions import people
from registry.models import Role, User
from tests.factories import create_user

pytestmark = pytest.mark.django_db


def lines(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(f"{record.msg} {record.getMessage()}" for record in caplog.records)


def test_no_log_line_holds_a_one_time_link_or_a_question(
    client: Client, administrator: User, caplog: pytest.LogCaptureFixture
) -> None:
    link = people.one_time_link(administrator, actor=people.SYSTEM)
    token = link.rstrip("/").rpartition("/")[2]

    with caplog.at_level(logging.DEBUG):
        client.get(link, follow=True)
        client.force_login(administrator)
        client.get("/models/?q=somebody-ill")

    assert "request_started" in lines(caplog)
    assert token not in lines(caplog)
    assert "somebody-ill" not in lines(caplog)


def test_the_line_of_an_error_holds_no_one_time_link_either(
    client: Client, administrator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_named: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("allauth.account.views.PasswordResetFromKeyView.dispatch", fail)
    handler = next(each for each in logging.getLogger().handlers if each.name == "stderr")
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    client.raise_request_exception = False
    link = people.one_time_link(administrator, actor=people.SYSTEM)
    try:
        assert client.get(link).status_code == 500
    finally:
        handler.setStream(before)

    assert "Internal Server Error: /accounts/password/reset/key/" in written.getvalue()
    assert link.rstrip("/").rpartition("/")[2] not in written.getvalue()


def test_log_lines_carry_the_request_id_that_the_answer_quotes(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = client.get("/livez")

    assert answer["X-Request-ID"] in lines(caplog)


def test_a_visitor_cannot_choose_the_address_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.get("/livez", headers={"X-Forwarded-For": "203.0.113.9"})

    assert "request_started" in lines(caplog)
    assert "203.0.113.9" not in lines(caplog)


def test_no_link_is_printed_where_no_mail_is_set_up(
    client: Client, business: User, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from portal import settings as ours

    settings.EMAIL_BACKEND = ours.EMAIL_BACKEND
    client.post("/accounts/password/reset/", {"email": business.email})

    said = capsys.readouterr()
    assert "/password/reset/key/" not in said.out + said.err


def test_a_service_account_never_signs_in(client: Client) -> None:
    secret = "a long enough phrase"
    create_user(email="robot@example.com", password=secret, roles=[Role.OPERATOR], is_service=True)

    client.post("/accounts/login/", {"login": "robot@example.com", "password": secret})

    assert "_auth_user_id" not in client.session


def test_a_strangers_file_is_refused_before_it_is_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr("django.core.files.uploadhandler.TemporaryFileUploadHandler.receive_data_chunk", fail)
    answer = client.post("/accounts/login/", {"file": SimpleUploadedFile("a", bytes(5 << 20))})

    assert answer.status_code == 413


def test_a_body_that_no_page_takes_is_refused(client: Client, author: User, settings: Any) -> None:
    settings.MODELGATE_MAX_ARTIFACT = settings.MODELGATE_MAX_DATASET = settings.MODELGATE_MAX_BATCH = 0
    client.force_login(author)

    page = client.post("/models/new/", {"file": SimpleUploadedFile("a", bytes(5 << 20))})
    call = client.post("/api/v1/models/", {"file": SimpleUploadedFile("a", bytes(5 << 20))})

    assert (page.status_code, call.status_code) == (413, 413)
