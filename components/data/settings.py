"""Where the images are and what their labels mean: the `data` section."""

from typing import Literal

from pydantic import Field

from components.settings import Settings

Column = Literal["path", "split", "identity", "camera", "group", "weight"]


class Task(Settings):
    """One question asked of every image."""

    kind: Literal["single", "multi"] = Field("single", description="one true label, or several at once")
    classes: tuple[str, ...] = Field((), description="class names in order; empty: those found, sorted")


class Data(Settings):
    """Where the images are and what their labels mean."""

    path: str = Field("data/raw", exclude=True, description="folder of images, absolute or relative to params.yaml")
    layout: Literal["auto", "folders", "labels_csv"] = Field(
        "auto", description="folders: {train,val,test}/CLASS/*; labels_csv: a table labels.csv; auto: recognised")
    tasks: dict[str, Task] = Field(
        {}, description="tasks to read; empty: every free column of labels.csv, or the class folders")
    columns: dict[Column, str] = Field(
        {}, description="columns of labels.csv that have other names, e.g. {group: sender_id}")
    default_task: str = Field("label", description="name of the task that class folders stand for")
