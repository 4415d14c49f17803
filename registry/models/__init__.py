"""The list of what we record."""

from registry.models.accounts import ApiKey, KeyAction, Role, RoleGrant, User
from registry.models.admissions import Admission
from registry.models.approvals import Decision, ReleaseRequest
from registry.models.audit import AuditEvent, AuditHead
from registry.models.catalog import CheckResult, Dataset, ModelVersion, RegisteredModel, Risk, Task
from registry.models.changes import ChangeMark
from registry.models.idempotency import IdempotencyRecord
from registry.models.releases import PRODUCTION, Environment, Freeze, Release

__all__ = [
    "PRODUCTION",
    "Admission",
    "ApiKey",
    "AuditEvent",
    "AuditHead",
    "ChangeMark",
    "CheckResult",
    "Dataset",
    "Decision",
    "Environment",
    "Freeze",
    "IdempotencyRecord",
    "KeyAction",
    "ModelVersion",
    "RegisteredModel",
    "Release",
    "ReleaseRequest",
    "Risk",
    "Role",
    "RoleGrant",
    "Task",
    "User",
]
