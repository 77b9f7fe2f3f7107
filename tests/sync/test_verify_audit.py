"""The audit is verified by command and at night; while it is broken, an alarm stands."""

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from integration_site.logs import formatter
from orders import audit
from orders.models import AuditSeal, ChainHead, StaffAction
from sync import tasks
from sync.alarms import open_alarms
from sync.management.commands.verify_audit import CHECKPOINT
from sync.models import Run
from tests.factories import OrderLinkFactory, StatusTransitionFactory

pytestmark = pytest.mark.django_db(transaction=True)


def verify(*args: str) -> str:
    out = StringIO()
    call_command("verify_audit", *args, stdout=out)
    return out.getvalue()


def as_json(*args: str) -> dict[str, Any]:
    out = StringIO()
    try:
        call_command("verify_audit", "--json", *args, stdout=out)
    except CommandError as error:
        assert error.returncode == 1
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def test_it_proves_an_empty_database() -> None:
    assert "0 transitions, 0 staff actions: nothing changed or removed" in verify()


def test_what_is_whole_is_proved_recorded_and_kept_as_a_checkpoint() -> None:
    StatusTransitionFactory()
    told = as_json()
    assert (told["verified"], told["transitions"], told["findings"]) == (True, 1, [])
    assert told["checkpoint"] == str(AuditSeal.objects.get())
    assert (StaffAction.objects.get().action, StaffAction.objects.get().actor) == ("verify audit", "command")
    assert as_json()["staff_actions"] == 1


def test_the_first_bad_row_is_named_with_its_order(tamper: Callable[[str], None]) -> None:
    rows = [StatusTransitionFactory(link=OrderLinkFactory(woo_id=70 + n)) for n in range(3)]
    tamper(f"UPDATE orders_statustransition SET to_status = 'refunded' WHERE id = {rows[1].pk}")  # noqa: S608
    tamper(f"UPDATE orders_statustransition SET to_status = 'refunded' WHERE id = {rows[2].pk}")  # noqa: S608
    with pytest.raises(CommandError, match=rf"broken. transition {rows[1].pk} of order 71: .* And 1 more.") as raised:
        verify()
    assert raised.value.returncode == 1
    told = as_json()
    assert (told["verified"], told["found"]) == (False, 2)
    assert [(one["row"], one["order"]) for one in told["findings"]] == [(rows[1].pk, 71), (rows[2].pk, 72)]


def test_the_newest_transition_can_not_vanish(tamper: Callable[[str], None]) -> None:
    link = OrderLinkFactory(woo_id=70)
    first, last = StatusTransitionFactory(link=link), StatusTransitionFactory(link=link)
    tamper(f"DELETE FROM orders_statustransition WHERE id = {last.pk}")  # noqa: S608
    [finding] = as_json()["findings"]
    assert (finding["order"], finding["row"]) == (70, first.pk)


def test_the_alarm_stands_while_it_is_broken(tamper: Callable[[str], None]) -> None:
    row = StatusTransitionFactory()
    tamper("UPDATE orders_statustransition SET actor = 'nobody'")
    tasks.verify_audit()
    [alarm] = open_alarms()
    assert alarm.key == "audit"
    assert f"transition {row.pk} of order {row.link.woo_id}" in alarm.words
    assert "backup" in alarm.advice
    tamper("UPDATE orders_statustransition SET actor = ''")
    tasks.verify_audit()
    assert not open_alarms().exists()


def test_a_run_of_the_night_tells_what_it_saw() -> None:
    StatusTransitionFactory()
    tasks.verify_audit()
    run = Run.objects.get()
    assert (run.kind, run.state, run.error) == ("verify", Run.State.DONE, "")
    assert (run.counts["seen"], run.counts["found"]) == (1, 0)
    assert not StaffAction.objects.exists()
    assert AuditSeal.objects.count() == 1


def test_the_next_run_begins_anew_whatever_became_of_the_one_before(tamper: Callable[[str], None]) -> None:
    """What a dead run has looked at may have been changed since."""
    StatusTransitionFactory()
    tasks.verify_audit()
    Run.objects.update(state=Run.State.FAILED, finished_at=None)
    tamper("UPDATE orders_statustransition SET actor = 'nobody'")
    tasks.verify_audit()
    assert open_alarms().exists()


def test_a_dry_run_leaves_no_trace(tamper: Callable[[str], None]) -> None:
    StatusTransitionFactory()
    tamper("UPDATE orders_statustransition SET actor = 'nobody'")
    assert as_json("--dry-run")["found"] == 1
    assert not open_alarms().exists()
    assert not AuditSeal.objects.exists()
    assert not StaffAction.objects.exists()
    assert not Run.objects.exists()


def test_a_checkpoint_that_was_noted_proves_that_the_database_is_no_older_one() -> None:
    audit.record("replay", actor="ann")
    noted = as_json()["checkpoint"]
    assert as_json("--checkpoint", noted)["verified"]
    told = as_json("--seal", f"7:{noted.partition(':')[2]}")
    assert not told["verified"]
    assert told["findings"][0]["what"] == "checkpoint"


def test_a_line_of_the_log_or_of_the_metrics_is_good_enough(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    StatusTransitionFactory()
    caplog.set_level("INFO", logger="orderbridge.audit")
    noted = as_json()["checkpoint"]
    line = formatter().format(next(one for one in caplog.records if one.message == "audit checkpoint"))
    [metric] = [one for one in client.get("/metrics").text.splitlines() if "audit_checkpoint{" in one]
    assert metric.endswith(" 1.0")
    for text in (line, metric, f"checkpoint {noted}"):
        assert noted.startswith(CHECKPOINT.search(text)[0])  # type: ignore[index]
        assert as_json("--checkpoint", text)["verified"], text


def test_an_older_database_is_found_by_what_is_kept_elsewhere(
    tamper: Callable[[str], None],
) -> None:
    """Within the database that is not possible: an old copy of it, signatures included, is whole in itself."""
    StatusTransitionFactory()
    old_heads = list(ChainHead.objects.filter(pk__lte=0).values_list("pk", "length", "hash", "mac"))
    kept = as_json()["checkpoint"]
    for table in ("statustransition", "staffaction", "auditseal", "chainhead", "orderlink"):
        tamper(f"DELETE FROM orders_{table}")  # noqa: S608
    ChainHead.objects.bulk_create(ChainHead(pk=pk, length=n, hash=h, mac=mac) for pk, n, h, mac in old_heads)
    assert as_json("--dry-run")["verified"]
    with pytest.raises(CommandError, match="an older one"):
        verify("--dry-run", "--checkpoint", kept)


@pytest.mark.parametrize("text", ["12", "x:y", "12:", ":", "9" * 30 + ":abc"])
def test_what_is_no_checkpoint_is_wrong_use(text: str) -> None:
    with pytest.raises(CommandError, match="NUMBER:HASH") as raised:
        verify("--checkpoint", text)
    assert raised.value.returncode == 2
