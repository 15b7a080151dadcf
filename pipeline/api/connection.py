"""The connection to the API server: the one importer of kfp.Client, with time limits and bounded retries."""

import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from components.errors import UserError
from pipeline.api.access import Access
from pipeline.api.refusals import Missing, Passing, Taken, login_page, other_version, refusal, unreachable, untrusted

T = TypeVar("T")
Limits = tuple[float, float]  # seconds to connect, and to wait for an answer

QUICK: Limits = (4.0, 5.0)
USUAL: Limits = (4.0, 60.0)  # creating a run compiles it; lists carry whole pipelines
PATIENCE = 15.0  # seconds after which nothing is tried again
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0


@dataclass(frozen=True)
class Connection:
    """An API server that has answered. api: kfp.Client; namespace: "" where the server has no users."""

    access: Access
    api: Any
    namespace: str = ""

    def ask(self, what: str, call: Callable[[Limits], Any], limits: Limits = USUAL) -> Any:
        """The answer to a request that may be repeated. what: the thing asked for, as errors name it."""
        return patiently(lambda: self.once(what, call, limits))

    def once(self, what: str, call: Callable[[Limits], Any], limits: Limits = USUAL) -> Any:
        """The answer to a request that is sent once; UserError or Passing for any other end."""
        with explained(what, self.access):
            answer = call(limits)
        kind = transport(self.api).last_response.getheader("content-type") or ""
        if "json" not in kind:
            raise login_page(self.access)
        return answer


def connect(access: Access) -> Connection:
    """A connection to a server that is up, takes the credentials and speaks our API."""
    connection = Connection(access, client(access))
    health = connection.api.healthzs.healthz_service_get_healthz
    try:
        users = connection.ask("its state", lambda limits: health(_request_timeout=limits), QUICK).multi_user
    except Missing:
        raise other_version(access) from None
    if users and not access.namespace:
        raise UserError(f"{access.host} keeps the runs of its users apart, and no namespace is known",
                        "name yours: --namespace NAME, or server.namespace in infra/kubeflow.yaml")
    return Connection(access, connection.api, access.namespace if users else "")


def client(access: Access) -> Any:
    """kfp.Client, silent and with its own hidden repetitions off: ours are bounded, and told."""
    import urllib3
    from kfp.client import Client, ServiceAccountTokenVolumeCredentials

    credentials = ServiceAccountTokenVolumeCredentials(access.token_file) if access.token_file else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This client only works", FutureWarning)
        # Any namespace keeps it from asking the server at once, five times and without a time limit.
        made = Client(host=access.host, namespace=access.namespace or "default", existing_token=access.token or None,
                      cookies=access.cookies or None, credentials=credentials, proxy=access.proxy or None,
                      ssl_ca_cert=access.certificate or None, ui_host=access.ui)
    once = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=3)
    transport(made).rest_client.pool_manager.connection_pool_kw["retries"] = once
    return made


def transport(made: Any) -> Any:
    """The part of a kfp.Client that all its calls share."""
    return made._run_api.api_client


@contextmanager
def explained(what: str, access: Access) -> Iterator[None]:
    """Say in words of ours what goes wrong inside."""
    from kfp_server_api import ApiException
    from urllib3 import exceptions

    try:
        yield
    except ApiException as error:
        after = (error.headers or {}).get("Retry-After", "")
        raise refusal(error.status, str(error.body or error.reason or ""), what, access,
                      float(after) if after.isdigit() else 0.0) from None
    except exceptions.MaxRetryError as error:
        if isinstance(error.reason, exceptions.SSLError):
            raise untrusted(str(error.reason), access) from None
        if isinstance(error.reason, exceptions.ResponseError):  # redirected again and again
            raise login_page(access) from None
        raise unreachable(str(error.reason or error), access) from None
    except exceptions.LocationValueError as error:
        raise UserError(f"{access.host} is no address: {error}", "correct it: --host URL") from None
    except exceptions.HTTPError as error:
        raise unreachable(str(error), access) from None
    except UnicodeDecodeError:
        raise login_page(access) from None
    except OSError as error:  # the token's file, which is read at every request
        cause = f"{error.filename or access.host}: {error.strerror or error}"
        raise UserError(cause, "give the file back, or name another: server.token_file") from None


def patiently(attempt: Callable[[], T]) -> T:
    """The result of an attempt that is repeated, after growing pauses, while only the moment is wrong."""
    end, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
    while True:
        try:
            return attempt()
        except Passing as error:
            wait = max(error.after, pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret is drawn
            if time.monotonic() + wait > end:
                raise
            print(f"warning: {error.cause}; trying again in {wait:.1f} s", file=sys.stderr)
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE)


def found_or_made(find: Callable[[], T | None], make: Callable[[], T]) -> T:
    """What is there, else what is made now.

    Whoever sees no answer cannot know whether the thing was made, so it is looked for again before every attempt,
    and also where somebody else was quicker.
    """
    def attempt() -> T:
        found = find()
        if found is not None:
            return found
        try:
            return make()
        except (Taken, Passing):
            if (found := find()) is None:
                raise
            return found

    return patiently(attempt)
