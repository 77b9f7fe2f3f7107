"""The least a Django receiver can do: one view, one raw INSERT of the body. What the real one is compared with."""

from typing import Any

from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from integration_site import settings as real

SECRET_KEY = real.SECRET_KEY
DATABASES = real.DATABASES
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = __name__
USE_TZ = True
ACCEPTED = b'{"status": "accepted"}'


def receive(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bare (body) VALUES (%s)", [request.body])
    return HttpResponse(ACCEPTED, content_type="application/json", headers={"Content-Length": str(len(ACCEPTED))})


urlpatterns = [path("webhooks/woocommerce/", receive), path("healthz", lambda request: HttpResponse("ok"))]


def application() -> Any:
    """For a web server: `tests.benchmarks.bare:application()`."""
    return get_wsgi_application()


def make_table() -> None:
    """Once, before the web server's processes would all do it at the same time."""
    get_wsgi_application()
    id_type, body_type = ("bigserial", "bytea") if connection.vendor == "postgresql" else ("integer", "blob")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS bare (id {id_type} PRIMARY KEY, body {body_type} NOT NULL)")


if __name__ == "__main__":
    make_table()
