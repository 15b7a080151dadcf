"""Kubeflow's components: thin wrappers that run the steps of `components`.

Their bodies run inside the image, each by itself, so each imports what it needs. Which image that is, and what its pod
is given, is said where they become tasks of the graph.
"""

from collections.abc import Callable
from typing import Any

from kfp import dsl
from kfp.dsl import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    Markdown,
    Metrics,
    Model,
    Output,
    PipelineTaskFinalStatus,
)


def component(function: Callable[..., object]) -> Callable[..., Any]:
    """A lightweight component that runs with what is installed in its image and nothing else."""
    made: Callable[..., Any] = dsl.component(function, base_image="stillhouse", install_kfp_package=False)
    return made


@component
def fetch(settings: str, data: Output[Dataset]) -> None:
    """Bring the data of a revision here."""
    from components.commands.task import run_task

    run_task("fetch", "fetch", settings, {"data": data})


@component
def sample(settings: str, data: Output[Dataset]) -> None:
    """Draw the embedded data set."""
    from components.commands.task import run_task

    run_task("sample", "sample", settings, {"data": data})


@component
def validate(settings: str, source: Input[Artifact], manifest: Output[Artifact], report: Output[HTML],
             metrics: Output[Metrics]) -> str:
    """Decode every image and say what is wrong with it; returns whether the data are "fit" or "unfit"."""
    from components.commands.task import run_task

    return run_task("validate", "validate", settings,
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
            verdict: Output[Artifact], report: Output[HTML], metrics: Output[Metrics]) -> str:
    """Hold the new model against the champion; returns whether to "promote" it or to "keep" the champion."""
    from pathlib import Path

    from components.commands.task import promotion, run_task

    run_task("compare", "compare", settings,
             {"dataset": dataset, "model": model, "champion": champion, "verdict": verdict, "report": report,
              "metrics": metrics})
    return promotion(Path(verdict.path))


@component
def export(settings: str, dataset: Input[Dataset], model: Input[Model], evaluation: Input[Metrics],
           exported: Output[Model], metrics: Output[Metrics]) -> None:
    """Write the ONNX graph, check its parity, describe the model."""
    from components.commands.task import run_task

    run_task("export", "export", settings,
             {"dataset": dataset, "model": model, "evaluation": evaluation, "exported": exported, "metrics": metrics})


@component
def promote(settings: str, model: Input[Model], exported: Input[Model], verdict: Input[Artifact],
            published: Output[Artifact]) -> None:
    """Publish the model and its export, and make it the latest of the registry."""
    from components.commands.task import run_task

    run_task("promote", "promote", settings,
             {"model": model, "exported": exported, "verdict": verdict, "published": published})


@component
def report(status: PipelineTaskFinalStatus, summary: Output[Markdown]) -> None:
    """Tell how the run ended: what its tasks found, or where and why it failed."""
    from pathlib import Path

    from components.commands.run_report import write_report

    write_report(status.state, status.error_message or "", Path(summary.path))
