"""The whole URL map. Lists are named by their subject; the API has a namespace of its own."""

from django.contrib import admin
from django.urls import include, path

from portal.views import health

service_urls = [
    path("livez", health.live, name="livez"),
    path("readyz", health.ready, name="readyz"),
]

home_urls: list = []

registry_urls: list = []

audit_urls: list = []

people_urls: list = []

inference_urls: list = []

batch_urls: list = []

monitoring_urls: list = []

api_urls: list = []

urlpatterns = [
    *service_urls,
    *home_urls,
    *registry_urls,
    *inference_urls,
    *batch_urls,
    *monitoring_urls,
    *audit_urls,
    *people_urls,
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
    path("api/", include((api_urls, "api"))),
]

handler400 = "portal.views.errors.bad_request"
handler403 = "portal.views.errors.forbidden"
handler404 = "portal.views.errors.not_found"
handler500 = "portal.views.errors.server_error"
