"""A small world in which every page has something to show, for tests that walk over all pages."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import Group
from django.utils import timezone

from inference.models import BatchJob, Prediction
from monitoring.models import Incident
from portal.models import Notice
from registry.actions import keys
from registry.models import AuditEvent, Role, User
from tests import factories

#: Everybody who may come to a page, in the order of the columns of the access table.
VISITORS = (
    "anonymous",
    "stranger",
    "business",
    "author",
    "approver",
    "operator",
    "auditor",
    "integrator",
    "admin",
)


@dataclass
class World:
    """People by the name of their role, and what the addresses of pages name."""

    people: dict[str, User]
    names: dict[str, Any] = field(default_factory=dict)


def create_world() -> World:
    people = {"stranger": factories.create_user(email="stranger@example.com")}
    for role in Role:
        people[role.value] = factories.create_user(email=f"{role.value}@example.com", roles=[role])
    author, business = people["author"], people["business"]
    model = factories.create_model(slug="loans", owners=[author], created_by=author)
    for number in (1, 2):
        version = factories.create_version(model=model, number=number)
        release = factories.create_release(version=version, released_by=people["operator"])
    waiting = factories.create_version(model=model, number=3)
    request = factories.create_request(version=waiting)
    factories.create_version(model=model, number=4, state="draft")
    dataset = factories.create_dataset(model=model)
    prediction = Prediction.objects.create(
        public_id="p_0000000000000000000000test",
        model=model,
        version=release.version,
        release=release,
        release_number=release.number,
        environment="production",
        channel="page",
        user=business,
        user_name=str(business),
        at=timezone.now(),
        inputs={"age": 30, "income": 1000.0, "city": "Pune"},
        label="yes",
        value=0.7,
        probabilities={"no": 0.3, "yes": 0.7},
        warnings=[],
        latency_ms=12.0,
        request_id="request-1",
    )
    batch = BatchJob.objects.create(
        model=model,
        version=release.version,
        release=release,
        environment="production",
        filename="loans.csv",
        sha256="0" * 64,
        size=10,
        state=BatchJob.State.RUNNING,
        total=10,
        created_by=business,
    )
    key, _secret = keys.create_key(owner=business, name="mine", actions=["predict"], actor=business)
    Group.objects.create(name="Lending")
    notice = Notice.objects.create(
        user=business, kind="key_ended", names={"key": "mine"}, url="/keys/", about="mg_x", once="x"
    )
    incident = Incident.objects.create(
        model=model, version=version, kind=Incident.Kind.SERVICE, severity="warning", sentence="Slow."
    )
    return World(
        people,
        {
            "slug": model.slug,
            "number": release.version.number,
            "waiting": waiting.number,
            "draft": 4,
            "request": request.public_id,
            "dataset": dataset.public_id,
            "prediction": prediction.public_id,
            "batch": batch.public_id,
            "key": key.pk,
            "notice": notice.pk,
            "incident_id": incident.public_id,
            "person": people["business"].pk,
            "event": AuditEvent.objects.order_by("seq").values_list("seq", flat=True)[0],
            "release": release.number,
            "nowhere": "nowhere",
            "health_csv": "requests",
            "drift_csv": "columns",
            "model_pk": model.pk,
            "version_pk": waiting.pk,
            "dataset_pk": dataset.pk,
            "release_pk": release.pk,
            "event_pk": AuditEvent.objects.order_by("seq")[0].pk,
            "request_pk": request.pk,
            "app_label": "registry",
            "content_type_id": 1,
            "object_id": 1,
            "uidb36": "1",
            "url": "nowhere/",
        },
    )
