"""The page of outcomes: a file, one by one, corrected; and predictions that are erased."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from inference import batches, records
from inference.models import BatchJob, Feedback
from inference.predictions import predict
from registry.models import AuditEvent, Release, Role, User
from tests import factories
from tests.inference import answers, batch_tools

pytestmark = pytest.mark.django_db


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Release:
    answers.install(monkeypatch)
    return factories.create_release()


@pytest.fixture
def asked(release: Release, business: User) -> str:
    return predict(release.model, [answers.row()], actor=business, channel="api").rows[0].id


def page(release: Release) -> str:
    return reverse("model-outcomes", args=[release.model.slug])


def outcomes_csv(*lines: str) -> SimpleUploadedFile:
    return SimpleUploadedFile("outcomes.csv", "\n".join(["prediction,actual", *lines]).encode())


def test_a_business_user_uploads_outcomes_and_corrects_one(
    client: Client, release: Release, business: User, asked: str
) -> None:
    client.force_login(business)
    sent = client.post(
        page(release), {"act": "upload", "file": outcomes_csv(f"{asked},yes", "p_nobody,no")}, follow=True
    )
    assert "1 outcome is recorded." in sent.text
    assert "p_nobody" in sent.text

    form = client.get(page(release), {"prediction": asked})
    assert f'value="{asked}"' in form.text
    corrected = client.post(page(release), {"act": "one", "prediction": asked, "actual": "no"}, follow=True)

    assert "1 is corrected" in corrected.text
    assert [each.actual for each in Feedback.objects.current()] == ["no"]


def test_mistakes_stay_on_the_page(client: Client, release: Release, business: User, asked: str) -> None:
    client.force_login(business)

    wrong = client.post(page(release), {"act": "upload", "file": outcomes_csv(f"{asked},perhaps")})
    unknown = client.post(page(release), {"act": "one", "prediction": "p_x", "actual": "no"})

    assert (wrong.status_code, unknown.status_code) == (422, 422)
    assert "line 2, actual" in wrong.text
    assert "No prediction of this model has this id." in unknown.text
    assert not Feedback.objects.exists()


def test_an_owner_erases_and_others_do_not_see_the_form(
    client: Client, release: Release, business: User, asked: str
) -> None:
    client.force_login(business)
    assert 'value="erase"' not in client.get(page(release)).text
    refused = client.post(page(release), {"act": "erase", "predictions": asked, "reason": "curious"})
    assert refused.status_code == 403
    owner = factories.create_user(email="owner@example.com", roles=[Role.AUTHOR])
    release.model.owners.add(owner)
    client.force_login(owner)

    done = client.post(
        page(release), {"act": "erase", "predictions": f"{asked}, p_nobody", "reason": "asked"}, follow=True
    )

    assert "1 prediction is erased." in done.text
    assert "p_nobody" in done.text
    assert records.find(asked) is None
    assert AuditEvent.objects.get(action="prediction.erased", result="done").reason == "asked"


def test_a_row_of_a_batch_is_erased_once_its_job_is_done(
    client: Client, release: Release, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_tools.use_runner(monkeypatch)
    job = batch_tools.finish(batch_tools.start(release, business))
    row = {"act": "erase", "predictions": batches.prediction_id(job, 1), "reason": "asked"}
    client.force_login(factories.create_user(email="admin@example.com", roles=[Role.ADMIN]))

    BatchJob.objects.update(state=BatchJob.State.RUNNING)
    early = client.post(page(release), row)
    BatchJob.objects.update(state=job.state)
    done = client.post(page(release), row, follow=True)

    assert early.status_code == 422 and "is not finished" in early.text
    assert "1 prediction is erased." in done.text
