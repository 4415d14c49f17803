"""Models, their data and their versions: from the first upload to the last day."""

import math
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import IO, Any, cast

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from registry import (
    artifacts,
    audit,
    gate,
    inspection,
    installed,
    permissions,
    ports,
    proposals,
    schema,
    signals,
    tables,
)
from registry.actions import approvals, policies
from registry.actions._words import reason_from
from registry.audit import Action
from registry.errors import FieldError, Invalid, Refused
from registry.models import (
    Admission,
    CheckResult,
    Dataset,
    ModelVersion,
    RegisteredModel,
    Release,
    Role,
    User,
)
from registry.models.catalog import EDITABLE

State = ModelVersion.State
EXPECTED_ROWS = 1000


# --- models ---


@transaction.atomic
def create_model(
    *,
    slug: str,
    name: str,
    task: str,
    risk: str = "medium",
    question: str = "",
    description: str = "",
    owners: Iterable[User] = (),
    groups: Iterable[Group] = (),
    actor: Any,
) -> RegisteredModel:
    """A new question that the business asks. Only authors; the one who creates it is an owner."""
    permissions.require_role(permissions.can_create_model(actor), Role.AUTHOR)
    model = RegisteredModel(
        slug=slug.strip(),
        name=name.strip(),
        task=task,
        risk=risk,
        question=question.strip(),
        description=description.strip(),
        created_by=actor,
    )
    if RegisteredModel.objects.filter(slug=model.slug).exists():
        raise _slug_in_use(model.slug)
    _validate(model)
    try:
        with transaction.atomic():
            model.save()
    except IntegrityError as exc:
        raise _slug_in_use(model.slug) from exc
    model.owners.set([actor, *owners])
    model.groups.set(groups)
    audit.record(Action.MODEL_CREATED, target=model, actor=actor, after=_model_facts(model))
    _require_own_name(model)
    return model


@transaction.atomic
def change_model(model: RegisteredModel, *, actor: Any, **changes: Any) -> RegisteredModel:
    """Change name, question, description, owners, groups or policy. Only its owners."""
    permissions.require(
        permissions.can_change_model(actor, model),
        _("Only an owner may change this model."),
        code="not_owner",
    )
    unknown = set(changes) - {"name", "question", "description", "owners", "groups", "policy"}
    if unknown:
        raise _invalid(sorted(unknown)[0], "not_changeable", _("This cannot be changed."))
    # Others may have changed it since it was read: what is not named here stays as they left it.
    RegisteredModel.objects.select_for_update().get(pk=model.pk)
    model.refresh_from_db(fields=["name", "question", "description", "policy", "deleted_at"])
    gate.require_present(model)
    before = _model_facts(model)
    if "policy" in changes:
        policies.change_policy(model, changes.pop("policy"), actor=actor)
        if not changes:
            return model
    for attribute in ("name", "question", "description"):
        if attribute in changes:
            setattr(model, attribute, changes[attribute])
    _validate(model)
    model.save(update_fields=["name", "question", "description"])
    for relation in ("owners", "groups"):
        if relation in changes:
            getattr(model, relation).set(changes[relation])
    audit.record(Action.MODEL_CHANGED, target=model, actor=actor, before=before, after=_model_facts(model))
    if _as_read(model.name) != _as_read(before["name"]):
        _require_own_name(model)
    return model


def _model_facts(model: RegisteredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "question": model.question,
        "risk": model.risk,
        "task": model.task,
        "policy": model.policy,
        "owners": sorted(model.owners.values_list("email", flat=True)),
        "groups": sorted(model.groups.values_list("name", flat=True)),
    }


def _validate(model: RegisteredModel) -> None:
    try:
        model.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as exc:
        errors: list[FieldError] = [
            {"field": name, "code": "invalid", "expected": " ".join(words)}
            for name, words in exc.message_dict.items()
        ]
        raise Invalid(_("Some values are not right."), errors=errors) from exc


def _slug_in_use(slug: str) -> Refused:
    return Refused(
        _("A model called “%(slug)s” exists already.") % {"slug": slug},
        code="slug_in_use",
        fix=_("Choose another short name, or upload a version to that model."),
    )


def _require_own_name(model: RegisteredModel) -> None:
    """Refused where another model is called the same: people know a model by its name.

    Asked once the act is in the audit log: that put everybody who writes there in a line, so of two who give the same
    name at once the second sees the first. No constraint of the database: the same names of before stay as they are.
    """
    others = RegisteredModel.objects.present().exclude(pk=model.pk).values_list("name", flat=True)
    if _as_read(model.name) in map(_as_read, others):
        raise Refused(
            _("Another model is called “%(name)s” already.") % {"name": model.name},
            code="name_in_use",
            fix=_("Choose another name; capitals and spaces do not make it another one."),
        )


def _as_read(name: str) -> str:
    """Two names that a person reads as the same one are equal."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


# --- datasets ---


def add_dataset(
    model: RegisteredModel,
    *,
    file: IO[bytes],
    filename: str,
    role: str = "reference",
    target: str = "",
    actor: Any,
) -> Dataset:
    """Keep an immutable table with its profile. Only authors; the same bytes in the same role are the same dataset."""
    permissions.require_role(permissions.can_upload(actor, model), Role.AUTHOR)
    if role not in Dataset.Kind.values:
        raise _invalid("role", "unknown_role", _("Write one of: %s.") % ", ".join(Dataset.Kind.values))
    with artifacts.receive(file, settings.MODELGATE_MAX_DATASET) as received:
        with received.path.open("rb") as opened:
            table = tables.read_table(opened)
        if target and target not in table.column_names:
            raise _invalid(
                "target",
                "unknown_column",
                _("There is no column “%(target)s”; there are: %(columns)s.")
                % {"target": target, "columns": ", ".join(table.column_names[:40])},
            )
        return _keep_dataset(model, received, table, filename, role, target, actor)


@transaction.atomic
def _keep_dataset(
    model: RegisteredModel,
    received: artifacts.Received,
    table: Any,
    filename: str,
    role: str,
    target: str,
    actor: Any,
) -> Dataset:
    known = Dataset.objects.filter(model=model, sha256=received.sha256, role=role, target=target).first()
    if known:
        return known
    artifacts.keep(received)
    dataset = Dataset.objects.create(
        model=model,
        name=filename[-200:],
        role=role,
        sha256=received.sha256,
        size=received.size,
        format="parquet" if _is_parquet(received) else "csv",
        rows=table.num_rows,
        columns=table.column_names,
        target=target,
        profile=audit.plain(tables.describe(table)),
        created_by=actor,
    )
    audit.record(
        Action.DATASET_ADDED, target=dataset, actor=actor, sha256=dataset.sha256, rows=dataset.rows, role=role
    )
    transaction.on_commit(partial(signals.dataset_added.send, sender=Dataset, dataset_id=dataset.pk))
    return dataset


def _is_parquet(received: artifacts.Received) -> bool:
    with received.path.open("rb") as file:
        return file.read(4) == b"PAR1"


# --- versions ---


@dataclass(frozen=True, kw_only=True)
class Papers:
    """What comes with an artifact: its schema, data, declared metrics and words."""

    schema: dict[str, Any] | None = None
    reference: Dataset | None = None
    evaluation: Dataset | None = None
    target: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    expected: list[dict[str, Any]] | None = None
    card: str = ""
    requirements: str = ""
    notes: str = ""


def upload_version(
    model: RegisteredModel,
    *,
    file: IO[bytes],
    filename: str,
    schema: dict[str, Any] | None = None,
    reference: Dataset | None = None,
    evaluation: Dataset | None = None,
    target: str = "",
    metrics: dict[str, float] | None = None,
    expected: IO[bytes] | None = None,
    card: str = "",
    requirements: str = "",
    notes: str = "",
    format: str = "auto",
    draft: bool = False,
    actor: Any,
) -> ModelVersion:
    """Keep a model file as the next version and start its checks (or leave it a draft). Only authors.

    The file is looked into, never loaded: what is empty, too large, of no known format or would do harm is
    refused before a byte of it is stored. What needs names that nobody has reviewed is kept, and waits for an approver.
    """
    permissions.require_role(permissions.can_upload(actor, model), Role.AUTHOR)
    papers = Papers(
        schema=schema,
        reference=_of_model(model, reference, "reference"),
        evaluation=_of_model(model, evaluation, "evaluation"),
        target=target,
        metrics=_metrics(metrics or {}),
        expected=_expected(expected),
        card=card,
        requirements=requirements,
        notes=notes,
    )
    with artifacts.receive(file, settings.MODELGATE_MAX_ARTIFACT) as received:
        with received.path.open("rb") as opened:
            found = _inspected(opened, format, received, filename)
        papers = _with_proposals(papers, found, model)
        if not (draft or papers.schema or papers.reference):
            raise _no_schema()
        version = _keep_version(model, received, found, filename, papers, actor)
    if not draft:
        start_checks(version, actor=actor)
    return version


def _with_proposals(papers: Papers, found: inspection.Inspection, model: RegisteredModel) -> Papers:
    """What the uploader left out and the file tells of itself."""
    if found.folder is not None and not papers.requirements:
        papers = replace(papers, requirements=found.folder.requirements)
    if papers.schema or papers.reference:
        return papers
    return replace(papers, schema=proposals.from_file(found, model))


def _inspected(
    opened: IO[bytes], declared: str, received: artifacts.Received, filename: str
) -> inspection.Inspection:
    """The inventory; a refusal carries what the audit log keeps of a file that is not stored."""
    try:
        return inspection.inspect(opened, declared_format=declared)
    except Refused as refusal:
        of_file = {"sha256": received.sha256, "size": received.size, "filename": filename[-200:]}
        refusal.facts = {**of_file, **refusal.facts}
        raise


@transaction.atomic
def _keep_version(
    model: RegisteredModel,
    received: artifacts.Received,
    found: inspection.Inspection,
    filename: str,
    papers: Papers,
    actor: Any,
) -> ModelVersion:
    # The lock gives numbers without a gap to two uploads at once.
    RegisteredModel.objects.select_for_update().get(pk=model.pk)
    last = ModelVersion.objects.filter(model=model).aggregate(last=Max("number"))["last"] or 0
    artifacts.keep(received)
    _keep_payload(received, found)
    version = ModelVersion.objects.create(
        model=model,
        number=last + 1,
        sha256=received.sha256,
        size=received.size,
        filename=filename[-200:],
        format=found.format,
        engine=found.engine,
        schema=_schema_from(model, papers),
        environment=found.environment(),
        globals=found.to_json(),
        declared_metrics=papers.metrics,
        expected=papers.expected,
        card=papers.card.strip(),
        notes=papers.notes.strip(),
        requirements=papers.requirements.strip(),
        reference=papers.reference,
        evaluation=papers.evaluation,
        uploaded_by=actor,
    )
    audit.record(
        Action.VERSION_UPLOADED,
        target=version,
        actor=actor,
        after={"sha256": version.sha256, "format": version.format, "size": version.size},
        filename=version.filename,
    )
    transaction.on_commit(partial(signals.version_uploaded.send, sender=ModelVersion, version_id=version.pk))
    return version


def _keep_payload(received: artifacts.Received, found: inspection.Inspection) -> None:
    """The file inside a folder, as a second file under its own hash: it is what the runner opens."""
    if found.payload is None:
        return
    with (
        received.path.open("rb") as opened,
        inspection.open_payload(opened, found) as inside,
        artifacts.receive(inside, settings.MODELGATE_MAX_ARTIFACT) as payload,
    ):
        artifacts.keep(payload)


@transaction.atomic
def edit_draft(version: ModelVersion, *, actor: Any, **changes: Any) -> ModelVersion:
    """Correct schema, data, metrics or card of one's own draft, or of a version whose checks failed.

    That one is a draft again afterwards: it has to pass all its checks with its new papers.
    """
    version.refresh_from_db(fields=["state"])
    permissions.require(
        permissions.can_edit_draft(actor, version),
        _("Only its uploader may edit this draft."),
        code="not_uploader",
    )
    unknown = set(changes) - {"schema", "metrics", "card", "notes", "requirements", "reference", "evaluation"}
    if unknown:
        raise _invalid(sorted(unknown)[0], "not_changeable", _("This cannot be changed."))
    fields: dict[str, Any] = {}
    if "schema" in changes:
        fields["schema"] = schema.Schema.from_json(changes["schema"]).to_json()
    if "metrics" in changes:
        fields["declared_metrics"] = _metrics(changes["metrics"])
    for name in ("reference", "evaluation"):
        if name in changes:
            fields[name] = _of_model(version.model, changes[name], name)
    for name in ("card", "notes", "requirements"):
        if name in changes:
            fields[name] = str(changes[name]).strip()
    require_listed(version)
    before = version.state
    if not ModelVersion.objects.filter(pk=version.pk).move(old=EDITABLE, new=State.DRAFT, **fields):
        raise _wrong_state(version, _("only a draft, or a version whose checks failed, can be edited"))
    # What the checks said was said of other papers.
    CheckResult.objects.filter(version=version).delete()
    audit.record(
        Action.VERSION_EDITED,
        target=version,
        actor=actor,
        before={"state": before},
        after={"state": State.DRAFT},
        changed=sorted(fields),
    )
    version.refresh_from_db()
    return version


@transaction.atomic
def start_checks(version: ModelVersion, *, actor: Any) -> ModelVersion:
    """Let the model service look at a draft, or again at a version whose checks failed. Only authors.

    A file with names that nobody has reviewed waits for an approver first: nothing of it is loaded until then.
    """
    permissions.require_role(permissions.can_upload(actor, version.model), Role.AUTHOR)
    version.refresh_from_db(fields=["state", "schema"])
    require_listed(version)
    if not version.schema.get("fields"):
        raise _no_schema()
    if Admission.objects.filter(version=version, verdict=Admission.Verdict.REFUSED).exists():
        raise Refused(
            _("An approver has refused what %(version)s needs.") % {"version": version},
            code="names_refused",
            fix=_("Upload a version without it."),
        )
    if version.unknown_names:
        missing = installed.missing_packages(version.unknown_names)
        return _stop_for(missing, version, actor) if missing else _hold_for_review(version, actor)
    return begin_checks(version, old=[State.DRAFT, State.CHECKS_FAILED], actor=actor)


def require_listed(version: ModelVersion) -> None:
    """What lists leave out must not come to answer again behind everybody's back."""
    version.refresh_from_db(fields=["archived_at"])
    if version.archived_at is not None:
        raise Refused(
            _("%(version)s is archived.") % {"version": version},
            code="archived",
            fix=_("Show it in lists again first."),
        )


def begin_checks(version: ModelVersion, *, old: Iterable[str], actor: Any) -> ModelVersion:
    """Move a version on to its checks, inside the transaction of the verb that decides so."""
    moved = ModelVersion.objects.filter(pk=version.pk).move(
        old=old, new=State.CHECKING, checks_started_at=timezone.now()
    )
    if not moved:
        raise _wrong_state(version, _("checks start from a draft"))
    CheckResult.objects.filter(version=version).delete()
    audit.record(Action.VERSION_CHECKING, target=version, actor=actor)
    ports.checks.start(version.pk)
    version.refresh_from_db()
    return version


def _stop_for(missing: list[str], version: ModelVersion, actor: Any) -> ModelVersion:
    """Nobody reviews names of a file that cannot be loaded here: its checks end with what is to be done first."""
    if not ModelVersion.objects.filter(pk=version.pk).move(
        old=[State.DRAFT, State.CHECKS_FAILED], new=State.CHECKS_FAILED, checks_started_at=timezone.now()
    ):
        raise _wrong_state(version, _("checks start from a draft"))
    CheckResult.objects.filter(version=version).delete()
    CheckResult.objects.create(
        version=version,
        name="load",
        position=0,
        status=CheckResult.Status.FAILED,
        detail=_missing_words(missing),
        log="\n".join(version.unknown_names),
    )
    audit.record(
        Action.VERSION_CHECKS_FAILED,
        target=version,
        actor=actor,
        after={"state": State.CHECKS_FAILED},
        failed=["load"],
        missing=missing,
    )
    transaction.on_commit(
        partial(signals.version_checked.send, sender=ModelVersion, version_id=version.pk, passed=False)
    )
    version.refresh_from_db()
    return version


def _missing_words(missing: list[str]) -> str:
    needs = ngettext(
        "The file needs the package “%(packages)s”, which is not installed here.",
        "The file needs the packages “%(packages)s”, which are not installed here.",
        len(missing),
    ) % {"packages": "”, “".join(missing)}
    return " ".join(
        (
            needs,
            _(
                "Ask an administrator to install what is missing, then check again; or save the model without it."
            ),
            _("The names that nobody has reviewed yet are looked at after that."),
        )
    )


def _hold_for_review(version: ModelVersion, actor: Any) -> ModelVersion:
    names = version.unknown_names
    if not ModelVersion.objects.filter(pk=version.pk).move(
        old=[State.DRAFT, State.CHECKS_FAILED], new=State.NEEDS_REVIEW
    ):
        raise _wrong_state(version, _("checks start from a draft"))
    CheckResult.objects.filter(version=version).delete()
    audit.record(Action.VERSION_HELD, target=version, actor=actor, sha256=version.sha256, names=names)
    version.refresh_from_db()
    return version


_FINISHED = {
    State.CHECKED: Action.VERSION_CHECKED,
    State.NEEDS_REVIEW: Action.VERSION_HELD,
    State.CHECKS_FAILED: Action.VERSION_CHECKS_FAILED,
}


@transaction.atomic
def finish_checks(
    version: ModelVersion,
    *,
    passed: bool,
    measured: dict[str, Any],
    environment: dict[str, Any],
    engine: str = "runner",
    to_review: Iterable[str] = (),
) -> bool:
    """What the checks found, once; False when somebody else has finished them before.

    `to_review`: the packages of another version than ours that made the model, where nothing else is wrong: an
    approver must admit them.
    """
    to_review = list(to_review)
    new = State.CHECKED if passed else State.NEEDS_REVIEW if to_review else State.CHECKS_FAILED
    environment = {**environment, **({"to_review": to_review} if to_review else {})}
    moved = ModelVersion.objects.filter(pk=version.pk).move(
        old=State.CHECKING,
        new=new,
        measured_metrics=audit.plain(measured),
        environment=audit.plain(environment),
        engine=engine,
    )
    if not moved:
        return False
    version.refresh_from_db()
    failed = list(version.checks.filter(status=CheckResult.Status.FAILED).values_list("name", flat=True))
    action = _FINISHED[new]
    audit.record(
        action,
        target=version,
        actor=None,
        after={"state": new, "measured": measured, "engine": engine},
        failed=failed,
    )
    if new != State.NEEDS_REVIEW:  # else nothing is decided yet
        transaction.on_commit(
            partial(signals.version_checked.send, sender=ModelVersion, version_id=version.pk, passed=passed)
        )
    return True


@transaction.atomic
def retire(version: ModelVersion, *, reason: str, actor: Any) -> ModelVersion:
    """This version shall not answer any more. Refused while it serves anywhere."""
    permissions.require_role(permissions.can_retire(actor, version), Role.OPERATOR)
    words = reason_from(reason)
    version.lock()
    serving = serving_in(version)
    if serving:
        raise Refused(
            _("%(version)s is serving in %(places)s.") % {"version": version, "places": ", ".join(serving)},
            code="still_serving",
            fix=_("Release another version first."),
        )
    old = version.state
    if not ModelVersion.objects.filter(pk=version.pk).move(
        old=[State.DRAFT, State.NEEDS_REVIEW, State.CHECKED, State.CHECKS_FAILED, State.QUARANTINED],
        new=State.RETIRED,
    ):
        raise _wrong_state(version, _("it cannot be retired now"))
    asked = approvals.lock_open(version.model)
    audit.record(
        Action.VERSION_RETIRED,
        target=version,
        actor=actor,
        reason=words,
        before={"state": old},
        after={"state": State.RETIRED},
    )
    approvals.settle_all(asked)
    version.refresh_from_db()
    return version


def serving_in(version: ModelVersion) -> list[str]:
    """Names of the environments where this version answers now."""
    releases = Release.objects.answering().filter(model=version.model_id, version=version)
    return list(releases.order_by("environment__position").values_list("environment__slug", flat=True))


def _schema_from(model: RegisteredModel, papers: Papers) -> dict[str, Any]:
    if papers.schema:
        return schema.Schema.from_json(papers.schema).to_json()
    if papers.reference is None:
        return {}
    target = papers.target or papers.reference.target
    if not target:
        raise _invalid(
            "target", "missing", _("Name the column of the reference data that the model answers.")
        )
    table = tables.read_dataset(papers.reference)
    return schema.infer(table, target, cast(schema.Task, model.task), question=model.question).to_json()


def _no_schema() -> Invalid:
    return _invalid(
        "schema", "missing", _("Give reference data, or a schema, so that the inputs have names and types.")
    )


def _metrics(metrics: dict[str, Any]) -> dict[str, float]:
    if not isinstance(metrics, dict):
        raise _invalid("metrics", "wrong_type", _("Write an object of names and numbers."))
    for name, value in metrics.items():
        if not _is_finite_number(value):
            raise _invalid(f"metrics.{name}", "not_a_number", _("Write a finite number."))
    return {str(name)[:40]: float(value) for name, value in metrics.items()}


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _expected(file: IO[bytes] | None) -> list[dict[str, Any]] | None:
    if file is None:
        return None
    return list(audit.plain(tables.read_table(file).slice(0, EXPECTED_ROWS).to_pylist()))


def _of_model(model: RegisteredModel, dataset: Dataset | None, name: str) -> Dataset | None:
    if dataset is not None and dataset.model_id != model.pk:
        raise _invalid(name, "unknown_dataset", _("This model has no such dataset."))
    return dataset


def _wrong_state(version: ModelVersion, rule: str) -> Refused:
    with suppress(ModelVersion.DoesNotExist):
        version.refresh_from_db(fields=["state"])
    return Refused(
        _("%(version)s is %(state)s; %(rule)s.")
        % {"version": version, "state": version.get_state_display().lower(), "rule": rule},
        code="wrong_state",
    )


def _invalid(name: str, code: str, message: str) -> Invalid:
    return Invalid(
        message, code=code, errors=[{"field": name, "code": code, "expected": message, "fix": message}]
    )
