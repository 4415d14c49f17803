"""How often somebody has tried to check a version."""

from django.db import models

from registry.models import ModelVersion


class CheckAttempts(models.Model):
    """Workers that began with a version's checks since they were started; one that ended them takes the row away."""

    version = models.OneToOneField(ModelVersion, models.CASCADE, related_name="+")
    count = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.version}: {self.count}"
