"""Whoever can write to the database or to the broker does not run code in the workers, and does not stop them."""

import base64
import pickle
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_q import cluster as django_q_cluster
from django_q.brokers import get_broker
from django_q.models import OrmQ, Schedule, Task
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from sync import tasks
from sync.alarms import open_alarms
from sync.jobs import pruning
from sync.management.commands import qcluster  # noqa: F401  whatever it brings is in force
from sync.models import Alarm, Run
from sync.queue import allowed, schedules
from tests.test_names import task_names

pytestmark = pytest.mark.django_db
OPENED: list[str] = []


def opened(what: str) -> None:
    OPENED.append(what)


class Evil:
    def __reduce__(self) -> Any:
        return (opened, ("a pickle",))


def scheduler() -> None:
    """What the guard calls twice a minute."""
    django_q_cluster.scheduler(broker=get_broker())


def handed_out() -> list[tuple[str, tuple[Any, ...]]]:
    """What the workers would get."""
    broker, given = get_broker(), []
    while OrmQ.objects.filter(lock__lte=timezone.now()).exists():
        for _, payload in broker.dequeue():
            task = SignedPackage.loads(payload)
            given.append((task["func"], tuple(task["args"])))
    return given


def planned() -> list[tuple[str, tuple[Any, ...]]]:
    return sorted((one.task, ()) for one in schedules.planned())


def row(**fields: Any) -> None:
    Schedule.objects.create(
        **{"name": "mine", "func": "os.system", "schedule_type": "I", "minutes": 1, "repeats": -1} | fields
    )


def raw(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


FOREIGN: dict[str, Callable[[], object]] = {
    "a name": lambda: row(args="('touch x',)"),
    "once": lambda: row(schedule_type="O"),
    "a changed row": lambda: Schedule.objects.filter(name="sweep").update(func="os.system"),
    "arguments": lambda: Schedule.objects.filter(name="sweep").update(args="('touch x',)"),
    "a hook": lambda: Schedule.objects.filter(name="sweep").update(hook="os.system"),
    "in the guard itself": lambda: Schedule.objects.filter(name="sweep").update(kwargs="{'q_options':{'sync':True}}"),
    "a time as argument": lambda: Schedule.objects.filter(name="sweep").update(intended_date_kwarg="x"),
    "another cluster": lambda: Schedule.objects.filter(name="sweep").update(cluster="theirs"),
    "a look-alike": lambda: row(name="Sweep", func="sync.tasks.Sweep"),
    "a task of ours under another name": lambda: row(func="sync.tasks.carry_out"),
    "our name a second time": lambda: row(name="sweep", func="sync.tasks.sweep"),
    "no name": lambda: row(name=None),
    "what can not be read": lambda: row(args="((("),
    "an unknown kind": lambda: row(schedule_type="XX"),
    "a wrong cron line": lambda: Schedule.objects.bulk_create(
        [Schedule(name="c", func="x", schedule_type="C", cron="?")]
    ),
    "long ago, so that django-q2 would count for ever": lambda: row(next_run=timezone.now() - timedelta(days=700_000)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_schedule_is_removed_and_told_of_and_ours_go_on(what: str) -> None:
    FOREIGN[what]()
    Schedule.objects.update(next_run=timezone.now() - timedelta(seconds=1))
    scheduler()
    scheduler()
    assert sorted(handed_out()) in (planned(), [one for one in planned() if one[0] != "sync.tasks.sweep"])
    assert sorted(Schedule.objects.values_list("name", "func")) == sorted(
        (one.name, one.task) for one in schedules.planned()
    )
    assert not Schedule.objects.exclude(args=None, kwargs=None, hook=None, cluster=None).exists()
    [alarm] = open_alarms()
    assert (alarm.key, "schedule" in alarm.words) == ("queue", True)


@pytest.mark.parametrize("time", ["9999-12-31 00:00:00", "NULL", "unreadable"])
def test_a_time_can_not_silence_a_task_of_ours(time: str) -> None:
    nonsense = "'2025-13-45 00:00:00'" if connection.vendor == "sqlite" else "'infinity'"
    value = nonsense if time == "unreadable" else time if time == "NULL" else f"'{time}'"
    raw(f"UPDATE django_q_schedule SET next_run = {value}")  # noqa: S608
    scheduler()
    assert sorted(handed_out()) == planned()
    assert min(Schedule.objects.values_list("next_run", flat=True)) > timezone.now()


def test_what_was_not_due_waits_and_what_was_due_runs_once() -> None:
    Schedule.objects.update(next_run=timezone.now() + timedelta(minutes=1))
    Schedule.objects.filter(name="watch").update(next_run=timezone.now() - timedelta(hours=3))
    scheduler()
    scheduler()
    assert handed_out() == [("sync.tasks.watch", ())]
    assert not open_alarms().exists()


def test_a_broker_that_is_away_costs_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    Schedule.objects.update(next_run=timezone.now() - timedelta(seconds=1))
    with monkeypatch.context() as away:
        away.setattr(allowed.OrmBroker, "enqueue", lambda self, task: 1 / 0)
        scheduler()
    scheduler()
    assert sorted(handed_out()) == planned()


def signed(**task: Any) -> str:
    return SignedPackage.dumps({"id": "1", "name": "n", "args": (), "kwargs": {}, "ack_failure": True} | task)


PAYLOADS: dict[str, Any] = {
    "a name": signed(func="os.system", args=("touch x",)),
    "a function": signed(func=print),
    "a look-alike": signed(func="sync.tasks.Drain"),
    "another function beside ours": signed(func="sync.tasks.wake"),
    "arguments": signed(func="sync.tasks.drain", args=(1,)),
    "arguments of another kind": signed(func="sync.tasks.carry_out", args=("1",)),
    "by name": signed(func="sync.tasks.drain", kwargs={"x": 1}),
    "a hook": signed(func="sync.tasks.drain", hook="os.system"),
    "a chain": signed(func="sync.tasks.drain", chain=[("os.system", ("touch x",))]),
    "in this very process": signed(func="sync.tasks.drain", sync=True),
    "a time of its own": signed(func="sync.tasks.drain", timeout=9999),
    "no task": SignedPackage.dumps(["sync.tasks.drain"]),
    "no function": SignedPackage.dumps({"args": ()}),
    "unsigned": "gASVKgAAAAAAAAB9:1xyz:abc",
    "empty": "",
    "signed and cut": signed(func="sync.tasks.drain")[:-1],
}


@pytest.mark.parametrize("what", PAYLOADS)
def test_a_foreign_payload_is_not_handed_out_and_ours_are(what: str) -> None:
    async_task("sync.tasks.drain", broker=get_broker())
    OrmQ.objects.create(key=get_broker().list_key, payload=PAYLOADS[what], lock=timezone.now())
    async_task("sync.tasks.carry_out", 7, broker=get_broker())
    assert sorted(handed_out()) == [("sync.tasks.carry_out", (7,)), ("sync.tasks.drain", ())]
    assert OrmQ.objects.count() == 2
    assert [alarm.key for alarm in open_alarms()] == ["queue"]


def test_a_row_that_nobody_can_read_does_not_stop_the_queue() -> None:
    async_task("sync.tasks.drain", broker=get_broker())
    lock = "'1000-13-45'" if connection.vendor == "sqlite" else "'-infinity'"
    raw(f"INSERT INTO django_q_ormq (key, payload, lock) VALUES ('orderbridge', 'x', {lock})")  # noqa: S608
    given = [payload for _ in range(3) for _, payload in get_broker().dequeue()]
    assert [SignedPackage.loads(one)["func"] for one in given] == ["sync.tasks.drain"]
    assert OrmQ.objects.count() == 1


class List:
    """Of a Redis server."""

    def __init__(self, *payloads: bytes) -> None:
        self.payloads = list(payloads)

    def blpop(self, key: str, seconds: int) -> tuple[str, bytes] | None:
        return (key, self.payloads.pop(0)) if self.payloads else None


def test_the_same_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = (b"\xff\xfe", b"{}", *(str(one).encode() for one in PAYLOADS.values()))
    there = List(*theirs, signed(func="sync.tasks.drain").encode())
    monkeypatch.setattr(allowed.RedisBroker, "get_connection", staticmethod(lambda list_key=None: there))
    broker, given = allowed.RedisBroker(), []
    while there.payloads:
        given += broker.dequeue()
    assert [SignedPackage.loads(payload)["func"] for _, payload in given] == ["sync.tasks.drain"]
    assert open_alarms().get().key == "queue"


def test_a_database_that_takes_no_alarm_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.alarms.raise_alarm", lambda *args: 1 / 0)
    OrmQ.objects.create(key=get_broker().list_key, payload=PAYLOADS["a name"], lock=timezone.now())
    assert handed_out() == []
    assert not OrmQ.objects.exists()


@pytest.fixture
def slipped_in() -> None:
    """A row of the table where django-q2 keeps failures: its pickles are signed by nobody."""
    long_ago = timezone.now() - timedelta(days=400)
    Task.objects.bulk_create([Task(id="1", name="n", func="x", started=long_ago, stopped=long_ago)])
    with connection.cursor() as cursor:
        evil = base64.b64encode(pickle.dumps(Evil())).decode()
        cursor.execute("UPDATE django_q_task SET hook = 'os.system', result = %s", [evil])
    Task.objects.get()
    assert OPENED, "else this test could not fail"
    OPENED.clear()


def test_no_pickle_of_the_tasks_table_is_opened(slipped_in: None) -> None:
    results = get_context("fork").SimpleQueue()
    failed = {"id": "1", "name": "n", "func": "sync.tasks.drain", "success": False, "result": "x", "ack_id": None}
    results.put(failed)
    results.put("STOP")
    django_q_cluster.monitor(results, get_broker())
    list(pruning.job(Run(kind="prune", options={"dry_run": False})))
    assert not Task.objects.exists()
    assert OPENED == []


def test_every_task_that_our_code_names_is_on_the_list() -> None:
    assert {name for _, name in task_names()} == set(allowed.tasks())


def test_the_list_holds_these_and_no_others() -> None:
    names = ("reconcile", "reconcile_deep", "drift_nightly", "prune", "verify_audit")
    named = ("drain", "sweep", "seal_audit", "watch", "notify", "poll", *names)
    assert allowed.tasks() == {**{f"sync.tasks.{one}": () for one in named}, "sync.tasks.carry_out": (int,)}


def test_the_alarm_ends_after_a_quiet_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "drain", lambda: None)
    allowed.found_foreign("a test")
    tasks.sweep()
    assert open_alarms().exists()
    Alarm.objects.update(seen_at=timezone.now() - timedelta(days=1, minutes=1))
    tasks.sweep()
    assert not open_alarms().exists()
