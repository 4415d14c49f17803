"""The pages where files are scored: start, watch, stop, take away."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from inference.batches import prediction_id
from inference.models import BatchJob
from registry.models import AuditEvent, Release, User
from tests import factories
from tests.inference.batch_tools import PlainRunner, finish, rows_csv, start, use_runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(business: User) -> Release:
    return factories.create_release()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> PlainRunner:
    return use_runner(monkeypatch)


@pytest.fixture
def page(client: Client, business: User) -> Client:
    client.force_login(business)
    return client


def body(response: Any) -> str:
    if response.streaming:
        return b"".join(response.streaming_content).decode()
    return str(response.content.decode())


def test_it_offers_the_template_the_limits_and_the_columns(page: Client, release: Release) -> None:
    text = body(page.get(reverse("batch-new", args=[release.model.slug])))

    assert reverse("batch-template", args=[release.model.slug]) in text
    assert "2.0" in text and "10,000,000 rows" in text and ">income</code>" in text


def test_a_model_that_does_not_answer_says_so(page: Client) -> None:
    version = factories.create_version()
    assert "No approved version" in body(page.get(reverse("batch-new", args=[version.model.slug])))


def test_an_upload_leads_to_the_page_of_its_job(page: Client, release: Release) -> None:
    file = SimpleUploadedFile("people.csv", rows_csv(3))
    response = page.post(
        reverse("batch-new", args=[release.model.slug]),
        {"file": file, "on_invalid": "stop", "delimiter": "tab"},
    )

    job = BatchJob.objects.get()
    assert response.headers["Location"] == reverse("batch-detail", args=[job.public_id])
    assert job.options == {"on_invalid": "stop", "delimiter": "\t"}


def test_a_refused_upload_says_why_at_the_form_and_in_the_audit_log(page: Client, release: Release) -> None:
    file = SimpleUploadedFile("people.csv", b"%PDF-1.7")
    response = page.post(reverse("batch-new", args=[release.model.slug]), {"file": file})

    assert response.status_code == 422 and "a PDF" in body(response)
    assert AuditEvent.objects.get(action="batch.started").result == "refused"


def test_a_running_job_asks_for_its_progress_and_a_finished_one_does_not(
    page: Client, release: Release, business: User, runner: PlainRunner
) -> None:
    job = start(release, business, rows_csv(30, bad=2))
    assert 'hx-trigger="every 1s"' in body(page.get(reverse("batch-detail", args=[job.public_id])))

    finish(job)
    text = body(page.get(reverse("batch-detail", args=[job.public_id])))

    assert 'hx-trigger="every 1s"' not in text
    assert "32 = 30 scored + 2 invalid + 0 ignored" in text
    assert "age: not a number" in text and reverse("batch-problems", args=[job.public_id]) in text


def test_progress_is_said_aloud_at_each_quarter_only(page: Client, release: Release, business: User) -> None:
    job = start(release, business)
    BatchJob.objects.filter(pk=job.pk).update(state="running", total=100, scored=60)
    url = reverse("batch-progress", args=[job.public_id])

    assert "50 % scored" in body(page.get(url, {"told": "25"}))
    assert "announcer" not in body(page.get(url, {"told": "50"}))
    assert 'data-title="(60 %) people.csv' in body(page.get(url, {"told": "50"}))


def test_it_sends_the_result_and_the_problems_as_attachments(
    page: Client, release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, rows_csv(5, bad=1), filename='../x"\r\ny.csv'))

    result = page.get(reverse("batch-result", args=[job.public_id]))
    assert result.headers["Content-Disposition"].startswith("attachment; filename=")
    assert (
        "\r" not in result.headers["Content-Disposition"]
        and ".." not in result.headers["Content-Disposition"]
    )
    assert body(result).startswith("\ufeffage,income,city,name,prediction,probability_no")
    assert "how_to_fix" in body(page.get(reverse("batch-problems", args=[job.public_id])))
    raw = body(page.get(reverse("batch-result", args=[job.public_id]), {"as": "csv-raw"}))
    assert raw.startswith("age,income")
    parquet: Any = page.get(reverse("batch-result", args=[job.public_id]), {"as": "parquet"})
    assert b"".join(parquet.streaming_content).startswith(b"PAR1")
    assert AuditEvent.objects.filter(action="batch.downloaded").count() == 4


def test_a_result_is_refused_before_the_end_and_gone_after_its_time(
    page: Client, release: Release, business: User
) -> None:
    job = start(release, business)
    url = reverse("batch-result", args=[job.public_id])
    assert page.get(url).status_code == 409

    BatchJob.objects.filter(pk=job.pk).update(state="expired")
    assert page.get(url).status_code == 410


def test_stop_retry_and_delete(page: Client, release: Release, business: User, runner: PlainRunner) -> None:
    job = start(release, business)
    for name, state in (("batch-cancel", "cancelled"), ("batch-retry", "uploaded")):
        response = page.post(reverse(name, args=[job.public_id]))
        job.refresh_from_db()
        assert response.status_code == 302 and job.state == state
    finish(job)
    page.post(reverse("batch-delete", args=[job.public_id]))
    job.refresh_from_db()
    assert job.state == "expired" and job.scored == 3
    assert "not running" in body(page.post(reverse("batch-cancel", args=[job.public_id]), follow=True))


def test_other_peoples_jobs_are_hidden_and_operators_see_no_rows(
    client: Client, release: Release, business: User, operator: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business))
    url = reverse("batch-detail", args=[job.public_id])
    client.force_login(factories.create_user(roles=["business"]))
    assert client.get(url).status_code == 404

    client.force_login(operator)
    assert "Only the person who started this job" in body(client.get(url))
    assert client.get(reverse("batch-result", args=[job.public_id])).status_code == 403


def test_the_list_can_be_filtered(page: Client, release: Release, business: User) -> None:
    start(release, business, filename="one.csv")
    assert "one.csv" in body(page.get(reverse("batch-list")))
    assert "one.csv" not in body(page.get(reverse("batch-list"), {"state": "failed"}))
    assert "one.csv" in body(page.get(reverse("batch-list"), {"model": release.model.slug}))


def test_an_empty_list_says_what_to_do(page: Client) -> None:
    assert "No batches yet" in body(page.get(reverse("batch-list")))


def test_templates_hold_the_columns_and_real_rows(page: Client, release: Release) -> None:
    url = reverse("batch-template", args=[release.model.slug])
    assert body(page.get(url)) == "\ufeffage,income,city\n"
    assert body(page.get(url, {"rows": "10"})) == "\ufeffage,income,city\n24,1200.5,Pune\n"


def test_problems_show_values_only_to_those_who_may_read_rows(
    client: Client, release: Release, business: User, operator: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business, rows_csv(5, bad=1)))
    url = reverse("batch-detail", args=[job.public_id])
    client.force_login(business)
    assert "<code>old</code>" in body(client.get(url))

    client.force_login(operator)
    text = body(client.get(url))
    assert "age: not a number" in text and "<code>old</code>" not in text


def test_a_row_has_a_page_of_its_own(
    page: Client, release: Release, business: User, runner: PlainRunner
) -> None:
    job = finish(start(release, business))
    text = body(page.get(reverse("prediction", args=[prediction_id(job, 2)])))

    assert "Pune" in text or "Delhi" in text
    assert page.get(reverse("prediction", args=[prediction_id(job, 3)])).status_code == 404
