"""A retraining on Kubeflow: the pipeline is submitted and followed, and the registry tells what came of it."""

import argparse
import copy
from pathlib import Path

from components.errors import UserError
from components.fetch import digest_at
from components.settings import Params
from pipeline import options as shared
from pipeline import submit
from pipeline.cluster import Cluster, elsewhere
from pipeline.retraining.champion import Champion
from pipeline.retraining.laptop import START
from pipeline.retraining.telling import Outcome


def registry_there(options: argparse.Namespace, params: Params) -> str:
    """The registry that pods publish to: promote.registry of the cluster's file, else of params.yaml.

    UserError where it lies in a claim that is not mounted here, so that a published model would not be found.
    """
    cluster = shared.cluster_of(options)
    registry = str(cluster.params.get("promote", {}).get("registry", "") or params.setting("promote.registry"))
    mounted = cluster.mounted(registry)
    if mounted is not None and not mounted.is_dir() and not options.force:
        raise UserError(f"{registry} lies in a claim that pods see and this machine does not, so what is published "
                        "there is not known", f"mount it at {mounted}, publish to s3://bucket/prefix, or train "
                        "whatever is there: --force")
    return registry


def images_there(options: argparse.Namespace, params: Params) -> str:
    """The digest of the images that pods would fetch, read without them; "" where they fetch none."""
    there = Params(elsewhere(params.values, shared.cluster_of(options)), params.origin)
    repository, rev, path = (str(there.setting(f"fetch.{name}")) for name in ("repository", "rev", "path"))
    return digest_at(repository, rev, path) if repository else ""


def same_here(cluster: Cluster, registry: str) -> bool:
    """Whether pods and this machine find the same registry in a place."""
    mounted = cluster.mounted(registry)
    return "://" in registry or (mounted is not None and mounted.is_dir())


def train(options: argparse.Namespace, registry: str, champion: Champion | None) -> Outcome:
    """Submit, wait for the end, and look at the registry; UserError for a run that failed, TryAgain while it goes on.

    The pipeline itself compares, and publishes where it was asked for.
    """
    cluster = shared.cluster_of(options)
    asked = copy.copy(options)
    asked.set = [*options.set, *warm_settings(options.warm, registry, champion, cluster.sees(registry))]
    if not options.promote:
        asked.cluster_set = [*options.cluster_set, "params.promote.when=never"]
    asked.name, asked.again, asked.wait, asked.dry_run, asked.json = "", options.force, True, False, False
    submit.command(asked)
    if not options.promote:
        return Outcome("kubeflow", None, None, False, "it was not to be published (--promote); the run's task compare "
                       "shows the verdict")
    return outcome(registry, champion, same_here(cluster, registry))


def warm_settings(warm: bool, registry: str, champion: Champion | None, seen: bool) -> list[str]:
    """The settings by which the students go on from the champion; UserError where pods could not read it."""
    if not warm:
        return []
    if champion is None or not seen or "://" in registry:
        raise UserError(f"--warm: pods find no champion to begin with in {registry}",
                        "publish to a folder of one of pods.volumes, or leave out --warm")
    folder = Path(registry) / "models" / champion.digest / "model"
    return [f"{START}.model={folder.as_posix()}", f"{START}.digest={champion.digest}"]


def outcome(registry: str, champion: Champion | None, same: bool) -> Outcome:
    """What the registry says after a run."""
    from components.deployment.registry import latest
    from components.storage.places import place_of

    if not same:
        return Outcome("kubeflow", None, None, False, f"pods and this machine do not see the same {registry}, so "
                       "what came of it is not known here; the run shows its own verdict")
    now, before = latest(place_of(registry)).digest, champion.digest if champion else None
    if now is not None and now != before:
        return Outcome("kubeflow", now, None, True, f"{registry} has a new latest model: {now[:12]}, before it "
                       f"{(before or 'none')[:12]}; the figures stand in the run's task compare")
    return Outcome("kubeflow", None, None, False, f"{registry} has the latest model that it had before; the run's task "
                   "compare says why")
