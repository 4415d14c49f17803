"""Where the bulk of older predictions lies: columnar files, and the files that nothing needs."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models import ModelVersion


class ColdFile(models.Model):
    """One Parquet file with predictions of one version and one day (UTC). Replaced as a whole when one is erased."""

    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="cold_files")
    day = models.DateField()
    number = models.PositiveIntegerField(help_text=_("among the files of the version's day, from 1"))
    key = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    rows = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["version", "day"], name="inference_cold_file_day")]

    def __str__(self) -> str:
        return self.key


class Leftover(models.Model):
    """A stored file that no row points to: it is being written, or is not needed any more. Deleted once due."""

    key = models.CharField(max_length=200, unique=True)
    due = models.DateTimeField()
    is_going = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.key
