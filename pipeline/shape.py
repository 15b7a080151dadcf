"""What settings decide about the graph of a run on a cluster."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from components.settings import Params
from pipeline.cluster import Cluster
from pipeline.inputs import own_source

# Tasks whose outcome depends on more than their inputs, so that no earlier one's may be taken instead.
NEVER_CACHED = frozenset({"pull", "promote", "report"})
When = Literal["verdict", "always", "never"]


@dataclass(frozen=True)
class Shape:
    """Where the images come from, whether a model is published, and which tasks always run anew.

    source: folder or URI of the images, None to draw the embedded ones. fetched: they come from fetch.repository.
    """

    source: str | None
    publish: When
    uncached: frozenset[str] = NEVER_CACHED
    fetched: bool = False


def shape_of(params: Params, cluster: Cluster) -> Shape:
    """The graph that settings ask for; local folders of images get their absolute path.

    A model is published only where all pods see the registry. What lies in a place that is merely named may change
    there, and Kubeflow's cache looks at names: such images are fetched, or validated, each time.
    """
    fetched = bool(params.setting("fetch.repository"))
    source = None if fetched else own_source(params)
    if source is not None and "://" not in source:
        source = str(Path(source).absolute())
    uncached = NEVER_CACHED | ({"validate"} if source is not None else set())
    uncached |= {"fetch"} if fetched and not params.setting("fetch.digest") else set()
    return Shape(source, when_published(params, cluster), uncached, fetched)


def when_published(params: Params, cluster: Cluster) -> When:
    """When a model is published."""
    seen = cluster.sees(str(params.setting("promote.registry")))
    return cast(When, params.setting("promote.when")) if seen else "never"
