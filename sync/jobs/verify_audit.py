"""The audit is verified by command, at night and by a button, and an alarm stands while it is broken."""

from collections.abc import Generator

from django.db.models import Max

from orders import audit
from orders.checkpoints import make_checkpoint
from orders.models import StatusTransition
from orders.verification import AuditFinding, Checkup
from sync import alarms
from sync.jobs import engine
from sync.models import Run, Severity
from sync.registry import DAY, Job, Planned, register

ALARM = "audit"
ADVICE = (
    "Somebody changed the database itself. Keep a copy of it as it is, find out who had access, and compare with a "
    "backup: docs/operations.md, The audit is broken."
)


def start(*, actor: str = "", reason: str = "") -> Run:
    """From the beginning: what an earlier run looked at may have been changed since. Raises AlreadyRunning."""
    return engine.start(JOB.kind, options={"dry_run": False}, actor=actor, reason=reason, restart=True)


def job(run: Run) -> Generator[None, None, None]:
    """`checkpoint`: the checkup, as far as it is. `counts`: rows seen, and what was found."""
    if run.total is None:
        # An estimate: ids are given in turn, and to count a million rows would take as long as to look at them.
        run.total = StatusTransition.objects.aggregate(newest=Max("id"))["newest"] or 0
    checkup = Checkup.from_json(run.checkpoint)
    for _ in checkup.go_on():
        run.checkpoint = checkup.as_json()
        run.counts = {**checkup.seen, "seen": checkup.seen.get("transitions", 0), "found": checkup.number}
        yield
    if not run.options["dry_run"]:
        conclude(checkup, run)


def conclude(checkup: Checkup, run: Run) -> None:
    """Raise or clear the alarm, record who asked, and make a checkpoint of what there is now."""
    if checkup.findings:
        more = f" And {checkup.number - 1} more." if checkup.number > 1 else ""
        alarms.raise_alarm(ALARM, f"The audit is broken. {checkup.findings[0]}.{more}", ADVICE, Severity.CRITICAL)
    else:
        alarms.clear(ALARM)
    if run.actor:
        audit.record("verify audit", actor=run.actor, reason=run.reason, result=verdict(run))
    make_checkpoint()


def verdict(run: Run) -> str:
    """In words, what a finished run says."""
    looked = ", ".join(_many(run.counts.get(f"{what}s", 0), what) for what in ("transition", "staff action"))
    found = run.counts.get("found", 0)
    return f"{looked}: {_many(found, 'finding') if found else 'nothing changed or removed'}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def findings(run: Run) -> list[AuditFinding]:
    """By name, the first of them."""
    return Checkup.from_json(run.kept).findings


JOB = register(
    Job(
        kind="verify",
        label="Verification of the audit",
        work=job,
        unit="transitions",
        count_names={"seals": "Checkpoints"},
        schedules=lambda: (Planned(name="verify audit", task="sync.tasks.verify_audit", minutes=DAY, start=start),),
    )
)
