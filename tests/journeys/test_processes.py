"""The service as it runs for real: gunicorn, a cluster of django-q2, a database file, and both sides over HTTP."""

from pathlib import Path

from tests.journeys.conftest import Both, wait_for
from tests.journeys.processes import CLUSTER, gunicorn, ready, running

ORDERS = 30


def test_web_and_workers_carry_thirty_orders_there_and_their_statuses_back(both: Both, tmp_path: Path) -> None:
    shop, crm, url, env = both.shop, both.crm, both.url, both.env
    log = tmp_path / "out.log"
    with running(*gunicorn(url), env=env, log=log), running(*CLUSTER, env=env, log=log):
        wait_for(lambda: ready(url))
        ids = [shop.create_order(status="pending")["id"] for _ in range(ORDERS)]
        wait_for(lambda: all(len(crm.by_external(woo_id)) == 1 for woo_id in ids))
        for woo_id in ids:
            crm.set_status(crm.by_external(woo_id)[0]["id"], "paid")
        wait_for(lambda: all(shop.orders[woo_id]["status"] == "processing" for woo_id in ids))
    assert len(crm.creates) == ORDERS
    written = log.read_text()
    assert "database is locked" not in written
    assert '"what": "transition"' in written and '"what": "delivery"' in written
    assert "crm-token" not in written and "cs_test" not in written
