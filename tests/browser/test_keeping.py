"""What keeps an installation for years, with the mouse: who hears of alarms, a month that is proved, the figures."""

import hashlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone
from playwright.sync_api import Page, expect

from sync.alarms import raise_alarm
from sync.jobs import engine
from sync.models import Alarm, HourlyFigure, Recipient, Run, Severity
from sync.notifications import rounds
from tests.browser.conftest import DESK, PHONE, SignIn
from tests.browser.story import order
from tests.journeys.conftest import World
from tests.sync.receivers import http_receiver


def fits(page: Page) -> bool:
    page.wait_for_load_state()
    return bool(page.locator("html").evaluate("html => html.scrollWidth <= window.innerWidth"))


def test_somebody_is_told_of_an_alarm_and_sees_to_it(sign_in: SignIn, settings: Any, live_server: Any) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES, settings.PUBLIC_URL = True, live_server.url
    page = sign_in("manager")
    page.get_by_role("link", name="Recipients").first.click()
    page.get_by_role("link", name="Add recipient").first.click()
    page.get_by_label("Name").fill("Night shift")
    page.get_by_label("Address").fill("sms://0123456789")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("sms:// is none of the services")).to_be_visible()
    with http_receiver() as receiver:
        page.get_by_label("Address").fill(receiver.url("ok"))
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_role("link", name="Night shift").first.click()
        page.get_by_role("link", name="Send a test…").click()
        page.get_by_label("Reason").fill("Is it loud enough?")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_text("Waiting", exact=True)).to_be_visible()
        rounds.send_due()
        page.reload()
        expect(page.get_by_text("Sent", exact=True)).to_be_visible()
        raise_alarm("gone", "30 orders are gone from the shop.", "See /admin/sync/run/.", Severity.CRITICAL)
        rounds.send_due()
        test, alarm = receiver.got
    assert test["title"] == "[Orderbridge] Test"
    assert str(receiver.server_port) not in Recipient.objects.get().address
    links = re.findall(r"http\S+", alarm["message"])
    page = sign_in("support", viewport=PHONE)
    for link in links:
        page.goto(link.rstrip("."))
        assert fits(page), link
    expect(page.get_by_role("link", name="/admin/sync/run/")).to_be_visible()
    page.set_viewport_size(DESK)
    page.get_by_role("link", name="Acknowledge…").click()
    page.get_by_label("Reason").fill("I am looking at the shop")
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(page.get_by_text("support, ", exact=False)).to_be_visible()
    assert Alarm.objects.get().acknowledged_because == "I am looking at the shop"


def test_a_month_is_proved_and_the_file_is_the_one_that_was_signed(
    world: World, sign_in: SignIn, tmp_path: Path
) -> None:
    for number in range(3):
        order(world, number)
    page = sign_in("manager")
    page.goto("/admin/sync/run/start/month_end/")
    today = timezone.now().date()
    page.get_by_label("From").fill(f"{today.replace(day=1):%Y-%m-%d}")
    page.get_by_label("Until").fill(f"{today:%Y-%m-%d}")
    page.get_by_label("Reason").fill("The books of this month")
    page.get_by_role("button", name="Start", exact=True).click()
    run = Run.objects.get(kind="month_end")
    assert engine.carry_out(run), run.error
    page.goto(f"/admin/sync/run/{run.pk}/change/")
    expect(page.get_by_text("The speed is not known yet")).to_have_count(0)
    page.get_by_role("link", name="Show the report, to be printed or exported").click()
    expect(page.get_by_role("row").filter(has_text="EUR")).to_be_visible()
    sha256 = run.kept["report"]["sha256"]
    expect(page.get_by_text(sha256)).to_be_visible()
    page.emulate_media(media="print")
    for name in ("Export CSV…", "Recipients"):
        expect(page.get_by_role("link", name=name)).to_be_hidden()
    expect(page.get_by_text(sha256)).to_be_visible()
    page.emulate_media(media="screen")
    page.get_by_role("link", name="Export CSV…").click()
    page.get_by_label("Reason").fill("For the accountant")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    download.value.save_as(tmp_path / "proof.csv")
    assert hashlib.sha256((tmp_path / "proof.csv").read_bytes()).hexdigest() == sha256
    page.set_viewport_size(PHONE)
    page.goto(f"/admin/sync/run/{run.pk}/month-end/")
    assert fits(page)


def test_the_figures_of_a_period_are_drawn(sign_in: SignIn) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for days in (0, 5, 80):
        hour = {"hour": now - timedelta(days=days), "count": 10, "milliseconds": 1000}
        HourlyFigure.objects.create(what="attempt", side="shop", result="updated", **hour)
        HourlyFigure.objects.create(what="call", side="crm", result="200", **hour)
    page = sign_in("viewer", viewport=PHONE)
    page.goto("/admin/sync/hourlyfigure/")
    expect(page.get_by_role("img", name="30 attempts with an outcome, 0 failed")).to_be_visible()
    expect(page.get_by_role("img", name="30 calls, on average 100 ms")).to_be_visible()
    page.goto("/admin/sync/hourlyfigure/?days=7")
    expect(page.get_by_role("img", name="20 attempts with an outcome, 0 failed")).to_be_visible()
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(one => one)"
    page.wait_for_function(f"Array.from(document.querySelectorAll('canvas')).every({drawn})")
    assert page.locator("canvas").count() == 2 and fits(page)
