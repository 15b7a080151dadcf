"""What a refusal or silence of the API server means, in words: what happened, and what to do next."""

import json
import re

from components.errors import TryAgain, UserError
from pipeline.api.access import COOKIES, FORWARD, TOKEN, Access

LONGEST = 300  # characters of a server's own words


class Passing(TryAgain):
    """The moment is wrong: the same request may succeed later. after: seconds that the server asks to wait."""

    def __init__(self, cause: str, remedy: str, after: float = 0.0) -> None:
        super().__init__(cause, remedy)
        self.after = after


class Taken(UserError):
    """There is one of that name already."""


class Missing(UserError):
    """There is none of that name."""


def refusal(status: int, body: str, what: str, access: Access, after: float = 0.0) -> UserError:
    """The error for an HTTP status. what: the thing that was asked for, as in `the runs`."""
    said = words(body, access)
    why = f": {said}" if said else f" (HTTP {status})"
    if status == 401:
        return UserError(f"{access.host} does not know who asks for {what}{why}", renewal(access))
    if status == 403:
        where = f"in namespace {access.namespace}" if access.namespace else "there"
        return UserError(f"{access.host} does not allow {what}{why}",
                         f"ask for the right to use pipelines {where}, or name your own with --namespace NAME")
    if status == 404:
        return Missing(f"{access.host} has no {what.removeprefix('the ')}{why}", "stillhouse pipeline status lists all")
    if status == 409:
        return Taken(f"{access.host} has {what} already, but not for us to see{why}",
                     "choose another name: server.pipeline in infra/kubeflow.yaml")
    if status >= 500 or status in (408, 425, 429):
        return Passing(f"{access.host} failed at {what}{why}", "run the same command again in some minutes", after)
    return UserError(f"{access.host} refuses {what}{why}", "correct what it names, then run the same command again")


def renewal(access: Access) -> str:
    """How to get credentials of the kind that was refused."""
    if access.token:
        return (f"the token in {TOKEN} has expired or is meant for another server: get a new one, e.g. kubectl create "
                "token NAME --audience pipelines.kubeflow.org")
    if access.token_file:
        return f"the token in {access.token_file} has expired, or its audience is not pipelines.kubeflow.org"
    if access.cookies:
        return f"sign in again in a browser and copy the session's cookie into {COOKIES}"
    return f"set {TOKEN} or {COOKIES}, or server.token_file in infra/kubeflow.yaml"


def other_version(access: Access) -> UserError:
    """The error for a server that has no API of ours."""
    return UserError(f"{access.host} answers, but has no Kubeflow Pipelines API v2beta1 there",
                     "Kubeflow Pipelines 2.x is needed; behind a gateway the address ends in /pipeline")


def login_page(access: Access) -> UserError:
    """The error for a web page where data was expected: a gateway that wants somebody to sign in."""
    return UserError(f"{access.host} answers with a web page instead of data, as a gateway does that wants a sign-in",
                     renewal(access))


def untrusted(reason: str, access: Access) -> UserError:
    """The error for a connection that TLS refuses."""
    if "WRONG_VERSION_NUMBER" in reason or "record layer" in reason:
        return UserError(f"{access.host} does not speak TLS", "write http:// if that network is trusted")
    detail = words(reason.rpartition("] ")[2], access)
    return UserError(f"the certificate of {access.host} is not trusted: {detail}",
                     "name the file of the authority that signed it: server.certificate in infra/kubeflow.yaml")


def unreachable(reason: str, access: Access) -> Passing:
    """The error for a server that does not answer."""
    short = words(re.sub(r"^.*?<.*?>: |\(host=[^)]*\)", "", reason), access)
    return Passing(f"{access.host} cannot be reached: {short}",
                   f"check the address and that the cluster is up; with kubectl: {FORWARD}")


def words(text: str, access: Access) -> str:
    """What a server says, on one short line, without credentials."""
    said = " ".join(re.sub(r"<[^>]*>", " ", message_in(text)).split())
    for secret in access.secrets:
        said = said.replace(secret, "***")
    return said if len(said) <= LONGEST else said[: LONGEST - 3] + "..."


def message_in(text: str) -> str:
    """The message in an answer of the API server, or the answer itself where it is no JSON.

    >>> message_in('{"error": "not found", "code": 5, "message": "Run 7 not found"}')
    'Run 7 not found'
    """
    try:
        values = json.loads(text)
    except ValueError:
        return text
    if not isinstance(values, dict):
        return text
    found = [values[name] for name in ("message", "error_message", "error") if isinstance(values.get(name), str)]
    return str(found[0]) if found else text
