"""The registry's part of the API, under `/api/v1/`."""

from django.urls import path

from registry.api.views import approvals, audit, keys, models, releases, versions

model_urls = [
    path("models/", models.ModelList.as_view(), name="model-list"),
    path("models/<slug:slug>/", models.ModelDetail.as_view(), name="model-detail"),
    path("models/<slug:slug>/delete/", models.ModelDelete.as_view(), name="model-delete"),
    path("models/<slug:slug>/datasets/", models.DatasetList.as_view(), name="dataset-list"),
    path(
        "models/<slug:slug>/datasets/<slug:dataset>/", models.DatasetDetail.as_view(), name="dataset-detail"
    ),
    path("environments/", models.EnvironmentList.as_view(), name="environment-list"),
]

version_urls = [
    path("models/<slug:slug>/versions/", versions.VersionList.as_view(), name="version-list"),
    path(
        "models/<slug:slug>/versions/<int:number>/", versions.VersionDetail.as_view(), name="version-detail"
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/checks/",
        versions.VersionChecks.as_view(),
        name="version-checks",
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/admit/",
        versions.VersionAdmit.as_view(),
        name="version-admit",
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/refuse/",
        versions.VersionRefuse.as_view(),
        name="version-refuse",
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/retire/",
        versions.VersionRetire.as_view(),
        name="version-retire",
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/archive/",
        versions.VersionArchive.as_view(),
        name="version-archive",
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/unarchive/",
        versions.VersionUnarchive.as_view(),
        name="version-unarchive",
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/lift/",
        versions.VersionLift.as_view(),
        name="version-lift",
    ),
    path(
        "models/<slug:slug>/versions/<int:number>/artifact/",
        versions.VersionArtifact.as_view(),
        name="version-artifact",
    ),
]

approval_urls = [
    path(
        "models/<slug:slug>/versions/<int:number>/requests/",
        approvals.RequestCreate.as_view(),
        name="request-create",
    ),
    path("requests/", approvals.RequestList.as_view(), name="request-list"),
    path("requests/<slug:request_id>/", approvals.RequestDetail.as_view(), name="request-detail"),
    path("requests/<slug:request_id>/approve/", approvals.RequestApprove.as_view(), name="request-approve"),
    path("requests/<slug:request_id>/reject/", approvals.RequestReject.as_view(), name="request-reject"),
    path(
        "requests/<slug:request_id>/request-changes/",
        approvals.RequestChanges.as_view(),
        name="request-changes",
    ),
    path(
        "requests/<slug:request_id>/withdraw/", approvals.RequestWithdraw.as_view(), name="request-withdraw"
    ),
]

release_urls = [
    path("models/<slug:slug>/releases/", releases.ReleaseList.as_view(), name="release-list"),
    path("models/<slug:slug>/rollback/", releases.Rollback.as_view(), name="rollback"),
    path("models/<slug:slug>/unfreeze/", releases.Unfreeze.as_view(), name="unfreeze"),
    path("models/<slug:slug>/at/", releases.ServedAt.as_view(), name="served-at"),
]

audit_urls = [
    path("audit/", audit.AuditList.as_view(), name="audit-list"),
    path("audit/verify/", audit.AuditVerify.as_view(), name="audit-verify"),
    path("audit/export/", audit.AuditExport.as_view(), name="audit-export"),
]

key_urls = [
    path("keys/", keys.KeyList.as_view(), name="key-list"),
    path("keys/<int:pk>/rotate/", keys.KeyRotate.as_view(), name="key-rotate"),
    path("keys/<int:pk>/revoke/", keys.KeyRevoke.as_view(), name="key-revoke"),
]

urlpatterns = [*model_urls, *version_urls, *approval_urls, *release_urls, *audit_urls, *key_urls]
