"""Every kind of long run, as its module in `sync.jobs` declares it. What starts, shows or schedules runs reads here.

It lies below the tables, as `Run` takes its kinds from it, and knows none of them.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sync.models import Run

Work = Callable[["Run"], Generator[None, None, None]]
"""Works on a run and yields wherever it may be stopped. It replaces `run.checkpoint` and `run.counts` together, after
each page: they are saved together, so that a page that is done again is not counted twice."""

Checkpoint = dict[str, Any]
Upcast = Callable[[Checkpoint], Checkpoint]

DAY = 24 * 60
NIGHT = time(3, 17)
"""UTC. Not on the hour, when everybody's jobs begin."""
TASKS = "sync.tasks."
LONGEST_KIND = 12
"""As long as the column."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What the cluster does by the clock."""

    name: str
    task: str
    minutes: int
    night: time = NIGHT
    "When, if it runs once a day."
    start: "Callable[..., Run | None] | None" = None
    "Of a job: a run held by this process; None: there is nothing to be done now."
    by_bridge: bool = False
    "One run for each bridge that is on, whose number `start` is given as `bridge`."

    @property
    def every(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    def first_run(self, now: datetime) -> datetime:
        return now if self.minutes < DAY else self.next_run(now)

    def next_run(self, now: datetime) -> datetime:
        """What runs once a day runs at night."""
        if self.minutes < DAY:
            return now + self.every
        tonight = datetime.combine(now.date(), self.night, tzinfo=now.tzinfo)
        return tonight if tonight > now else tonight + timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Starter:
    """How people start a run: on its page in the back office, and by `manage.py run KIND`."""

    words: str
    "What it does."
    form: type[Any]
    "A `sync.jobs.forms.RunForm`, whose fields are the options."
    start: "Callable[..., Run]"
    "Takes `actor`, `reason` and what the form has chosen. May raise engine.NotStarted."
    permission: str = "sync.start_run"
    icon: str = "play_arrow"
    "Of its button, by its name in Material Symbols."


@dataclass(frozen=True, kw_only=True)
class Job:
    kind: str
    label: str
    work: Work
    unit: str = "orders"
    "What it counts."
    count_names: Mapping[str, str] = field(default_factory=dict)
    "What a count is called where its own name says too little."
    options_in_words: "Callable[[Run], list[tuple[str, str]]] | None" = None
    "None: each option by its name."
    starter: Starter | None = None
    "None: people start it elsewhere, or not at all."
    schedules: Callable[[], Sequence[Planned]] = tuple
    stretch: float = 15.0
    "Seconds that a worker works on it before others get their turn."
    version: int = 1
    "Of its checkpoints. A job that writes or reads them in another way gets the next number."
    upcasts: Mapping[int, Upcast] = field(default_factory=dict)
    "By version: what makes of such a checkpoint one of the next. Without one a run of before begins anew."
    goes_last: bool = False
    "It takes no turn while anything else is due."
    is_single: bool = True
    "One at a time. The database keeps it, too: another kind of which there may be several needs a migration."

    def read(self, checkpoint: Checkpoint, version: int) -> Checkpoint | None:
        """A checkpoint of that version as this release has them. None: nobody can tell what it means."""
        for number in range(version, self.version):
            if number not in self.upcasts:
                return None
            checkpoint = self.upcasts[number](checkpoint)
        return checkpoint if version <= self.version else None


JOBS: dict[str, Job] = {}


def register(job: Job) -> Job:
    """Raises ValueError where it would not work."""
    if job.kind in JOBS:
        raise ValueError(f"There are two jobs of the kind {job.kind!r}.")
    if len(job.kind) > LONGEST_KIND:
        raise ValueError(f"The kind {job.kind!r} is longer than {LONGEST_KIND} characters.")
    for one in job.schedules():
        if not one.task.startswith(TASKS) or one.start is None:
            raise ValueError(f"{one.task!r}: a schedule of a job has a start, and a task named {TASKS}NAME.")
    JOBS[job.kind] = job
    return job


def by_label() -> list[Job]:
    return sorted(JOBS.values(), key=lambda job: job.label)


def kinds() -> list[tuple[str, str]]:
    """The choices of `Run.kind`: by a function, so that a new kind needs no migration."""
    return [(job.kind, job.label) for job in by_label()]


def startable() -> dict[str, tuple[Job, Starter]]:
    """By kind."""
    return {job.kind: (job, job.starter) for job in by_label() if job.starter}


def planned() -> tuple[Planned, ...]:
    return tuple(one for job in JOBS.values() for one in job.schedules())
