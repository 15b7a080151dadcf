"""The Kubeflow pipeline: thin components that run the steps of `components`, and how they hang together.

A component's body runs inside the image, so each imports what it needs; the rest of this file runs where it is
compiled. `kfp.local` runs the compiled file as it is.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes, local
from kfp.components import load_component_from_file
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

IMAGE = os.environ.get("STILLHOUSE_IMAGE", "stillhouse:dev")
NAME = "stillhouse"


def component(function: Callable[..., object]) -> Callable[..., Any]:
    """A lightweight component that runs in the one image, with what is installed there and nothing else."""
    made: Callable[..., Any] = dsl.component(function, base_image=IMAGE, install_kfp_package=False)
    return made


@component
def sample(settings: str, data: Output[Dataset]) -> None:
    """Draw the embedded data set."""
    from components.commands.task import run_task

    run_task("sample", "sample", settings, {"data": data})


@component
def validate(settings: str, source: Input[Artifact], manifest: Output[Artifact], report: Output[HTML],
             metrics: Output[Metrics]) -> None:
    """Decode every image and say what is wrong with it."""
    from components.commands.task import run_task

    run_task("validate", "validate", settings,
             {"source": source, "manifest": manifest, "report": report, "metrics": metrics})


@component
def index(settings: str, source: Input[Artifact], manifest: Input[Artifact], dataset: Output[Dataset],
          metrics: Output[Metrics]) -> None:
    """Turn images and labels into a Dataset."""
    from components.commands.task import run_task

    run_task("index", "index", settings,
             {"source": source, "manifest": manifest, "dataset": dataset, "metrics": metrics})


@component
def train(teacher: str, settings: str, dataset: Input[Dataset], model: Output[Model], metrics: Output[Metrics],
          curves: Output[Artifact]) -> None:
    """Train a teacher on a Dataset."""
    from components.commands.task import run_task

    run_task("train", f"teachers.{teacher}", settings,
             {"dataset": dataset, "model": model, "metrics": metrics, "curves": curves})


@component
def student(settings: str, dataset: Input[Dataset], model: Output[Model], metrics: Output[Metrics],
            curves: Output[Artifact]) -> None:
    """Train the plain student on a Dataset."""
    from components.commands.task import run_task

    run_task("train", "student", settings,
             {"dataset": dataset, "model": model, "metrics": metrics, "curves": curves})


@component
def teach(settings: str, dataset: Input[Dataset], teachers: Input[list[Model]], probabilities: Output[Artifact],
          metrics: Output[Metrics]) -> None:
    """Store what each teacher says of every sample and view."""
    from components.commands.task import run_task

    run_task("teach", "teach", settings,
             {"dataset": dataset, "teachers": teachers, "probabilities": probabilities, "metrics": metrics})


@component
def distill(settings: str, dataset: Input[Dataset], probabilities: Input[Artifact], student: Input[Model],
            model: Output[Model], metrics: Output[Metrics], curves: Output[Artifact]) -> None:
    """Train the student on what the teachers said."""
    from components.commands.task import run_task

    run_task("distill", "distill", settings,
             {"dataset": dataset, "probabilities": probabilities, "student": student, "model": model,
              "metrics": metrics, "curves": curves})


@component
def evaluate(settings: str, dataset: Input[Dataset], teachers: Input[list[Model]], student: Input[Model],
             distilled: Input[Model], predictions: Output[Artifact], metrics: Output[Metrics],
             plots: Output[Artifact], report: Output[HTML]) -> list[str]:
    """Measure every model on the same samples; returns the tasks that have a confusion matrix."""
    from pathlib import Path

    from components.commands.task import run_task, tasks_with_matrix

    run_task("evaluate", "evaluate", settings,
             {"dataset": dataset, "teachers": teachers, "student": student, "distilled": distilled,
              "predictions": predictions, "metrics": metrics, "plots": plots, "report": report})
    return tasks_with_matrix(Path(plots.path))


@component
def confusion(task: str, dataset: Input[Dataset], plots: Input[Artifact],
              matrix: Output[ClassificationMetrics]) -> None:
    """Show what the distilled student takes for what in one task, in the form that Kubeflow draws."""
    from pathlib import Path

    from components.commands.task import confusion_matrix

    matrix.log_confusion_matrix(*confusion_matrix(task, Path(dataset.path), Path(plots.path)))


@component
def pull(settings: str, champion: Output[Artifact]) -> None:
    """Copy the latest model of the registry here."""
    from components.commands.task import run_task

    run_task("pull", "pull", settings, {"champion": champion})


@component
def compare(settings: str, dataset: Input[Dataset], model: Input[Model], champion: Input[Artifact],
            verdict: Output[Artifact], report: Output[HTML], metrics: Output[Metrics]) -> None:
    """Hold the new model against the champion."""
    from components.commands.task import run_task

    run_task("compare", "compare", settings,
             {"dataset": dataset, "model": model, "champion": champion, "verdict": verdict, "report": report,
              "metrics": metrics})


@component
def export(settings: str, dataset: Input[Dataset], model: Input[Model], evaluation: Input[Metrics],
           exported: Output[Model], metrics: Output[Metrics]) -> None:
    """Write the ONNX graph, check its parity, describe the model."""
    from components.commands.task import run_task

    run_task("export", "export", settings,
             {"dataset": dataset, "model": model, "evaluation": evaluation, "exported": exported, "metrics": metrics})


def compile_pipeline(inputs: dict[str, Any], source: str | None, output: Path, parallelism: int = 0) -> None:
    """Write the pipeline as YAML; `inputs` become the defaults of its run inputs.

    source: folder or URI of the images, None to draw the embedded ones. parallelism: teachers trained at once, 0
    for all.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline_of(source, parallelism), str(output), pipeline_parameters=inputs)


def pipeline_of(source: str | None, parallelism: int) -> Any:
    """The graph of the tasks."""

    @dsl.pipeline(name=NAME, description="Labelled images in; a small, calibrated, exported classifier out")  # type: ignore[untyped-decorator]
    def stillhouse(sample_settings: str, validate_settings: str, index_settings: str, teachers: list[dict[str, str]],
                   student_settings: str, teach_settings: str, distill_settings: str, evaluate_settings: str,
                   pull_settings: str, compare_settings: str, export_settings: str) -> None:
        images = images_of(source, sample_settings)
        checked = in_run(validate(settings=validate_settings, source=images))
        indexed = in_run(index(settings=index_settings, source=images, manifest=checked.outputs["manifest"]))
        dataset = indexed.outputs["dataset"]
        with dsl.ParallelFor(teachers, parallelism=parallelism or None) as item:
            trained = in_run(train(teacher=item.teacher, settings=item.settings_json, dataset=dataset))
        plain = in_run(student(settings=student_settings, dataset=dataset))
        taught = in_run(teach(settings=teach_settings, dataset=dataset,
                              teachers=dsl.Collected(trained.outputs["model"])))
        distilled = in_run(distill(settings=distill_settings, dataset=dataset,
                                   probabilities=taught.outputs["probabilities"],
                                   student=plain.outputs["model"]))
        evaluated = in_run(evaluate(settings=evaluate_settings, dataset=dataset, student=plain.outputs["model"],
                                    teachers=dsl.Collected(trained.outputs["model"]),
                                    distilled=distilled.outputs["model"]))
        with dsl.ParallelFor(evaluated.outputs["Output"]) as task:
            confusion(task=task, dataset=dataset, plots=evaluated.outputs["plots"])
        pulled = in_run(pull(settings=pull_settings)).set_caching_options(False)
        in_run(compare(settings=compare_settings, dataset=dataset, model=distilled.outputs["model"],
                       champion=pulled.outputs["champion"]))
        in_run(export(settings=export_settings, dataset=dataset, model=distilled.outputs["model"],
                      evaluation=evaluated.outputs["metrics"]))

    return stillhouse


def images_of(source: str | None, settings: Any) -> Any:
    """The artifact that holds the images: drawn, or imported from where they are."""
    if source is None:
        return in_run(sample(settings=settings)).outputs["data"]
    return dsl.importer(artifact_uri=source, artifact_class=Artifact, reimport=True).output


def in_run(task: Any) -> Any:
    """A task that is told which run it is part of: MLflow's parent run goes by that."""
    return kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")


def run_here(compiled: Path, root: Path, containers: dict[str, Any] | None = None) -> Path:
    """Run a compiled pipeline on this machine and return the folder of its tasks' artifacts.

    containers: what Docker's SDK is told to run the tasks in containers of their image, None to run them in processes.
    Raises RuntimeError where a task failed; its own words are above on the output.
    """
    earlier = set(root.glob(f"{NAME}-*"))
    runner = local.SubprocessRunner(use_venv=False) if containers is None else local.DockerRunner(**containers)
    local.init(runner, pipeline_root=str(root))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You may be attemping", RuntimeWarning)  # the image is this environment
        load_component_from_file(str(compiled))()
    return max(set(root.glob(f"{NAME}-*")) - earlier)
