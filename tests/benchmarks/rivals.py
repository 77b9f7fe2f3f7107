"""The same handler on other queues: one task for each event, on celery with Redis and on procrastinate."""

import os
from collections.abc import Sequence

import django

django.setup()

import procrastinate  # noqa: E402
from celery import Celery  # noqa: E402
from django.db import close_old_connections  # noqa: E402

from tests import pipeline  # noqa: E402

celery_app = Celery("rivals", broker=os.environ["BENCH_REDIS"])
celery_app.conf.update(worker_prefetch_multiplier=4, task_ignore_result=True, broker_connection_retry_on_startup=True)
procrastinate_app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


def settle(side: str, order_ref: str) -> None:
    """What our own worker does with one due order."""
    close_old_connections()
    work = pipeline.take(side, order_ref)
    if work is not None:
        pipeline.settle(work)


on_celery = celery_app.task(name="settle")(settle)
on_procrastinate = procrastinate_app.task(name="settle")(settle)


def enqueue(queue: str, orders: Sequence[str]) -> None:
    """One task for each."""
    if queue == "celery":
        for order in orders:
            on_celery.delay("crm", order)
        return
    with procrastinate_app.open():
        for order in orders:
            on_procrastinate.defer(side="crm", order_ref=order)
