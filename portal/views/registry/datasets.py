"""A dataset is a version too: what is in it, who learned from it, and what it replaced."""

from typing import Any

from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _

from portal.views.acts import on_the_record
from portal.views.gates import get_model, person
from portal.views.model_page import model_page
from registry import artifacts, audit, permissions
from registry.audit import Action
from registry.models import Dataset, RegisteredModel

COLUMNS_SHOWN = 200


def dataset_detail(request: HttpRequest, slug: str, public_id: str) -> HttpResponse:
    model = get_model(request, slug)
    dataset = _get(model, public_id)
    context = model_page(request, model, "datasets")
    columns = (dataset.profile or {}).get("columns", [])
    context |= {
        "dataset": dataset,
        "columns": [_column(each, dataset) for each in columns[:COLUMNS_SHOWN]],
        "more": max(0, len(columns) - COLUMNS_SHOWN),
        "uses": dataset.uses,
        "replaces": dataset.replaces,
        "replaced_by": dataset.replaced_by,
        "can_download": permissions.can_see_data(person(request), model),
    }
    return render(request, "registry/dataset_detail.html", context)


def dataset_download(request: HttpRequest, slug: str, public_id: str) -> HttpResponse | FileResponse:
    """The rows as they were sent, as an attachment; it is written down who took them."""
    model = get_model(request, slug)
    dataset = _get(model, public_id)
    with on_the_record(request, Action.DATASET_DOWNLOADED, dataset):
        permissions.require(
            permissions.can_see_data(person(request), model),
            _("Only authors, approvers and auditors may take the data."),
            code="needs_author",
        )
    with transaction.atomic():
        audit.record(
            Action.DATASET_DOWNLOADED,
            target=dataset,
            actor=request.user,
            sha256=dataset.sha256,
            rows=dataset.rows,
        )
    name = f"{model.slug}-{dataset.public_id}.{dataset.format}"
    response = FileResponse(artifacts.open_artifact(dataset.sha256), as_attachment=True, filename=name)
    response["Content-Type"] = "application/octet-stream"
    return response


def _get(model: RegisteredModel, public_id: str) -> Dataset:
    return get_object_or_404(
        Dataset.objects.select_related("created_by", "model"), model=model, public_id=public_id
    )


def _column(each: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """One column's profile, with shares that a bar can show."""
    rows = max(1, dataset.rows)
    missing = each.get("missing") or 0
    return {
        **each,
        "is_target": each.get("name") == dataset.target,
        "filled": rows - missing,
        "missing_share": missing / rows,
    }
