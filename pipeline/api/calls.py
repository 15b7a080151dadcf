"""The requests that commands make: find or make an experiment, a pipeline, its version; runs, schedules, logs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.api.connection import Connection, Limits, explained, found_or_made, transport
from pipeline.api.records import Run, Schedule, run_of, schedule_of

PAGE = 100
LOG = "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log"  # in no generated client: it streams
NEWEST = "created_at desc"
SECOND = 1.1  # after so long all that was made in one second, by which servers date things, can be seen
UPLOAD: Limits = (4.0, 120.0)


def known_experiment(connection: Connection, name: str) -> str | None:
    """The experiment of a name, None where there is none."""
    api, space = connection.api.experiments, connection.namespace or None
    found = connection.ask("the experiments", lambda limits: api.experiment_service_list_experiments(
        filter=equal(name), namespace=space, _request_timeout=limits)).experiments
    return found[0].experiment_id if found else None


def experiment_id(connection: Connection, name: str) -> str:
    """The experiment of a name, made where there is none."""
    def make() -> str:
        body = filled({"display_name": name, "namespace": connection.namespace})
        api = connection.api.experiments
        made = connection.once(f"the experiment {name}", lambda limits: api.experiment_service_create_experiment(
            experiment=body, _request_timeout=limits))
        return str(made.experiment_id)

    return found_or_made(lambda: known_experiment(connection, name), make)


def pipeline_id(connection: Connection, name: str) -> str:
    """The pipeline of a name, made without a version where there is none."""
    api, space = connection.api.pipelines, connection.namespace or None

    def find() -> str | None:
        found = connection.ask("the pipelines", lambda limits: api.pipeline_service_list_pipelines(
            filter=equal(name), namespace=space, _request_timeout=limits)).pipelines
        return found[0].pipeline_id if found else None

    def make() -> str:
        body = filled({"display_name": name, "namespace": space})
        made = connection.once(f"the pipeline {name}", lambda limits: api.pipeline_service_create_pipeline(
            pipeline=body, _request_timeout=limits))
        return str(made.pipeline_id)

    return found_or_made(find, make)


def version_id(connection: Connection, pipeline: str, name: str, package: Path, tags: dict[str, str]) -> str:
    """The version of a name, uploaded where there is none."""
    def find() -> str | None:
        api = connection.api.pipelines
        found = connection.ask("the versions of the pipeline", lambda limits:
                                api.pipeline_service_list_pipeline_versions(
                                    pipeline, filter=equal(name), _request_timeout=limits)).pipeline_versions
        return found[0].pipeline_version_id if found else None

    def make() -> str:
        api = connection.api.pipeline_uploads
        made = connection.once(f"the version {name}", lambda limits: api.upload_pipeline_version(
            str(package), name=name, pipelineid=pipeline, tags=json.dumps(tags, sort_keys=True),
            _request_timeout=limits), UPLOAD)
        return str(made.pipeline_version_id)

    return found_or_made(find, make)


def runs(connection: Connection, experiment: str = "", most: int = PAGE) -> Iterator[Run]:
    """The newest runs, those of one experiment or all, without their tasks' details being looked up again."""
    token, seen = "", 0
    space = None if experiment else connection.namespace or None

    def page(limits: Limits) -> Any:
        return connection.api.runs.run_service_list_runs(
            experiment_id=experiment or None, namespace=space, page_token=token, page_size=min(PAGE, most),
            sort_by=NEWEST, _request_timeout=limits)

    while seen < most:
        answer = connection.ask("the runs", page)
        for said in (answer.runs or [])[: most - seen]:
            seen += 1
            yield run_of(said)
        token = answer.next_page_token or ""
        if not token:
            return


def run(connection: Connection, run_id: str) -> Run:
    """A run with its tasks; Missing where there is none."""
    api = connection.api.runs
    return run_of(connection.ask(f"the run {run_id}", lambda limits: api.run_service_get_run(
        run_id, _request_timeout=limits)))


def create_run(connection: Connection, body: dict[str, Any]) -> Run:
    """A new run; asked for once, because a second request would start a second run."""
    api = connection.api.runs
    return run_of(connection.once("the new run", lambda limits: api.run_service_create_run(
        run=body, _request_timeout=limits)))


def terminate(connection: Connection, run_id: str) -> None:
    """Have a run ended."""
    api = connection.api.runs
    connection.ask(f"the run {run_id}", lambda limits: api.run_service_terminate_run(run_id, _request_timeout=limits))


def schedules(connection: Connection, name: str = "") -> list[Schedule]:
    """The schedules of a name, or all, the oldest first."""
    api, space = connection.api.recurring_runs, connection.namespace or None
    found: list[Schedule] = []
    token = ""

    def page(limits: Limits) -> Any:
        return api.recurring_run_service_list_recurring_runs(
            filter=equal(name) if name else None, namespace=space, page_token=token, page_size=PAGE,
            sort_by="created_at asc", _request_timeout=limits)

    while True:
        answer = connection.ask("the schedules", page)
        found += [schedule_of(said) for said in answer.recurring_runs or []]
        token = answer.next_page_token or ""
        if not token:
            return found


def create_schedule(connection: Connection, body: dict[str, Any]) -> Schedule:
    """A new schedule; asked for once."""
    api = connection.api.recurring_runs
    return schedule_of(connection.once("the new schedule", lambda limits:
                                       api.recurring_run_service_create_recurring_run(
                                           recurring_run=body, _request_timeout=limits)))


def on_schedule(connection: Connection, what: str, schedule: Schedule) -> None:
    """delete, enable or disable a schedule."""
    act: Callable[..., Any] = getattr(connection.api.recurring_runs, f"recurring_run_service_{what}_recurring_run")
    connection.ask(f"the schedule {schedule.name}", lambda limits: act(schedule.id, _request_timeout=limits))


def log(connection: Connection, run_id: str, pod: str) -> Iterator[bytes]:
    """What a pod of a run has written so far, in parts."""
    shared, what = transport(connection.api), f"the log of {pod}"

    def opened(limits: Limits) -> Any:
        return shared.call_api(LOG, "GET", {"run_id": run_id, "node_id": pod}, auth_settings=["Bearer"],
                               _preload_content=False, _return_http_data_only=True, _request_timeout=limits)

    with explained(what, connection.access):
        answer = opened((4.0, 60.0))
        yield from answer.stream(1 << 16)


def equal(name: str) -> str:
    """The filter for a display name; quoted because the server takes such texts for part of a URL once more."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return quote(json.dumps({"predicates": [predicate]}))


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """The values that are given."""
    return {name: value for name, value in values.items() if value not in (None, "", {})}
