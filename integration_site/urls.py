"""Where everything is."""

from urllib.parse import quote

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularJSONAPIView

from integration_site import health
from integration_site.sign_in import SignInView


@require_safe
def with_its_slash(request: HttpRequest) -> HttpResponse:
    """As people type an address."""
    query = request.META.get("QUERY_STRING", "")
    return HttpResponseRedirect(f"{quote(request.path)}/{'?' if query else ''}{query}")


urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("webhooks/", include("webhooks.urls")),
    path("openapi.json", SpectacularJSONAPIView.as_view(), name="openapi"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
    # Only here: for deliveries and probes there are no redirects (APPEND_SLASH).
    re_path(r"^admin(?:/.*[^/])?$", with_its_slash),
    path("admin/account/", include("integration_site.account_urls")),
    path("admin/login/", SignInView.as_view(), name="account_login"),
    path("admin/", admin.site.urls),
    # Browsers ask for it wherever a page names no icon, as plain text and JSON do not.
    path("favicon.ico", RedirectView.as_view(url=static("sync/icon.svg"))),
]
