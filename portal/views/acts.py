"""How a page calls a verb: a refusal becomes an error at the form, and an event in the audit log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest

from registry import audit, permissions
from registry.audit import Action
from registry.errors import Forbidden, Refused
from registry.models import Role

Result = TypeVar("Result")
Verb = Callable[..., Any]


def attempt(
    request: HttpRequest,
    form: forms.BaseForm,
    action: Action,
    target: models.Model | None,
    verb: Callable[..., Result],
    /,  # a verb may have arguments with these names
    *args: Any,
    **kwargs: Any,
) -> Result | None:
    """Call `verb` as this person; None when it refused, and then the form says why.

    Who may not do this at all gets the page that says so: there was nothing to mend at the form.
    """
    try:
        with on_the_record(request, action, target):
            return verb(*args, **kwargs, actor=request.user)
    except Forbidden:
        raise
    except Refused as error:
        show(error, form)
        return None


def press(
    request: HttpRequest,
    action: Action,
    target: models.Model | None,
    verb: Callable[..., Result],
    /,
    *args: Any,
    **kwargs: Any,
) -> tuple[bool, Result | None]:
    """`attempt` for a button, which has no form to show: a refusal becomes a message of the next page.

    Whether it was done, and what the verb returned.
    """
    form = forms.Form({})
    made = attempt(request, form, action, target, verb, *args, **kwargs)
    if form.errors:
        messages.error(request, problems(form))
    return not form.errors, made


@contextmanager
def on_the_record(request: HttpRequest, action: Action, target: models.Model | None) -> Iterator[None]:
    """A refusal inside is an event of the audit log, whoever shows it afterwards."""
    try:
        yield
    except Refused as error:
        audit.record_refusal(action, target=target, actor=request.user, error=error)
        raise


def problems(form: forms.BaseForm) -> str:
    """Everything that is wrong with a form, in one line, for a page that does not show the form."""
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def require_role(
    request: HttpRequest, action: Action, target: models.Model | None, allowed: bool, role: Role
) -> None:
    """The door before a form: who lacks the role is told so, whatever the form holds, and it is written down."""
    with on_the_record(request, action, target):
        permissions.require_role(allowed, role)


def show(error: Refused, form: forms.BaseForm) -> None:
    """Each mistake at its field where the form has that field, the rest on top."""
    placed = False
    for each in error.errors:
        name = str(each.get("field", "")).split(".")[0]
        text = str(each.get("fix") or each.get("expected") or error)
        if name in form.fields:
            form.add_error(name, text)
            placed = True
        elif each.get("field") and text != str(error):
            form.add_error(None, f"{each['field']}: {text}")
            placed = True
    if not placed:
        form.add_error(None, " ".join(part for part in (str(error), error.fix) if part))
