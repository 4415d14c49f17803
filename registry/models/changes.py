"""One mark for everything that decides who may ask which version."""

from django.db import models


class ChangeMark(models.Model):
    """A word that is another one after every change of keys, roles, people, models, versions or releases.

    The database writes it itself (`registry/triggers.py`): no verb can forget it, nor a person with SQL.
    """

    mark = models.CharField(max_length=36)

    def __str__(self) -> str:
        return self.mark
