"""The doorway of the worker."""

from celery import shared_task

from inference.checks import frozen, gates, run


@shared_task(ignore_result=True, acks_late=True)
def check_version(version_id: int) -> None:
    """Check a version, unless that is done or being done. Each step has its own deadline."""
    run.run(version_id)


@shared_task(ignore_result=True, acks_late=True)
def judge_model(model_id: int) -> None:
    """Judge the quality gates of a model's versions again, where that is not done."""
    gates.judge_model(model_id)


@shared_task(ignore_result=True, acks_late=True)
def freeze_golden_rows(version_id: int) -> None:
    """Freeze the answers of a version that was released before golden rows were kept, unless they are kept by now."""
    frozen.freeze_late(version_id)
