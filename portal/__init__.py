"""Pages, settings and the Celery application: the top of the house.

Nothing is imported here: `manage.py` comes through on its way from a Python that has no packages yet.
"""
