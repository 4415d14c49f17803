"""The whole URL map. Lists are named by their subject; the API has a namespace of its own."""

from django.contrib import admin
from django.urls import include, path

from inference.api.urls import urlpatterns as inference_api
from monitoring.api.urls import urlpatterns as monitoring_api
from portal.accounts import closed
from portal.views import (
    accounts,
    api,
    audit,
    batches,
    calls,
    health,
    home,
    incidents,
    inference,
    monitoring,
    notices,
    outcomes,
)
from portal.views.registry import approvals, comparing, datasets, models, policies, releases, versions
from registry.api.urls import urlpatterns as registry_api

service_urls = [
    path("livez", health.live, name="livez"),
    path("readyz", health.ready, name="readyz"),
]

home_urls = [
    path("", home.home, name="home"),
    path("home/demo-progress/", home.demo_progress, name="demo-progress"),
    path("help/", home.help_page, name="help"),
    path("system/", health.system_check, name="system-check"),
]

registry_urls = [
    path("models/", models.model_list, name="model-list"),
    path("models/new/", models.model_create, name="model-create"),
    path("models/<slug:slug>/", models.model_detail, name="model-detail"),
    path("models/<slug:slug>/delete/", models.model_delete, name="model-delete"),
    path("models/<slug:slug>/edit/", models.model_edit, name="model-edit"),
    path("models/<slug:slug>/data/", models.dataset_list, name="dataset-list"),
    path("models/<slug:slug>/datasets/<slug:public_id>/", datasets.dataset_detail, name="dataset-detail"),
    path(
        "models/<slug:slug>/datasets/<slug:public_id>/file/",
        datasets.dataset_download,
        name="dataset-download",
    ),
    path("models/<slug:slug>/policy/", policies.model_policy, name="model-policy"),
    path("models/<slug:slug>/api/", models.model_api, name="model-api"),
    path("versions/", versions.version_index, name="version-index"),
    path("versions/new/", versions.version_upload_index, name="version-upload-index"),
    path("models/<slug:slug>/versions/", versions.version_list, name="version-list"),
    path("compare/", comparing.compare_index, name="compare-index"),
    path("models/<slug:slug>/compare/", comparing.compare, name="compare"),
    path("models/<slug:slug>/versions/new/", versions.version_upload, name="version-upload"),
    path("models/<slug:slug>/v/<int:number>/", versions.version_detail, name="version-detail"),
    path("models/<slug:slug>/v/<int:number>/live/", versions.version_checks, name="version-live"),
    path("models/<slug:slug>/v/<int:number>/edit/", versions.version_edit, name="version-edit"),
    path("models/<slug:slug>/v/<int:number>/check/", versions.version_check, name="version-check"),
    path("models/<slug:slug>/v/<int:number>/request/", versions.version_request, name="version-request"),
    path("models/<slug:slug>/v/<int:number>/review/", versions.version_review, name="version-review"),
    path("models/<slug:slug>/v/<int:number>/retire/", versions.version_retire, name="version-retire"),
    path("models/<slug:slug>/v/<int:number>/archive/", versions.version_archive, name="version-archive"),
    path("models/<slug:slug>/v/<int:number>/file/", versions.version_download, name="version-download"),
    path("models/<slug:slug>/v/<int:number>/release/", releases.version_release, name="version-release"),
    path("releases/", releases.release_index, name="release-index"),
    path("models/<slug:slug>/releases/", releases.release_list, name="release-list"),
    path("models/<slug:slug>/releases/at/", releases.release_at, name="release-at"),
    path("models/<slug:slug>/releases/roll-back/", releases.roll_back, name="roll-back"),
    path("models/<slug:slug>/releases/unfreeze/", releases.unfreeze, name="unfreeze"),
    path(
        "models/<slug:slug>/releases/<int:number>/figures/",
        releases.release_figures,
        name="release-figures",
    ),
    path(
        "models/<slug:slug>/releases/<int:number>/first-answer/",
        releases.release_first_answer,
        name="release-first-answer",
    ),
    path("models/<slug:slug>/releases/<int:number>/ticks/", releases.release_ticks, name="release-ticks"),
    path("approvals/", approvals.approval_list, name="approval-list"),
    path("approvals/<str:public_id>/", approvals.approval_detail, name="approval-detail"),
    path("approvals/<str:public_id>/withdraw/", approvals.approval_withdraw, name="approval-withdraw"),
]

audit_urls = [
    path("audit/", audit.audit_log, name="audit-log"),
    path("audit/verify/", audit.audit_verify, name="audit-verify"),
    path("audit/verify_audit.py", audit.audit_script, name="audit-script"),
    path("audit/export/", audit.audit_export, name="audit-export"),
    path("audit/<int:seq>/", audit.audit_event, name="audit-event"),
]

notice_urls = [
    path("notices/", notices.notice_list, name="notices"),
    path("notices/read/", notices.notice_read, name="notice-read"),
    path("notices/<int:pk>/", notices.notice_open, name="notice-open"),
]

call_urls = [
    path("requests-log/", calls.request_log, name="request-log"),
    path("usage/", calls.usage_page, name="usage"),
    path("usage/usage.csv", calls.usage_csv, name="usage-csv"),
]

people_urls = [
    path("keys/", accounts.key_list, name="key-list"),
    path("keys/new/", accounts.key_create, name="key-create"),
    path("keys/<int:pk>/revoke/", accounts.key_revoke, name="key-revoke"),
    path("keys/<int:pk>/rotate/", accounts.key_rotate, name="key-rotate"),
    path("people/", accounts.person_list, name="people"),
    path("people/new/", accounts.person_invite, name="person-invite"),
    path("people/<int:pk>/", accounts.person_detail, name="person"),
    path("people/<int:pk>/link/", accounts.person_link, name="person-link"),
    path("people/<int:pk>/active/", accounts.person_active, name="person-active"),
    path(
        "people/<int:pk>/second-factor/remove/",
        accounts.person_second_factor,
        name="person-second-factor",
    ),
]

inference_urls = [
    path("models/<slug:slug>/predict/", inference.predict_form, name="predict"),
    path("predictions/<str:public_id>/", inference.prediction_detail, name="prediction"),
    path("predictions/<str:public_id>/outcome/", inference.record_outcome, name="prediction-outcome"),
    path("predictions/<str:public_id>/report/", inference.report, name="prediction-report"),
    path("models/<slug:slug>/outcomes/", outcomes.model_outcomes, name="model-outcomes"),
    path("history/", inference.history, name="history"),
]

batch_urls = [  # /batches/… and /models/<slug>/batch/…
    path("batches/", batches.batch_list, name="batch-list"),
    path("batches/<slug:public_id>/", batches.batch_detail, name="batch-detail"),
    path("batches/<slug:public_id>/progress/", batches.batch_progress, name="batch-progress"),
    path("batches/<slug:public_id>/run/", batches.batch_run, name="batch-run"),
    path("batches/<slug:public_id>/cancel/", batches.batch_cancel, name="batch-cancel"),
    path("batches/<slug:public_id>/retry/", batches.batch_retry, name="batch-retry"),
    path("batches/<slug:public_id>/delete/", batches.batch_delete, name="batch-delete"),
    path("batches/<slug:public_id>/result/", batches.batch_result, name="batch-result"),
    path("batches/<slug:public_id>/problems/", batches.batch_problems, name="batch-problems"),
    path("models/<slug:slug>/batch/new/", batches.batch_new, name="batch-new"),
    path("models/<slug:slug>/batch/template.csv", batches.batch_template, name="batch-template"),
]

monitoring_urls = [
    path("alerts/", incidents.alert_list, name="alert-list"),
    path("alerts/<slug:public_id>/", incidents.incident_detail, name="incident"),
    path("models/<slug:slug>/v/<int:number>/lift/", incidents.version_lift, name="version-lift"),
    path("health/", monitoring.fleet, name="fleet"),
    path("drift/", monitoring.fleet, name="drift-fleet"),
    path("models/<slug:slug>/health/", monitoring.model_health, name="health"),
    path("models/<slug:slug>/health/<slug:name>.csv", monitoring.health_csv, name="health-csv"),
    path("models/<slug:slug>/drift/", monitoring.model_drift, name="drift"),
    path("models/<slug:slug>/drift/check/", monitoring.check_now, name="drift-check"),
    path("models/<slug:slug>/drift/settings/", monitoring.drift_settings, name="drift-settings"),
    path("models/<slug:slug>/drift/<slug:name>.csv", monitoring.drift_csv, name="drift-csv"),
]

api_urls = [*registry_api, *inference_api, *monitoring_api]

api_page_urls = [
    path("api/schema/", api.Schema.as_view(), name="api-schema"),
    path("api/docs/", api.docs, name="api-docs"),
]

# allauth lets people add addresses to their account; here the address is the person, and an administrator's matter.
closed_urls = [
    path("accounts/email/", closed, name="account_email"),
    path("accounts/confirm-email/", closed, name="account_email_verification_sent"),
]

urlpatterns = [
    *service_urls,
    *home_urls,
    *registry_urls,
    *inference_urls,
    *batch_urls,
    *monitoring_urls,
    *audit_urls,
    *notice_urls,
    *call_urls,
    *people_urls,
    *closed_urls,
    path("accounts/", include("allauth.account.urls")),
    path("accounts/second-factor/", include("allauth.mfa.urls")),
    path("admin/", admin.site.urls),
    *api_page_urls,
    path("api/v1/", include((api_urls, "api"))),
    path("api/<path:path>", api.nowhere, name="api-nowhere"),
]

handler400 = "portal.views.errors.bad_request"
handler403 = "portal.views.errors.forbidden"
handler404 = "portal.views.errors.not_found"
handler500 = "portal.views.errors.server_error"
