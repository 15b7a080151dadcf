"""The Kubeflow pipeline: how its tasks hang together. `kfp.local` runs the compiled file as it is."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, local
from kfp.components import load_component_from_file

from components.settings import Params
from pipeline import kubeflow_tasks as tasks
from pipeline.cluster import Cluster
from pipeline.inputs import run_inputs
from pipeline.kubeflow_pods import in_pod
from pipeline.shape import Shape

DESCRIPTION = "Labelled images in; a small, calibrated, exported classifier out"


@dataclass(frozen=True)
class Graph:
    """What a graph is made from. settings: the run inputs by section."""

    shape: Shape
    cluster: Cluster
    settings: dict[str, Any]

    def put(self, name: str, task: Any) -> Any:
        """A task as it stands in the graph, with what its pod is given."""
        return in_pod(task, name, self.cluster, cached=name not in self.shape.uncached)


def compile_pipeline(params: Params, shape: Shape, cluster: Cluster, output: Path) -> None:
    """Write the pipeline as YAML; the values of params.yaml become the defaults of its run inputs."""
    output.parent.mkdir(parents=True, exist_ok=True)
    graph = pipeline_of(shape, cluster)
    compiler.Compiler().compile(graph, str(output), pipeline_parameters=run_inputs(params))


def pipeline_of(shape: Shape, cluster: Cluster) -> Any:
    """The graph of the tasks: nothing is learnt from images that are unfit, and the report is written in any case."""
    life = dsl.PipelineConfig(ttl_seconds_after_finished=cluster.lifetime.keep or None,
                              active_deadline_seconds=cluster.lifetime.deadline or None)

    @dsl.pipeline(name=cluster.server.pipeline, description=DESCRIPTION, pipeline_config=life)  # type: ignore[untyped-decorator]
    def stillhouse(fetch_settings: str, sample_settings: str, validate_settings: str, index_settings: str,
                   teachers: list[dict[str, str]], student_settings: str, teach_settings: str, distill_settings: str,
                   evaluate_settings: str, pull_settings: str, compare_settings: str, export_settings: str,
                   promote_settings: str) -> None:
        graph = Graph(shape, cluster, {
            "fetch": fetch_settings, "sample": sample_settings, "validate": validate_settings, "index": index_settings,
            "teachers": teachers, "student": student_settings, "teach": teach_settings, "distill": distill_settings,
            "evaluate": evaluate_settings, "pull": pull_settings, "compare": compare_settings,
            "export": export_settings, "promote": promote_settings})
        with dsl.ExitHandler(graph.put("report", tasks.report()), name="run"):
            images = images_of(graph)
            checked = graph.put("validate", tasks.validate(settings=validate_settings, source=images))
            with dsl.If(checked.outputs["Output"] == "fit", name="fit"):
                indexed = graph.put("index", tasks.index(settings=index_settings, source=images,
                                                         manifest=checked.outputs["manifest"]))
                judged(graph, indexed.outputs["dataset"], *learned(graph, indexed.outputs["dataset"]))

    return stillhouse


def images_of(graph: Graph) -> Any:
    """The artifact that holds the images: fetched, drawn, or imported from where they are."""
    if graph.shape.fetched:
        return graph.put("fetch", tasks.fetch(settings=graph.settings["fetch"])).outputs["data"]
    if graph.shape.source is None:
        return graph.put("sample", tasks.sample(settings=graph.settings["sample"])).outputs["data"]
    return dsl.importer(artifact_uri=graph.shape.source, artifact_class=dsl.Artifact, reimport=True).output


def learned(graph: Graph, dataset: Any) -> tuple[Any, Any]:
    """Teachers, the plain student, and the one that learns from the teachers: its model, and how all were evaluated."""
    settings = graph.settings
    most = graph.cluster.parallelism or None
    with dsl.ParallelFor(settings["teachers"], parallelism=most) as item:
        trained = graph.put("train", tasks.train(teacher=item.teacher, settings=item.settings_json, dataset=dataset))
    model = trained.outputs["model"]  # collected twice: the compiler changes what it is given
    plain = graph.put("student", tasks.student(settings=settings["student"], dataset=dataset)).outputs["model"]
    taught = graph.put("teach", tasks.teach(settings=settings["teach"], dataset=dataset,
                                          teachers=dsl.Collected(model)))
    distilled = graph.put("distill", tasks.distill(
        settings=settings["distill"], dataset=dataset, probabilities=taught.outputs["probabilities"], student=plain))
    evaluated = graph.put("evaluate", tasks.evaluate(
        settings=settings["evaluate"], dataset=dataset, teachers=dsl.Collected(model), student=plain,
        distilled=distilled.outputs["model"]))
    with dsl.ParallelFor(evaluated.outputs["Output"]) as task:
        graph.put("confusion", tasks.confusion(task=task, dataset=dataset, plots=evaluated.outputs["plots"]))
    return distilled.outputs["model"], evaluated


def judged(graph: Graph, dataset: Any, model: Any, evaluated: Any) -> None:
    """The model held against the champion of the moment, exported, and published if it may be."""
    settings = graph.settings
    pulled = graph.put("pull", tasks.pull(settings=settings["pull"])).after(evaluated)
    compared = graph.put("compare", tasks.compare(settings=settings["compare"], dataset=dataset, model=model,
                                                  champion=pulled.outputs["champion"]))
    exported = graph.put("export", tasks.export(settings=settings["export"], dataset=dataset, model=model,
                                                evaluation=evaluated.outputs["metrics"]))

    def publish() -> None:
        graph.put("promote", tasks.promote(settings=settings["promote"], model=model,
                                           exported=exported.outputs["exported"], verdict=compared.outputs["verdict"]))

    if graph.shape.publish == "always":
        publish()
    elif graph.shape.publish == "verdict":
        with dsl.If(compared.outputs["Output"] == "promote", name="promote"):
            publish()


def run_here(compiled: Path, root: Path, containers: dict[str, Any] | None = None) -> Path:
    """Run a compiled pipeline on this machine and return the folder of its tasks' artifacts.

    containers: what Docker's SDK is told to run the tasks in containers of their image, None to run them in processes.
    Raises RuntimeError where a task failed; its own words are above on the output.
    """
    earlier = set(root.glob("*-*-*"))
    runner = local.SubprocessRunner(use_venv=False) if containers is None else local.DockerRunner(**containers)
    local.init(runner, pipeline_root=str(root))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You may be attemping", RuntimeWarning)  # the image is this environment
        warnings.filterwarnings("ignore", "Task .* have no effect", UserWarning)  # resources are a cluster's
        load_component_from_file(str(compiled))()
    return max(set(root.glob("*-*-*")) - earlier)
