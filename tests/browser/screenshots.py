"""`make screenshots`: the pictures of the README, from the sandbox and a fixed story. No test by itself."""

import base64
from pathlib import Path
from typing import Any

from django.utils import timezone
from playwright.sync_api import Page

from orders.models import OrderLink
from sync.jobs import bulk_replay
from sync.jobs.selection import Selection
from sync.models import Run
from sync.monitoring import todo
from tests.browser.conftest import SignIn
from tests.browser.story import a_day, the_day_before
from tests.journeys.conftest import World
from webhooks.models import State, WebhookEvent

HERE = Path(__file__).parent.parent.parent / "docs" / "screenshots"
SIZE = {"width": 1280, "height": 860}
QUALITY, LARGEST = 82, 150_000


def test_the_pictures_of_the_readme(world: World, sign_in: SignIn, settings: Any) -> None:
    settings.PUBLIC_URL = "https://bridge.example"
    the_day_before()
    a_day(world, settings)
    todo.refresh()
    dead = WebhookEvent.objects.get(state=State.DEAD)
    set_back = OrderLink.objects.earliest("woo_id")
    page = sign_in("root", viewport=SIZE)
    take(page, "home", "/admin/")
    take(page, "event", f"/admin/webhooks/webhookevent/{dead.pk}/change/")
    take(page, "bulk", f"/admin/sync/run/{half_way()}/change/")
    page = sign_in("root", viewport=SIZE, color_scheme="dark")
    take(page, "order", f"/admin/orders/orderlink/{set_back.pk}/change/")


def half_way() -> int:
    """A bulk replay in the middle of its work: its primary key."""
    chosen = Selection(events=WebhookEvent.objects.filter(state=State.DEAD), query="state__exact=dead")
    run = bulk_replay.start(chosen, actor="mia", reason="The shop was down from 9 to 11", per_minute=1200)
    counts = {"seen": 4930, "applied": 1217, "updated": 2041, "no_change": 1388, "refused": 271, "parked": 13}
    Run.objects.filter(pk=run.pk).update(
        counts=counts, total=12_480, worked=262.0, holder="bridge-1/4711", beat_at=timezone.now()
    )
    return run.pk


def take(page: Page, name: str, path: str) -> None:
    page.goto(path)
    page.wait_for_timeout(500)  # charts and fonts
    shot = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    picture = base64.b64decode(shot["data"])
    assert len(picture) < LARGEST, f"{name} has {len(picture)} bytes; lower QUALITY"
    HERE.mkdir(exist_ok=True)
    (HERE / f"{name}.webp").write_bytes(picture)
