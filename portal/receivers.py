"""Signing in and out are events of the record too: who, from where, and who was refused."""

from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver

from registry import audit
from registry.audit import Action
from registry.errors import Refused
from registry.models import User


@receiver(user_logged_in)
def record_login(sender: Any, user: User, **kwargs: Any) -> None:
    _record(Action.USER_LOGGED_IN, user)


@receiver(user_logged_out)
def record_logout(sender: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        _record(Action.USER_LOGGED_OUT, user)


@receiver([password_changed, password_set, password_reset])
def record_password(sender: Any, user: User, **kwargs: Any) -> None:
    _record(Action.USER_PASSWORD_SET, user)


@receiver(user_login_failed)
def record_failed_login(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    claimed = str(credentials.get("email") or credentials.get("username") or "")[:254]
    refused = Refused("wrong e-mail or password", code="login_failed")
    audit.record_refusal(Action.USER_LOGIN_FAILED, target=None, actor=claimed or "unknown", error=refused)


def _record(action: Action, user: User) -> None:
    with transaction.atomic():
        audit.record(action, target=user, actor=user)
