"""The options of all commands that speak with a server, and the connection that they make."""

import argparse

from pipeline.api.access import access_of
from pipeline.api.connection import Connection, connect
from pipeline.cluster import Cluster
from pipeline.options import cluster_arguments


def arguments(parser: argparse.ArgumentParser, cluster: bool = True) -> None:
    """The options that say where the server is. cluster: the file of the cluster's facts is an option, too."""
    if cluster:
        cluster_arguments(parser)
    parser.add_argument("--host", default="", metavar="URL", help="Kubeflow Pipelines (default: server.host, "
                        "else KF_PIPELINES_ENDPOINT, else the one of this cluster)")
    parser.add_argument("--namespace", default="", metavar="NAME", help="namespace of the runs, in multi-user mode")
    parser.add_argument("--experiment", default="", metavar="NAME", help="experiment (default: server.experiment)")


def connected(options: argparse.Namespace, cluster: Cluster) -> Connection:
    """The connection to the server that options and cluster name."""
    return connect(access_of(cluster.server, options.host, options.namespace))


def experiment_of(options: argparse.Namespace, cluster: Cluster) -> str:
    """The name of the experiment."""
    return options.experiment or cluster.server.experiment
