"""Models and their data."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from registry.actions import catalog, endings
from registry.api.access import key_of
from registry.api.base import Endpoint
from registry.api.bodies import DatasetBody, DeleteBody, ModelBody, ModelChanges
from registry.api.serializers import (
    DatasetDetailSerializer,
    DatasetSerializer,
    EnvironmentSerializer,
    ModelSerializer,
)
from registry.audit import Action
from registry.errors import Forbidden
from registry.models import Dataset, Environment, RegisteredModel
from registry.serving import Serving, serving_of


class Models(Endpoint):
    """What both views of models share: each model tells what it serves."""

    serializer_class = ModelSerializer
    serving: Serving = {}

    def rows(self) -> QuerySet[RegisteredModel]:
        return (
            self.models()
            .select_related("created_by")
            .prefetch_related("owners", "groups")
            .order_by("name", "pk")
        )

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "serving": self.serving}

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        self.serving = serving_of(page or [])
        return page

    def tell(self, model: RegisteredModel, status: int = 200) -> Response:
        self.serving = serving_of([model])
        return self.answer(model, status)


class ModelList(Models, ListAPIView):
    """The models that you may see, with what each serves."""

    key_action = {"GET": "read", "POST": "upload"}
    attempts = {"POST": Action.MODEL_CREATED}

    @extend_schema(request=ModelBody, responses={201: ModelSerializer})
    def post(self, request: Request) -> Response:
        """Create a model: a named question that the business asks."""
        key = key_of(request)
        if key is not None and not key.all_models:
            message = _("This key is for some models only, so it cannot create one.")
            raise Forbidden(message, code="key_limited_to_models")
        model = catalog.create_model(**self.read(ModelBody), actor=self.actor)
        return self.tell(model, 201)


class ModelDetail(Models):
    key_action = {"GET": "read", "PATCH": "upload"}
    attempts = {"PATCH": Action.MODEL_CHANGED}

    def get(self, request: Request, slug: str) -> Response:
        """One model, with what it serves in each environment."""
        return self.tell(self.get_model())

    @extend_schema(request=ModelChanges, responses=ModelSerializer)
    def patch(self, request: Request, slug: str) -> Response:
        """Change name, question, description, owners, teams or policy."""
        model = self.get_model()
        return self.tell(catalog.change_model(model, **self.read(ModelChanges), actor=self.actor))


class ModelDelete(Models):
    key_action = "upload"
    attempts = {"POST": Action.MODEL_DELETED}

    @extend_schema(request=DeleteBody, responses={204: None})
    def post(self, request: Request, slug: str) -> Response:
        """Take a model away from everybody. Its owners; what serves ends with it, if `confirm` is its short name.

        Its short name stays taken, and its record stays: from now on every call for it gives 410.
        """
        endings.delete_model(self.get_model(), **self.read(DeleteBody), actor=self.actor)
        return Response(status=204)


class Datasets(Endpoint):
    serializer_class = DatasetSerializer

    def rows(self) -> QuerySet[Dataset]:
        datasets = Dataset.objects.select_related("created_by").order_by("-created_at", "-pk")
        return datasets.filter(model=self.get_model())


class DatasetList(Datasets, ListAPIView):
    """The tables that a model learned from or is judged on."""

    key_action = {"GET": "read", "POST": "upload"}
    attempts = {"POST": Action.DATASET_ADDED}
    max_upload = "MODELGATE_MAX_DATASET"

    @extend_schema(request={"multipart/form-data": DatasetBody}, responses={201: DatasetSerializer})
    def post(self, request: Request, slug: str) -> Response:
        """Keep an immutable table: reference (training) data, evaluation data, or outcomes."""
        model = self.get_model()
        body = self.read(DatasetBody)
        file = body.pop("file")
        dataset = catalog.add_dataset(model, file=file, filename=file.name, **body, actor=self.actor)
        return self.answer(dataset, 201)


class DatasetDetail(Datasets, RetrieveAPIView):
    """One table and its profile."""

    key_action = "read"
    serializer_class = DatasetDetailSerializer

    def get_object(self) -> Dataset:
        return get_object_or_404(self.rows(), public_id=self.kwargs["dataset"])


class EnvironmentList(Endpoint, ListAPIView):
    """The places where versions answer."""

    key_action = "read"
    serializer_class = EnvironmentSerializer

    def rows(self) -> QuerySet[Environment]:
        return Environment.objects.all()
