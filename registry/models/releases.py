"""What answers where, since when, and why."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from registry.models.catalog import ModelVersion, RegisteredModel

PRODUCTION = "production"


class Environment(models.Model):
    """A place where versions answer: staging, production; more may be added."""

    slug = models.SlugField(max_length=20, unique=True)
    name = models.CharField(max_length=60)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position"]

    def __str__(self) -> str:
        return self.name


class ReleaseQuerySet(models.QuerySet["Release"]):
    def of(self, model: RegisteredModel, environment: str = PRODUCTION) -> "ReleaseQuerySet":
        return self.filter(model=model, environment__slug=environment).select_related(
            "version", "version__model", "environment", "released_by"
        )

    def current(self, model: RegisteredModel, environment: str = PRODUCTION) -> "Release | None":
        """The release that answers now: the one with the highest number."""
        return self.of(model, environment).order_by("-number").first()

    def with_origin(self) -> "ReleaseQuerySet":
        return self.select_related("request", "restores__request")

    def answering(self) -> "ReleaseQuerySet":
        """The release that answers now, for each model that is not deleted and each environment."""
        newer = Release.objects.filter(
            model=OuterRef("model"), environment=OuterRef("environment"), number__gt=OuterRef("number")
        )
        return self.filter(~Exists(newer), model__deleted_at=None)

    def at(self, model: RegisteredModel, time: datetime, environment: str = PRODUCTION) -> "Release | None":
        """The release that answered at `time`."""
        return self.of(model, environment).filter(created_at__lte=time).order_by("-number").first()


class Release(models.Model):
    """From this instant, this environment of this model answers with this version. Append-only.

    The unique number is the compare-and-set: of two people who act at once on the same
    number, the database lets one through. A rollback is a new row that names what it restores.
    """

    class Kind(models.TextChoices):
        RELEASE = "release", _("Release")
        ROLLBACK = "rollback", _("Rollback")
        AUTO_ROLLBACK = "auto_rollback", _("Automatic rollback")

    class Mode(models.TextChoices):
        FULL = "full", _("Full")
        CANARY = "canary", _("Canary")
        SHADOW = "shadow", _("Shadow")

    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="releases")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="+")
    number = models.PositiveIntegerField(_("number"))
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="releases")
    kind = models.CharField(_("kind"), max_length=13, choices=Kind, default=Kind.RELEASE)
    mode = models.CharField(_("mode"), max_length=6, choices=Mode, default=Mode.FULL)
    #: How the traffic is shared where the mode is not full: `{"percent": 10}` of a canary. None: all of it.
    traffic = models.JSONField(null=True, blank=True)
    reason = models.TextField(_("reason"), max_length=2000)
    request = models.ForeignKey(
        "registry.ReleaseRequest", models.PROTECT, null=True, blank=True, related_name="releases"
    )
    restores = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")
    released_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(_("since"), default=timezone.now)

    objects = ReleaseQuerySet.as_manager()

    class Meta:
        ordering = ["model", "environment", "-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "environment", "number"], name="registry_release_number_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.version} in {self.environment.slug} (r{self.number})"

    @property
    def until(self) -> datetime | None:
        """When the next release took over, or the model was deleted; None while this one answers."""
        replaced = Release.objects.filter(
            model_id=self.model_id, environment_id=self.environment_id, number=self.number + 1
        )
        model = RegisteredModel.objects.filter(pk=self.model_id)
        return (
            replaced.values_list("created_at", flat=True).first()
            or model.values_list("deleted_at", flat=True).first()
        )


class Freeze(models.Model):
    """After a rollback nothing new is released here until somebody lifts the freeze."""

    release = models.OneToOneField(Release, models.PROTECT, related_name="freeze")
    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="freezes")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="+")
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    lift_reason = models.TextField(max_length=2000, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["model", "environment"], condition=Q(lifted_at=None), name="registry_one_open_freeze"
            ),
        ]

    def __str__(self) -> str:
        return f"freeze of {self.model.slug} in {self.environment.slug}"
