"""The rules of a model: who changes them, and what becomes of the requests that were made under the old ones."""

from functools import partial
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.translation import gettext as _

from registry import audit, permissions, signals
from registry.actions import approvals
from registry.audit import Action
from registry.errors import Invalid
from registry.models import RegisteredModel
from registry.policy import Policy, differences


@transaction.atomic
def change_policy(model: RegisteredModel, policy: Any, *, actor: Any) -> RegisteredModel:
    """Set the whole policy; what is left out has its default. Owners and administrators.

    A request that somebody made under other rules becomes stale at once: nobody lowers the bar for what waits.
    """
    permissions.require(
        permissions.can_change_policy(actor, model),
        _("Only an owner or an administrator may change the policy of this model."),
        code="not_owner",
    )
    # Two people at once: the second one's "before" is what the first one wrote.
    model.policy = (
        RegisteredModel.objects.select_for_update().values_list("policy", flat=True).get(pk=model.pk)
    )
    before, after = model.rules, Policy.read(policy, model.task)
    _require_teams(after.approver_groups)
    if after == before:
        return model
    model.policy = after.to_json()
    model.save(update_fields=["policy"])
    under_the_old = approvals.lock_open(model)
    audit.record(
        Action.MODEL_POLICY_CHANGED,
        target=model,
        actor=actor,
        before=before.to_json(),
        after=after.to_json(),
        changes=differences(before, after),
    )
    approvals.settle_all(under_the_old)
    transaction.on_commit(partial(signals.policy_changed.send, sender=RegisteredModel, model_id=model.pk))
    return model


def _require_teams(names: tuple[str, ...]) -> None:
    known = set(Group.objects.filter(name__in=names).values_list("name", flat=True))
    unknown = [name for name in names if name not in known]
    if unknown:
        message = _("There is no team called %(names)s.") % {"names": ", ".join(unknown)}
        there = ", ".join(Group.objects.order_by("name").values_list("name", flat=True)[:40])
        raise Invalid(
            message,
            code="bad_policy",
            errors=[
                {
                    "field": "policy.approver_groups",
                    "code": "unknown_team",
                    "expected": there,
                    "fix": _("Name teams that exist."),
                }
            ],
        )
