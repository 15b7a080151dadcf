"""Where Kubeflow Pipelines is and what lets us in: options, infra/kubeflow.yaml, environment, the pod's own token."""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from components.errors import UserError
from pipeline.cluster import Server

HOST = "KF_PIPELINES_ENDPOINT"  # these two and TOKEN_FILE are the SDK's own names
UI = "KF_PIPELINES_UI_ENDPOINT"
TOKEN_FILE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - the name of a variable
TOKEN = "KF_PIPELINES_TOKEN"  # noqa: S105 - the name of a variable
COOKIES = "KF_PIPELINES_COOKIES"

POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
FORWARD = "kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888, then --host http://127.0.0.1:8888"


@dataclass(frozen=True)
class Access:
    """An address and credentials, of which at most one kind is set; they are never shown."""

    host: str
    ui: str
    namespace: str = ""
    token: str = field(default="", repr=False)
    token_file: str = ""
    cookies: str = field(default="", repr=False)
    certificate: str = ""
    proxy: str = ""

    @property
    def secrets(self) -> list[str]:
        """What must not stand in any message."""
        return [secret for secret in (self.token, self.cookies) if secret]


def access_of(server: Server, host: str = "", namespace: str = "") -> Access:
    """How to reach a server; UserError where nothing says it. host, namespace: from the command line, before all."""
    address = address_of(host or server.host or os.environ.get(HOST, "") or in_cluster())
    token, cookies = secret(TOKEN), secret(COOKIES)
    access = Access(
        host=address, ui=(server.ui or os.environ.get(UI) or address).rstrip("/"),
        namespace=namespace or server.namespace or pod_namespace(), token=token,
        token_file="" if token or cookies else token_file(server.token_file), cookies="" if token else cookies,
        certificate=existing(server.certificate or os.environ.get("SSL_CERT_FILE", "")), proxy=server.proxy)
    warn_of_plain_text(access)
    return access


def in_cluster() -> str:
    """The address inside the cluster, for pods; "" elsewhere."""
    return IN_CLUSTER if "KUBERNETES_SERVICE_HOST" in os.environ else ""


def pod_namespace() -> str:
    """The namespace of the pod that this runs in; "" elsewhere."""
    return POD_NAMESPACE.read_text(encoding="utf-8").strip() if POD_NAMESPACE.is_file() else ""


def address_of(text: str) -> str:
    """The URL of the server, without what a browser's address line has behind it.

    >>> address_of("https://kubeflow.example.com/pipeline/#/runs")
    'https://kubeflow.example.com/pipeline'
    """
    if not text:
        raise UserError("no address of Kubeflow Pipelines is known",
                        f"set server.host in infra/kubeflow.yaml or {HOST}, or give --host URL; without one: {FORWARD}")
    url = text.partition("#")[0].rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise UserError(f"the address {hidden(text)} is no URL", "for example: --host https://kubeflow.example.com/pipeline")
    if "@" in parts.netloc:
        raise UserError("the address of Kubeflow Pipelines holds a user or password, which would be shown in logs",
                        f"leave it out; put a token into {TOKEN}")
    return url


def hidden(address: str) -> str:
    """An address without user and password."""
    return re.sub(r"//[^/\s]*@", "//", address)


def secret(variable: str) -> str:
    """A secret from the environment; UserError, without its text, where it cannot stand in a header."""
    value = os.environ.get(variable, "").strip()
    if re.search(r"[^\x20-\x7e]", value):
        raise UserError(f"{variable} holds a line break or a character that HTTP does not carry",
                        "set it to the bare text, as it was given out")
    return value


def token_file(given: str) -> str:
    """The file with a token that is renewed from time to time; "" where there is none."""
    named = given or os.environ.get(TOKEN_FILE, "")
    return existing(named) if named else str(POD_TOKEN) * POD_TOKEN.is_file()


def existing(path: str) -> str:
    """The path of a file that can be read; UserError for another, "" for none."""
    if path and not os.access(path, os.R_OK):
        raise UserError(f"{path} cannot be read", "correct the path: server in infra/kubeflow.yaml, or the environment")
    return path


def warn_of_plain_text(access: Access) -> None:
    """Say where credentials would cross a network in plain text."""
    parts = urlsplit(access.host)
    name = parts.hostname or ""
    near = name in ("localhost", "127.0.0.1", "::1") or name.endswith((".svc", ".cluster.local"))
    if parts.scheme == "http" and not near and (access.secrets or access.token_file):
        print(f"warning: {access.host} is no https: whoever listens on the way reads the credentials", file=sys.stderr)
