"""The audit in the back office: read by those who may, verified by a button, changed by nobody."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from orders import audit
from orders.models import StaffAction
from sync import tasks
from sync.models import Run
from tests.factories import OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from tests.journeys.conftest import run_queue

VERIFY, ACTIONS = "/admin/orders/statustransition/verify/", "/admin/orders/staffaction/"


def log_in(client: Client, role: str) -> None:
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)


@pytest.fixture
def auditor(client: Client) -> Client:
    log_in(client, "auditor")
    return client


@pytest.mark.django_db(transaction=True)
def test_the_button_has_a_worker_look_at_everything(auditor: Client, tamper: Callable[[str], None]) -> None:
    StatusTransitionFactory(link=OrderLinkFactory(woo_id=70))
    answer = auditor.post(VERIFY, {"reason": "yearly audit"}, follow=True)
    assert "handed to the workers" in answer.content.decode()
    run_queue()
    run = Run.objects.get(kind="verify")
    assert (run.state, run.actor, run.reason) == (Run.State.DONE, "auditor", "yearly audit")
    page = auditor.get(VERIFY).content.decode()
    assert "1 transition, 1 staff action: nothing changed or removed" in page
    assert [(done.action, done.actor) for done in StaffAction.objects.order_by("id")] == [
        ("run: start verify", "auditor"),
        ("verify audit", "auditor"),
    ]


@pytest.mark.django_db(transaction=True)
def test_the_first_bad_row_is_named_with_a_link_to_it(auditor: Client, tamper: Callable[[str], None]) -> None:
    row = StatusTransitionFactory(link=OrderLinkFactory(woo_id=70))
    tamper("UPDATE orders_statustransition SET to_status = 'refunded'")
    tasks.verify_audit()
    page = auditor.get(VERIFY).content.decode()
    assert f'href="/admin/orders/statustransition/{row.pk}/change/">transition {row.pk} of order 70' in page
    assert f'href="{VERIFY}"' in auditor.get("/admin/").content.decode()  # the banner's button
    for url in (f"/admin/orders/statustransition/{row.pk}/change/", f"/admin/sync/run/{Run.objects.get().pk}/change/"):
        assert auditor.get(url).status_code == 200
    shown = auditor.get(f"/admin/orders/statustransition/{row.pk}/change/").content.decode()
    assert "Broken" in shown


@pytest.mark.django_db
def test_a_reason_is_needed(auditor: Client) -> None:
    assert auditor.post(VERIFY, {"reason": ""}).status_code == 200
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_the_page_opens_before_anything_was_verified(auditor: Client) -> None:
    assert auditor.get(VERIFY).status_code == 200


@pytest.mark.django_db
def test_one_at_a_time(auditor: Client) -> None:
    for _ in range(2):
        answer = auditor.post(VERIFY, {"reason": "again"}, follow=True)
    assert "is running since" in answer.content.decode()
    assert Run.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["viewer", "support", "operator", "manager"])
def test_nobody_but_an_auditor_verifies_or_reads_what_staff_did(client: Client, role: str) -> None:
    log_in(client, role)
    done = audit.record("replay", actor="ann")
    assert client.get(VERIFY).status_code == 403
    assert client.post(VERIFY, {"reason": "so"}).status_code == 403
    assert client.get(ACTIONS).status_code == 403
    assert client.get(f"{ACTIONS}{done.pk}/change/").status_code == 403
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_a_transition_shows_that_the_chain_of_its_order_is_whole(auditor: Client) -> None:
    row = StatusTransitionFactory()
    StatusTransitionFactory(link=row.link)
    page = auditor.get(f"/admin/orders/statustransition/{row.pk}/change/").content.decode()
    assert "Intact: nothing was changed or removed" in page


@pytest.mark.django_db
def test_what_staff_did_is_found_by_who_by_order_and_by_event(auditor: Client) -> None:
    link, event = OrderLinkFactory(woo_id=70, crm_order_id="C-70"), WebhookEventFactory(pk=4711)
    force = audit.record("force", actor="bob", link=link)
    replay = audit.record("replay", actor="eve", event=event)
    for term, found in (("bob", force), ("70", force), ("C-70", force), ("4711", replay), ("EVE", replay)):
        assert list(auditor.get(ACTIONS, {"q": term}).context["cl"].queryset) == [found]
    assert list(auditor.get(ACTIONS, {"action": "force"}).context["cl"].queryset) == [force]
    assert auditor.get(ACTIONS, {"q": "x" * 10_000}).status_code == 200
    assert auditor.get(f"{ACTIONS}{force.pk}/change/").status_code == 200


@pytest.mark.django_db
def test_not_even_a_superuser_changes_what_staff_did(admin_client: Client) -> None:
    done = audit.record("replay", actor="ann")
    assert admin_client.get(f"{ACTIONS}add/").status_code == 403
    assert admin_client.post(f"{ACTIONS}{done.pk}/change/", {"reason": "forged"}).status_code == 403
    assert admin_client.post(f"{ACTIONS}{done.pk}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(ACTIONS, {"action": "delete_selected", "_selected_action": done.pk, "post": "yes"})
    assert StaffAction.objects.filter(pk=done.pk, reason="").exists()
