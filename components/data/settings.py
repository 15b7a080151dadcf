"""Where the images are and what their labels mean: the `data` section."""

from typing import Literal

from pydantic import Field

from components.settings import Settings

Column = Literal["path", "split", "identity", "camera", "group", "weight", "sha256"]
Layout = Literal["auto", "folders", "class_folders", "task_folders", "lists", "labels_csv", "torchvision", "manifest"]


class Task(Settings):
    """One question asked of every image."""

    kind: Literal["single", "multi"] = Field("single", description="one true label, or several at once")
    classes: tuple[str, ...] = Field((), description="class names in order; empty: those found, sorted")


class Data(Settings):
    """Where the images are and what their labels mean."""

    path: str = Field("data/raw", exclude=True,
                      description="folder of images, or a manifest file, absolute or relative to params.yaml")
    root: str = Field("", exclude=True, description="folder that the paths in lists, labels.csv or a manifest are "
                      "relative to, where it is not the one that they lie in")
    layout: Layout = Field("auto", description=(
        "folders: SPLIT/CLASS/*; class_folders: CLASS/*; task_folders: TASK/SPLIT/CLASS/*; lists: train.txt and others "
        "with a path and a label a line; labels_csv: a table labels.csv; torchvision: a data set as torchvision keeps "
        "it; manifest: data.path is a .csv, .tsv, .jsonl or .parquet file; auto: recognised"))
    variant: str = Field("", description="which of several that a data set comes in: partition 1..10 of DTD, standard "
                         "or challenge of Places365; empty: the first")
    tasks: dict[str, Task] = Field(
        {}, description="tasks to read; empty: every free column of a table, every task folder, or the class folders")
    columns: dict[Column, str] = Field(
        {}, description="columns of labels.csv or of a manifest that have other names, e.g. {group: sender_id}")
    unlabelled: str = Field("", description="class name, or class folder, that stands for no label: students learn "
                            "from what teachers say of its images")
    default_task: str = Field("label", description="name of the task that class folders and lists stand for")
