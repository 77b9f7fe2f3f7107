"""Both addresses with and without the last slash: a redirect looks like a success to WooCommerce and loses the event."""

from django.urls import path

from webhooks.views import CrmView, WooCommerceView

urlpatterns = [
    path("woocommerce/", WooCommerceView.as_view(), name="woocommerce-webhook"),
    path("woocommerce", WooCommerceView.as_view()),
    path("crm/", CrmView.as_view(), name="crm-webhook"),
    path("crm", CrmView.as_view()),
]
