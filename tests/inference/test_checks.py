"""A version goes through its checks for real: runner, reference data, results one by one."""

import io
from typing import Any

import pytest
from django.test import TestCase

from inference.checks import run
from registry.actions import catalog
from registry.models import AuditEvent, CheckResult, Dataset, ModelVersion, RegisteredModel, User
from tests import trained

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def create_model(author: User, **fields: Any) -> RegisteredModel:
    fields = {"slug": "repay", "name": "Repay", "task": "classification", **fields}
    return catalog.create_model(actor=author, **fields)


def upload(author: User, model: RegisteredModel, estimator: Any, target: str, **papers: Any) -> ModelVersion:
    frame = trained.people()[[*trained.INPUTS, target]]
    reference = catalog.add_dataset(
        model, file=io.BytesIO(frame.to_csv(index=False).encode()), filename="people.csv", target=target, actor=author
    )
    return catalog.upload_version(
        model,
        file=io.BytesIO(trained.joblib_bytes(estimator)),
        filename="model.joblib",
        reference=reference,
        target=target,
        actor=author,
        **papers,
    )


def finish(version: ModelVersion) -> dict[str, CheckResult]:
    run.run(version.pk)
    version.refresh_from_db()
    return {each.name: each for each in version.checks.all()}


def test_it_passes_a_sound_version(author: User, modeld: Any) -> None:
    version = upload(author, create_model(author), trained.logistic(), "repaid")

    checks = finish(version)

    assert {name: check.detail for name, check in checks.items() if check.status == "failed"} == {}
    assert version.state == ModelVersion.State.CHECKED
    assert checks["predict"].status == "passed"
    assert version.measured_metrics["accuracy"] > 0.8
    assert version.environment["scikit-learn"] == version.environment["runner"]["scikit-learn"]
    assert AuditEvent.objects.filter(action="version.checked").count() == 1
