"""Both addresses, with and without the last slash: WooCommerce takes a redirect for a success and the event is lost."""

from django.urls import path

from webhooks.views import CrmView, NamedCrmView, NamedShopView, SecretCrmView, WooCommerceView, shop_keys

urlpatterns = [
    path("woocommerce/", WooCommerceView.as_view(), name="woocommerce-webhook"),
    path("woocommerce", WooCommerceView.as_view()),
    path("crm/", CrmView.as_view(), name="crm-webhook"),
    path("crm", CrmView.as_view()),
    path("woocommerce-keys/", shop_keys, name="woocommerce-keys"),
    path("woocommerce/<slug:connection>/", NamedShopView.as_view(), name="named-shop-webhook"),
    path("woocommerce/<slug:connection>", NamedShopView.as_view()),
    path("crm/<slug:connection>/", NamedCrmView.as_view(), name="named-crm-webhook"),
    path("crm/<slug:connection>", NamedCrmView.as_view()),
    path("crm/<slug:connection>/<str:secret>/", SecretCrmView.as_view(), name="secret-crm-webhook"),
    path("crm/<slug:connection>/<str:secret>", SecretCrmView.as_view()),
]
