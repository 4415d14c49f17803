"""Compiled forms of versions."""

from django.db import models

from registry.models import ModelVersion


class VersionForm(models.Model):
    """The compiled form that answers for a version: the file's hash, and how it was found to answer alike.

    Made by a version's checks and never changed after them; the file lies among the artifacts, under its hash.
    """

    version = models.OneToOneField(ModelVersion, models.CASCADE, related_name="form")
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    report = models.JSONField(default=dict)
    made_with = models.JSONField(default=dict)
    made_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.version}: {self.sha256[:12]}"

    @property
    def runner_from(self) -> int | None:
        """From so many rows on the runner was measured to be faster."""
        found = self.report.get("runner_from")
        return found if isinstance(found, int) else None


def stored_form(version: ModelVersion) -> VersionForm | None:
    """The version's row; looked up once for each instance of the version, which callers keep."""
    try:
        found: VersionForm = version.form
    except VersionForm.DoesNotExist:
        return None
    return found
