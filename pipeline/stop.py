"""End a run: its pods are asked to stop, and what they have kept of their state stays."""

import argparse

from components.errors import Exit
from pipeline import server_options
from pipeline.api import calls
from pipeline.cluster import load_cluster
from pipeline.status import find_run


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stop`."""
    parser.add_argument("run_id", metavar="RUN", help="id of a run, its beginning, or `latest`")
    server_options.arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Run `stop`; a run that has ended is left as it is."""
    cluster = load_cluster(options.cluster, options.cluster_set)
    connection = server_options.connected(options, cluster)
    run = find_run(connection, server_options.experiment_of(options, cluster), options.run_id)
    if run.ended:
        print(f"run {run.id} has ended already: {run.state}")
        return Exit.OK
    calls.terminate(connection, run.id)
    print(f"run {run.id} is being ended; stillhouse pipeline status {run.id} tells when it has")
    return Exit.OK
