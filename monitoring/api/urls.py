"""Monitoring's part of the API, under `/api/v1/`."""

from django.urls import path

from monitoring.api import views

urlpatterns = [
    path("models/<slug:slug>/drift/", views.DriftList.as_view(), name="drift"),
    path("models/<slug:slug>/drift/check/", views.DriftCheck.as_view(), name="drift-check"),
    path("models/<slug:slug>/drift/evaluate/", views.DriftEvaluate.as_view(), name="drift-evaluate"),
    path("models/<slug:slug>/performance/", views.PerformanceList.as_view(), name="performance"),
    path("models/<slug:slug>/service/", views.ServiceDetail.as_view(), name="service"),
    path("models/<slug:slug>/monitoring/", views.MonitoringDetail.as_view(), name="monitoring"),
]
