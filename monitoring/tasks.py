"""Doorways for Celery: an id in, a verb called. Running one twice is harmless."""

import structlog
from celery import shared_task

from monitoring import actions, reference
from registry.errors import Refused
from registry.models import ModelVersion, RegisteredModel

logger = structlog.get_logger(__name__)


@shared_task(soft_time_limit=300, time_limit=330)
def build_reference(version_id: int) -> None:
    """Profile the reference data of a version that has been checked."""
    version = ModelVersion.objects.select_related("model", "reference").filter(pk=version_id).first()
    if version is not None:
        reference.build(version)


@shared_task(soft_time_limit=120, time_limit=150)
def run_check(model_id: int, environment: str) -> None:
    """Judge the current window of a model."""
    model = RegisteredModel.objects.filter(pk=model_id).first()
    if model is None:
        return
    try:
        verdict = actions.run_check(model, environment)
    except Refused as refusal:
        logger.info("check_refused", model=model.slug, reason=refusal.code)
    else:
        logger.info("checked", model=model.slug, state=verdict.state, rows=verdict.rows)
