"""Pages, settings and the Celery application: the top of the house."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
