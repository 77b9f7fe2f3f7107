"""Many events are replayed, and long runs started, by people at a browser; the worker works when the test says so."""

from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from sync import tasks
from sync.admin.events import EventAdmin
from sync.models import Run
from sync.registry import JOBS
from tests.browser.conftest import PHONE, SignIn
from tests.browser.story import order
from tests.factories import WebhookEventFactory
from tests.journeys.conftest import World
from webhooks.models import State, WebhookEvent

MANY = 12


@pytest.fixture(autouse=True)
def given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the list shows on one page."""
    monkeypatch.setattr(EventAdmin, "list_per_page", 5)
    woo_id, _ = order(world, 0)
    for _ in range(MANY):
        WebhookEventFactory(order_ref=str(woo_id), state=State.DEAD, next_attempt_at=None, reason="Given up")


def planned(page: Page) -> None:
    """From home to the plan of all that are dead."""
    page.get_by_role("link", name="Dead").click()
    page.locator("thead").get_by_role("checkbox").check()
    page.get_by_text(f"Select all {MANY} events").click()
    page.get_by_role("combobox").filter(has_text="Replay…").select_option(label="Replay…")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", name=f"Replay {MANY} events")).to_be_visible()


def started(page: Page, *, per_minute: str) -> None:
    page.get_by_label("Speed limit").fill(per_minute)
    page.get_by_label("Reason").fill("The CRM is mended")
    page.get_by_role("button", name="Start the replay").click()
    expect(page.get_by_text("was handed to the workers")).to_be_visible()


def worked(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A stretch of a worker."""
    monkeypatch.setitem(JOBS, "replay", replace(JOBS["replay"], stretch=seconds))
    tasks.carry_out(Run.objects.latest("pk").pk)


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark", "viewport": PHONE}], ids=["light", "dark phone"])
def test_a_bulk_replay_is_planned_started_watched_and_cancelled(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    page = sign_in("operator", **options)
    planned(page)
    page.get_by_label("Reason").fill("The CRM is mended")
    page.get_by_role("button", name="Preview a few first").click()
    expect(page.get_by_text("Out of")).to_be_visible()
    started(page, per_minute="30")
    expect(page.get_by_text(f"0 of {MANY}")).to_be_visible()
    while not (seen := Run.objects.get().counts.get("seen")):
        worked(monkeypatch, 0.1)
    expect(page.get_by_text(f"{seen} of {MANY}")).to_be_visible()  # without a reload
    page.get_by_role("link", name="Cancel…").click()
    page.get_by_label("Reason").fill("Enough for today")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Resume…")).to_have_count(0)
    left = WebhookEvent.objects.filter(state=State.DEAD).count()
    worked(monkeypatch, 5)
    assert WebhookEvent.objects.filter(state=State.DEAD).count() == left > 0


def test_a_bulk_replay_is_paused_resumed_and_read_when_it_is_over(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = sign_in("operator")
    planned(page)
    started(page, per_minute="")
    for action in ("Pause", "Resume"):
        page.get_by_role("link", name=f"{action}…").click()
        page.get_by_label("Reason").fill("Peak hours")
        page.get_by_role("button", name=action).click()
    expect(page.get_by_text("Handed to the workers.")).to_be_visible()
    worked(monkeypatch, 60)
    expect(page.get_by_role("heading", name="Report")).to_be_visible()
    expect(page.get_by_text(f"{MANY} of {MANY} · 100 %")).to_be_visible()
    assert not WebhookEvent.objects.filter(state=State.DEAD).exists()


def test_a_reconcile_is_started_from_the_list_of_runs(sign_in: SignIn) -> None:
    page = sign_in("operator")
    page.goto("/admin/sync/run/")
    page.get_by_text("Start…").click()
    page.get_by_role("link", name="Reconcile").click()
    page.get_by_label("Reason").fill("To be sure")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("was handed to the workers")).to_be_visible()
    tasks.carry_out(Run.objects.get().pk)
    expect(page.get_by_role("heading", name="Report")).to_be_visible()
    assert Run.objects.get().state == Run.State.DONE
