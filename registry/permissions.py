"""Who may do what: one table, asked by verbs, API, admin and templates alike."""

from typing import Any

from django.utils.translation import gettext as _

from registry.errors import Forbidden
from registry.models import KeyAction, ModelVersion, RegisteredModel, ReleaseRequest, Role

#: What each action of a key needs of its owner: at least one of these roles.
KEY_NEEDS: dict[str, frozenset[str]] = {
    KeyAction.READ: frozenset(Role.values),
    KeyAction.PREDICT: frozenset({Role.BUSINESS, Role.AUTHOR, Role.APPROVER, Role.OPERATOR, Role.INTEGRATOR}),
    KeyAction.BATCH: frozenset({Role.BUSINESS, Role.AUTHOR, Role.APPROVER, Role.OPERATOR, Role.INTEGRATOR}),
    KeyAction.FEEDBACK: frozenset({Role.BUSINESS, Role.AUTHOR, Role.INTEGRATOR}),
    KeyAction.UPLOAD: frozenset({Role.AUTHOR}),
    KeyAction.REQUEST: frozenset({Role.AUTHOR}),
    KeyAction.APPROVE: frozenset({Role.APPROVER}),
    KeyAction.RELEASE: frozenset({Role.OPERATOR}),
    KeyAction.ROLLBACK: frozenset({Role.OPERATOR}),
    KeyAction.MONITOR: frozenset(Role.values),
    KeyAction.AUDIT: frozenset({Role.AUDITOR, Role.ADMIN}),
}


def has_role(user: Any, *roles: str) -> bool:
    return bool(user.is_authenticated and user.is_active and user.roles & set(roles))


def can_see(user: Any, model: RegisteredModel) -> bool:
    return RegisteredModel.objects.visible_to(user).filter(pk=model.pk).exists()


def can_create_model(user: Any) -> bool:
    return has_role(user, Role.AUTHOR)


def can_upload(user: Any, model: RegisteredModel) -> bool:
    return has_role(user, Role.AUTHOR) and can_see(user, model)


def can_change_model(user: Any, model: RegisteredModel) -> bool:
    return is_author_and_owner(user, model) and model.is_present


def is_author_and_owner(user: Any, model: RegisteredModel) -> bool:
    return has_role(user, Role.AUTHOR) and model.is_owned_by(user)


def can_change_policy(user: Any, model: RegisteredModel) -> bool:
    return (has_role(user, Role.ADMIN) and can_see(user, model)) or can_change_model(user, model)


def can_delete_model(user: Any, model: RegisteredModel) -> bool:
    return is_author_and_owner(user, model) or has_role(user, Role.ADMIN)


def can_see_tombstones(user: Any) -> bool:
    return can_see_audit(user)


def can_edit_draft(user: Any, version: ModelVersion) -> bool:
    return has_role(user, Role.AUTHOR) and version.uploaded_by_id == user.pk and version.model.is_present


def can_request(user: Any, version: ModelVersion) -> bool:
    return has_role(user, Role.AUTHOR) and can_see(user, version.model)


def can_decide(user: Any, request: ReleaseRequest) -> bool:
    """An approver of this model who neither uploaded the version nor asked for it; nobody else, superuser or not."""
    return is_approver_of(user, request.version.model) and not is_own_request(user, request)


def is_approver_of(user: Any, model: RegisteredModel) -> bool:
    """A person with the role, and of one of the teams that the model's policy names, if it names any."""
    if not has_role(user, Role.APPROVER) or user.is_service or not model.is_present:
        return False
    teams = model.rules.approver_groups
    return not teams or user.groups.filter(name__in=teams).exists()


def is_own_request(user: Any, request: ReleaseRequest) -> bool:
    return user.pk in (request.requested_by_id, request.version.uploaded_by_id)


def can_admit(user: Any, version: ModelVersion) -> bool:
    """An approver who did not upload it lets names into the jail; nobody else, superuser or not."""
    is_person = has_role(user, Role.APPROVER) and not user.is_service
    return is_person and user.pk != version.uploaded_by_id and version.model.is_present


def can_withdraw(user: Any, request: ReleaseRequest) -> bool:
    is_asker = request.requested_by_id == user.pk and has_role(user, Role.AUTHOR)
    return is_asker and request.version.model.is_present


def can_release(user: Any, model: RegisteredModel) -> bool:
    return has_role(user, Role.OPERATOR) and can_see(user, model)


def can_roll_back(user: Any, model: RegisteredModel) -> bool:
    return can_release(user, model)


def can_retire(user: Any, version: ModelVersion) -> bool:
    may = has_role(user, Role.OPERATOR) or is_author_and_owner(user, version.model)
    return may and version.model.is_present


def can_lift_quarantine(user: Any, version: ModelVersion) -> bool:
    return (
        has_role(user, Role.APPROVER)
        and not user.is_service
        and version.uploaded_by_id != user.pk
        and can_see(user, version.model)
    )


def can_download(user: Any, version: ModelVersion) -> bool:
    return has_role(user, Role.AUTHOR, Role.APPROVER, Role.AUDITOR) and can_see(user, version.model)


def can_see_data(user: Any, model: RegisteredModel) -> bool:
    """The rows of its datasets: those who build, judge and audit."""
    return has_role(user, Role.AUTHOR, Role.APPROVER, Role.AUDITOR) and can_see(user, model)


def can_predict(user: Any, model: RegisteredModel) -> bool:
    return has_role(user, *KEY_NEEDS[KeyAction.PREDICT]) and can_see(user, model)


def can_give_feedback(user: Any, model: RegisteredModel) -> bool:
    return has_role(user, *KEY_NEEDS[KeyAction.FEEDBACK]) and can_see(user, model)


def can_see_others_inputs(user: Any, model: RegisteredModel) -> bool:
    """Other people's rows: auditors, and owners where the model's policy says so."""
    if has_role(user, Role.AUDITOR):
        return True
    return model.rules.owners_see_inputs and model.is_owned_by(user)


def can_erase(user: Any, model: RegisteredModel) -> bool:
    """Erase what was asked about a person."""
    return has_role(user, Role.ADMIN) or (has_role(user, Role.AUTHOR) and model.is_owned_by(user))


def can_see_audit(user: Any) -> bool:
    return has_role(user, Role.AUDITOR, Role.ADMIN)


def can_see_system(user: Any) -> bool:
    return has_role(user, Role.ADMIN, Role.OPERATOR, Role.AUDITOR)


def can_manage_people(user: Any) -> bool:
    return has_role(user, Role.ADMIN)


def can_see_people(user: Any) -> bool:
    return has_role(user, Role.ADMIN, Role.AUDITOR)


def can_set_monitoring(user: Any, model: RegisteredModel) -> bool:
    return has_role(user, Role.OPERATOR) or (has_role(user, Role.AUTHOR) and model.is_owned_by(user))


def can_handle_incident(user: Any, model: RegisteredModel) -> bool:
    """Operators, and whoever owns the model, whatever else they are."""
    return can_see(user, model) and (has_role(user, Role.OPERATOR) or is_active_owner(user, model))


def is_active_owner(user: Any, model: RegisteredModel) -> bool:
    return has_role(user, *Role.values) and model.is_owned_by(user)


def can_enter_admin(user: Any) -> bool:
    return has_role(user, Role.ADMIN, Role.APPROVER)


def can_use_key_action(user: Any, action: str) -> bool:
    """May a key of this person carry this action? `approve` is for persons only."""
    if action == KeyAction.APPROVE and user.is_service:
        return False
    return has_role(user, *KEY_NEEDS.get(action, frozenset()))


def can_own_service_keys(user: Any) -> bool:
    return has_role(user, Role.INTEGRATOR, Role.ADMIN)


def require(allowed: bool, message: str = "", *, code: str = "forbidden") -> None:
    """Raise Forbidden with a sentence that says what is missing."""
    if not allowed:
        raise Forbidden(message or _("You may not do this."), code=code)


def require_role(allowed: bool, role: Role) -> None:
    """Raise Forbidden that names the role one would need."""
    require(
        allowed,
        _("This needs the role “%(role)s”. An administrator can give it to you.") % {"role": role.label},
        code=f"needs_{role.value}",
    )
