"""Monitoring's part of the API, under `/api/v1/`."""

from django.urls import path

from monitoring.api import incidents, usage, views

urlpatterns = [
    path("usage/", usage.Usage.as_view(), name="usage"),
    path("incidents/", incidents.IncidentList.as_view(), name="incident-list"),
    path("incidents/<slug:incident_id>/", incidents.IncidentDetail.as_view(), name="incident-detail"),
    path(
        "incidents/<slug:incident_id>/acknowledge/",
        incidents.IncidentAcknowledge.as_view(),
        name="incident-acknowledge",
    ),
    path("incidents/<slug:incident_id>/mute/", incidents.IncidentMute.as_view(), name="incident-mute"),
    path(
        "incidents/<slug:incident_id>/resolve/", incidents.IncidentResolve.as_view(), name="incident-resolve"
    ),
    path("models/<slug:slug>/drift/", views.DriftList.as_view(), name="drift"),
    path("models/<slug:slug>/drift/check/", views.DriftCheck.as_view(), name="drift-check"),
    path("models/<slug:slug>/drift/evaluate/", views.DriftEvaluate.as_view(), name="drift-evaluate"),
    path("models/<slug:slug>/performance/", views.PerformanceList.as_view(), name="performance"),
    path("models/<slug:slug>/service/", views.ServiceDetail.as_view(), name="service"),
    path("models/<slug:slug>/monitoring/", views.MonitoringDetail.as_view(), name="monitoring"),
]
