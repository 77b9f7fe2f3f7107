"""What of allauth has a page: nobody signs up, and nobody resets a password by mail."""

from allauth.account.views import reauthenticate
from allauth.socialaccount.views import connections
from django.contrib import admin
from django.urls import include, path, reverse_lazy
from django.views.generic import RedirectView

from integration_site import company, setup_link

to_login = RedirectView.as_view(url=reverse_lazy("admin:login"), query_string=True)

urlpatterns = [
    path("setup/<str:token>/", setup_link.set_up, name="set_up"),
    path("2fa/", include("allauth.mfa.urls")),
    path("sessions/", include("allauth.usersessions.urls")),
    path("confirm/", reauthenticate, name="account_reauthenticate"),
    path("connections/", connections, name="socialaccount_connections"),
    path("oidc/<str:provider_id>/login/", company.login, name="openid_connect_login"),
    path("oidc/<str:provider_id>/login/callback/", company.callback, name="openid_connect_callback"),
    # Names that allauth's code leads to.
    path("signup/", to_login, name="account_signup"),
    path("logout/", admin.site.logout, name="account_logout"),
]
