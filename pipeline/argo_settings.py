"""What Argo Workflows alone must be told of a cluster."""

from typing import Annotated

from pydantic import Field, model_validator

from components.settings import Settings

Named = Annotated[str, Field(pattern=r"^(|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$", max_length=253)]


class Repository(Settings):
    """Which artifact repository keeps what tasks hand on; credentials stand there and nowhere here."""

    config_map: Named = Field("", description="config map with artifact repositories; empty: the controller's default")
    key: str = Field("", description="key in it; empty: the one that the config map's annotation names")
    prefix: str = Field("stillhouse", pattern=r"^[A-Za-z0-9._/-]*$", description="where keys in the bucket begin")

    @model_validator(mode="after")
    def _named(self) -> "Repository":
        if self.key and not self.config_map:
            raise ValueError("argo.repository.config_map beside argo.repository.key")
        return self


class Argo(Settings):
    """Argo Workflows."""

    name: Annotated[Named, Field(min_length=1)] = Field("stillhouse", description="name of the WorkflowTemplate")
    namespace: Named = Field("", description="namespace; empty: the one that kubectl is set to")
    service_account: Named = Field("", description="service account of the steps; empty: the namespace's default")
    executor: Named = Field("", description=(
        "service account of Argo's own containers; with it the steps are given no token of the cluster"))
    repository: Repository = Field(Repository(), description="where artifacts go")
    timezone: str = Field("Etc/UTC", min_length=1, description="time zone of --schedule")
