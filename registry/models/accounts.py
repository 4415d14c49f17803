"""People, their roles, and the keys of their programs."""

import hashlib
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """What a person does here. Being a superuser implies none of them."""

    BUSINESS = "business", _("Business user")
    AUTHOR = "author", _("Data scientist")
    APPROVER = "approver", _("Approver")
    OPERATOR = "operator", _("Operator")
    AUDITOR = "auditor", _("Auditor")
    INTEGRATOR = "integrator", _("Integrator")
    ADMIN = "admin", _("Administrator")


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())


class User(AbstractUser):
    """A person who signs in by e-mail, or a service account that only has keys."""

    username = None  # type: ignore[assignment]
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=150, blank=True)
    is_service = models.BooleanField(_("service account"), default=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.email

    @property
    def display_name(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        return self.display_name

    def get_short_name(self) -> str:
        return self.display_name

    @cached_property
    def roles(self) -> frozenset[str]:
        """Names of the roles granted to this person; cached for the life of the object."""
        return frozenset(self.grants.values_list("role", flat=True)) if self.is_active else frozenset()


class RoleGrant(models.Model):
    """This person has this role, since then, by that administrator's word."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="grants")
    role = models.CharField(max_length=12, choices=Role)
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    granted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "role"], name="registry_role_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="registry_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role}"


class KeyAction(models.TextChoices):
    """What a key may be used for; never more than its owner's roles allow."""

    READ = "read", _("Read")
    PREDICT = "predict", _("Predict")
    BATCH = "batch", _("Score files")
    FEEDBACK = "feedback", _("Report outcomes")
    UPLOAD = "upload", _("Upload")
    REQUEST = "request", _("Ask for approval")
    APPROVE = "approve", _("Approve")
    RELEASE = "release", _("Release")
    ROLLBACK = "rollback", _("Roll back")
    MONITOR = "monitor", _("Monitor")
    AUDIT = "audit", _("Read the audit log")


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self, at: datetime | None = None) -> "ApiKeyQuerySet":
        return self.filter(revoked_at=None, expires_at__gt=at or timezone.now(), user__is_active=True)

    def with_secret(self, secret: str) -> "ApiKeyQuerySet":
        return self.filter(digest=ApiKey.digest_of(secret))


class ApiKey(models.Model):
    """A program's scoped, expiring key. Only the SHA-256 of its 256 random bits is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    actions = models.JSONField(default=list)
    all_models = models.BooleanField(default=False)
    only_models = models.ManyToManyField("registry.RegisteredModel", blank=True, related_name="+")
    rate = models.PositiveIntegerField(
        null=True, blank=True, help_text=_("predictions calls a minute; empty: as many as it likes")
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"

    @staticmethod
    def digest_of(secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()

    def allows(self, action: str, model: Any = None) -> bool:
        """May this key be used for `action`, on `model` where one is named?"""
        if action not in self.actions:
            return False
        return model is None or self.all_models or self.only_models.filter(pk=model.pk).exists()

    @property
    def state(self) -> str:
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at <= timezone.now() else "active"
