"""Predictions, outcomes and batches, under `/api/v1/`."""

from django.urls import path

from inference.api.views import batches, predictions

prediction_urls = [
    path("models/<slug:slug>/predict/", predictions.Predict.as_view(), name="predict"),
    path("models/<slug:slug>/compare/", predictions.Compare.as_view(), name="compare"),
    path("predictions/<slug:prediction>/", predictions.PredictionDetail.as_view(), name="prediction-detail"),
    path(
        "predictions/<slug:prediction>/erase/", predictions.PredictionErase.as_view(), name="prediction-erase"
    ),
    path(
        "predictions/<slug:prediction>/report/",
        predictions.PredictionReport.as_view(),
        name="prediction-report",
    ),
    path("feedback/", predictions.Feedback.as_view(), name="feedback"),
]

batch_urls = [
    path("models/<slug:slug>/batches/", batches.BatchCreate.as_view(), name="batch-create"),
    path("models/<slug:slug>/check-file/", batches.FileCheck.as_view(), name="check-file"),
    path("batches/", batches.BatchList.as_view(), name="batch-list"),
    path("batches/<slug:batch>/", batches.BatchDetail.as_view(), name="batch-detail"),
    path("batches/<slug:batch>/run/", batches.BatchRun.as_view(), name="batch-run"),
    path("batches/<slug:batch>/cancel/", batches.BatchCancel.as_view(), name="batch-cancel"),
    path("batches/<slug:batch>/retry/", batches.BatchRetry.as_view(), name="batch-retry"),
    path("batches/<slug:batch>/rerun/", batches.BatchRerun.as_view(), name="batch-rerun"),
    path("batches/<slug:batch>/result/", batches.BatchResult.as_view(), name="batch-result"),
    path("batches/<slug:batch>/problems/", batches.BatchProblems.as_view(), name="batch-problems"),
]

urlpatterns = [*prediction_urls, *batch_urls]
