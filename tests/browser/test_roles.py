"""Who sees what, in a browser: each role signs in, finds its own buttons, and is refused the others' pages."""

from playwright.sync_api import Page, expect

from orders.models import StaffAction, StatusTransition
from sync.models import SideState
from tests.browser.conftest import SignIn, Watch
from tests.browser.story import fell_behind, moved, order, shipped_then_set_back
from tests.journeys.conftest import World
from webhooks.models import WebhookEvent

ON_AN_ORDER = ("Check now", "Repair…", "Force a move…")
SEEN_BY = {
    "viewer": set(),
    "support": {"Check now", "Repair…"},
    "operator": {"Check now", "Repair…"},
    "manager": {"Check now", "Repair…", "Force a move…"},
    "auditor": set(),
}


def buttons(page: Page, *names: str) -> set[str]:
    """Those of the names that can be pressed on the page."""
    page.wait_for_load_state()
    pressable = page.locator("main, body").first.locator("button:visible, a:visible")
    texts = [text.strip() for text in pressable.all_inner_texts()]
    return {name for name in names if any(text == name or text.endswith(f"\n{name}") for text in texts)}


def order_page(world: World, woo_id: int) -> str:
    return f"/admin/orders/orderlink/{world.link(woo_id).pk}/change/"


def test_each_role_signs_in_and_finds_its_own_buttons_only(world: World, sign_in: SignIn) -> None:
    woo_id = order(world, 0)[0]
    page = None
    for role, seen in SEEN_BY.items():
        page = sign_in(role, instead_of=page)
        expect(page.get_by_role("navigation", name="Status summary")).to_be_visible()
        page.get_by_role("link", name="Orders", exact=True).click()
        page.get_by_role("link", name=str(woo_id), exact=True).click()
        expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
        assert buttons(page, *ON_AN_ORDER) == seen, role


def test_a_viewer_is_refused_every_action_called_by_its_address(world: World, sign_in: SignIn, watch: Watch) -> None:
    woo_id = order(world, 0)[0]
    link, event = world.link(woo_id), WebhookEvent.objects.latest("id")
    side = SideState.objects.get(name="shop")
    page = sign_in("viewer")
    before = StaffAction.objects.count(), WebhookEvent.objects.count()
    for action in (
        f"/admin/orders/orderlink/{link.pk}/force/",
        f"/admin/orders/orderlink/{link.pk}/check/",
        f"/admin/orders/orderlink/{link.pk}/repair/",
        f"/admin/webhooks/webhookevent/{event.pk}/replay/",
        f"/admin/webhooks/webhookevent/{event.pk}/reveal/",
        f"/admin/webhooks/webhookevent/{event.pk}/body/",
        f"/admin/sync/sidestate/{side.pk}/pause/",
        "/admin/orders/statusrule/add/",
    ):
        answer = page.goto(action)
        assert answer and answer.status == 403, action
        expect(page.get_by_role("heading", name="You do not have permission to do this")).to_be_visible()
        assert posted(page, action) == 403, action
        page.get_by_role("link", name="Back to the home page").click()
    assert (StaffAction.objects.count(), WebhookEvent.objects.count()) == before
    watch.forbidden.clear()


def posted(page: Page, path: str) -> int:
    """What the address answers to the form that the person was never shown."""
    token = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "csrftoken")
    data = {"csrfmiddlewaretoken": token, "confirmed": "yes", "reason": "because I can"}
    return page.request.post(path, form=data, max_redirects=0).status


def test_support_checks_an_order_and_repairs_it(world: World, sign_in: SignIn) -> None:
    woo_id = fell_behind(world)
    page = sign_in("support")
    page.goto(order_page(world, woo_id))
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("A repair would move the shop: processing → completed.")).to_be_visible()
    expect(page.get_by_text("differs").first).to_be_visible()
    page.get_by_role("button", name="Repair…").click()
    expect(page.get_by_text("A repair would make these changes")).to_be_visible()
    page.get_by_label("Reason").fill("The customer asked where it is")
    page.get_by_role("button", name="Repair", exact=True).click()
    expect(page.get_by_text("The worker was asked: event")).to_be_visible()
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "completed"
    page.reload()
    expect(page.get_by_role("listitem").filter(has_text="processing → completed applied")).to_be_visible()


def test_a_manager_forces_a_move_that_the_lifecycle_refuses(world: World, sign_in: SignIn) -> None:
    woo_id = shipped_then_set_back(world)
    page = sign_in("manager")
    page.goto(order_page(world, woo_id))
    expect(page.get_by_role("listitem").filter(has_text="completed → processing refused")).to_be_visible()
    page.get_by_role("link", name="Force a move…").click()
    page.get_by_label("Status in the shop").select_option(label="processing: not allowed; it can only be forced")
    page.get_by_label("Reason").fill("The parcel came back")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("completed → processing")).to_be_visible()
    page.get_by_role("button", name="Force the move").click()
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"
    assert StatusTransition.objects.latest("id").decision == "forced"
    page.reload()
    expect(page.get_by_role("listitem").filter(has_text="completed → processing forced")).to_be_visible()


def test_an_operator_pauses_a_side_and_lets_it_go_on(world: World, sign_in: SignIn) -> None:
    woo_id, crm_id = order(world, 3)
    page = sign_in("operator")
    page.get_by_role("link", name="Sides").click()
    page.get_by_role("link", name="Shop", exact=True).click()
    page.get_by_role("link", name="Pause").click()
    page.get_by_label("Reason").fill("The shop is being updated")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused by staff")).to_be_visible()
    world.crm.set_status(crm_id, "paid")
    world.work()
    assert world.shop.orders[woo_id]["status"] == "pending"
    page.goto("/admin/")
    page.get_by_role("alert").get_by_role("link", name="Resume").click()
    page.get_by_label("Reason").fill("It is back")
    page.get_by_role("button", name="Resume").click()
    world.bury_the_dead()
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"


def test_an_auditor_reveals_personal_data_and_that_is_recorded(world: World, sign_in: SignIn) -> None:
    order(world, 4)
    event = WebhookEvent.objects.earliest("id")
    page = sign_in("auditor")
    page.goto(f"/admin/webhooks/webhookevent/{event.pk}/change/")
    expect(page.get_by_text("customer4@example.test")).to_have_count(0)
    page.get_by_role("link", name="Reveal personal data").click()
    page.get_by_label("Reason").fill("The customer asks what we keep")
    page.get_by_role("button", name="Reveal").click()
    expect(page.get_by_text("customer4@example.test").first).to_be_visible()
    action = StaffAction.objects.get(action="reveal")
    assert (action.actor, action.reason, action.event) == ("auditor", "The customer asks what we keep", event)


def test_the_lifecycle_refuses_a_status_that_the_shop_does_not_know(world: World, sign_in: SignIn) -> None:
    moved(world, order(world, 5)[1], "paid")
    page = sign_in("manager")
    page.get_by_role("link", name="Status rules").click()
    expect(page.get_by_role("region", name="Drawing of the lifecycle")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="delivered")
    row.get_by_role("textbox").fill("deliverd")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The shop does not know the status 'deliverd'")).to_be_visible()
    row.get_by_role("textbox").fill("processing")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("1 status rule was changed successfully.")).to_be_visible()
