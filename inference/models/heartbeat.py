"""Signs of life of the processes that work in the background."""

from datetime import timedelta

from django.db import models
from django.utils import timezone


class Heartbeat(models.Model):
    """When a named process last showed that it works."""

    name = models.CharField(max_length=100, unique=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%d %H:%M:%S}"


def beat(name: str) -> None:
    """Say that `name` lives now."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": timezone.now()})


def is_fresh(name: str, seconds: float) -> bool:
    """Tell whether `name` showed life within the last so many seconds."""
    return Heartbeat.objects.filter(name=name, at__gte=timezone.now() - timedelta(seconds=seconds)).exists()
