"""What the tasks of a run have written; where the server has it no more, how to ask the cluster itself."""

import argparse
import sys

from components.errors import Exit, UserError, near
from pipeline import server_options
from pipeline.api import calls
from pipeline.api.connection import Connection
from pipeline.api.records import Run
from pipeline.api.tasks import Task
from pipeline.cluster import load_cluster
from pipeline.status import find_run


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `logs`."""
    parser.add_argument("run_id", metavar="RUN", help="id of a run, its beginning, or `latest`")
    parser.add_argument("task", nargs="?", default="", metavar="TASK", help="one task, as `status` names it")
    server_options.arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Run `logs`: of the last pod of every task, of all pods where one task is asked for."""
    cluster = load_cluster(options.cluster, options.cluster_set)
    connection = server_options.connected(options, cluster)
    run = find_run(connection, server_options.experiment_of(options, cluster), options.run_id)
    tasks = chosen(run, options.task)
    lost = 0
    for task in tasks:
        for pod in task.pods if options.task else task.pods[-1:]:
            print(f"==> {task.name}  {pod}", flush=True)
            lost += not shown(connection, run.id, pod)
        if not task.pods:
            print(f"==> {task.name}: {'from the cache, ' * task.cached}no pod has started")
    if lost:
        raise UserError(f"{lost} logs are not to be had from {connection.access.host}, which reads them from pods that "
                        "are still there and, where it is set up to, from an archive",
                        "ask the cluster with the lines above, or read them in the UI")
    return Exit.OK


def chosen(run: Run, name: str) -> list[Task]:
    """The tasks of a name, or of a loop's (`train` for `train-1`, `train-2`); all for ""."""
    found = [task for task in run.tasks if not name or task.name == name or task.name.rpartition("-")[0] == name]
    if not found and name:
        names = [task.name for task in run.tasks]
        raise UserError(f"run {run.id} has no task {name}; it has {', '.join(names) or 'none yet'}.{near(name, names)}",
                        f"stillhouse pipeline status {run.id}")
    return found


def shown(connection: Connection, run_id: str, pod: str) -> bool:
    """Print the log of a pod; where the server has none, say what kubectl would be asked, and return False."""
    try:
        for part in calls.log(connection, run_id, pod):
            sys.stdout.write(part.decode("utf-8", "replace"))
        sys.stdout.flush()
    except UserError as error:
        print(f"{error.cause}\n  kubectl -n {connection.namespace or 'kubeflow'} logs {pod} -c main", file=sys.stderr)
        return False
    return True
