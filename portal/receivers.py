"""Signing in and out are events of the record too: who, from where, and who was refused."""

from typing import Any

from allauth.account.signals import password_changed, password_reset, password_set
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import (
    authentication_failed,
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
    authenticator_used,
)
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


@receiver([authenticator_added, authenticator_reset])
def record_second_factor(sender: Any, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    made = Action.USER_RECOVERY_CODES_MADE if _is_codes(authenticator) else Action.USER_SECOND_FACTOR_ADDED
    _record(made, user)


@receiver(authenticator_removed)
def record_lost_factor(sender: Any, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    ended = (
        Action.USER_RECOVERY_CODES_ENDED if _is_codes(authenticator) else Action.USER_SECOND_FACTOR_REMOVED
    )
    _record(ended, user)


@receiver(authenticator_used)
def record_recovery_code(sender: Any, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    """A code of the app is part of every sign-in; one of the printed ones is worth a line of its own."""
    if _is_codes(authenticator):
        authenticator.refresh_from_db()  # what is told of was read before the code was spent
        _record(Action.USER_RECOVERY_CODE_USED, user, left=len(authenticator.wrap().get_unused_codes()))


@receiver(authentication_failed)
def record_failed_factor(sender: Any, user: User, **kwargs: Any) -> None:
    refused = Refused("wrong code of the second factor", code="second_factor_failed")
    audit.record_refusal(Action.USER_SECOND_FACTOR_FAILED, target=user, actor=user, error=refused)


def _is_codes(authenticator: Authenticator) -> bool:
    return bool(authenticator.type == Authenticator.Type.RECOVERY_CODES)


def _record(action: Action, user: User, **details: Any) -> None:
    with transaction.atomic():
        audit.record(action, target=user, actor=user, **details)
