"""What the API server says of runs and schedules, as plain values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.api.tasks import Task, moment, tasks_of

UNDER_WAY = ("PENDING", "RUNNING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED", "")
ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")


@dataclass(frozen=True)
class Run:
    """A run of the pipeline."""

    id: str
    name: str
    state: str
    experiment: str = ""
    description: str = ""
    error: str = ""
    created: datetime | None = None
    finished: datetime | None = None
    schedule: str = ""
    archived: bool = False
    tasks: tuple[Task, ...] = ()

    @property
    def under_way(self) -> bool:
        """Whether it may still come to an end of its own."""
        return self.state in UNDER_WAY and not self.archived

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


@dataclass(frozen=True)
class Schedule:
    """A recurring run."""

    id: str
    name: str
    when: str
    enabled: bool
    description: str = ""
    created: datetime | None = None
    error: str = ""


def run_of(said: Any) -> Run:
    """A run, from a V2beta1Run."""
    details = said.run_details.task_details if said.run_details else None
    return Run(id=said.run_id, name=said.display_name or "", state=said.state or "",
               experiment=said.experiment_id or "", description=said.description or "",
               error=said.error.message or "" if said.error else "", created=said.created_at,
               finished=moment(said.finished_at), schedule=said.recurring_run_id or "",
               archived=said.storage_state == "ARCHIVED", tasks=tasks_of(details or []))


def schedule_of(said: Any) -> Schedule:
    """A schedule, from a V2beta1RecurringRun."""
    return Schedule(id=said.recurring_run_id, name=said.display_name or "", when=when_of(said.trigger),
                    enabled=said.status == "ENABLED" or (said.status is None and said.mode == "ENABLE"),
                    description=said.description or "", created=said.created_at,
                    error=said.error.message or "" if said.error else "")


def when_of(trigger: Any) -> str:
    """When a schedule starts runs, as `schedule` is told it."""
    if trigger and trigger.cron_schedule and trigger.cron_schedule.cron:
        return f"cron {trigger.cron_schedule.cron}"
    if trigger and trigger.periodic_schedule and trigger.periodic_schedule.interval_second:
        return f"every {trigger.periodic_schedule.interval_second} s"
    return "never"
