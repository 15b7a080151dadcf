"""An S3 store for one machine: `python -m pipeline.services.objects FOLDER --port N --bucket NAME`.

moto keeps objects in memory. This copies every object to a folder while it runs and at its end, and puts them back
when it starts again; a power cut costs the last seconds at most. Content and content type are kept, nothing else.
"""

import argparse
import hashlib
import json
import logging
import os
import signal
import sys
import threading
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from components.storage.atomic import write_file

EVERY = 2.0  # seconds between copies
INDEX = "index.json"
READY = "-ready"  # what the name of a bucket gets that is made when all objects are there again
# moto hides private objects from requests without a signature, and reads none of it but whose it is.
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=local/20000101/us-east-1/s3/aws4_request, "
          "SignedHeaders=host, Signature=0"}
Index = dict[str, dict[str, str]]  # object -> its ETag and content type


class Mirror:
    """The objects of a bucket, in a folder: one file each, named by the digest of its key, and an index."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        folder.mkdir(parents=True, exist_ok=True)
        index = folder / INDEX
        self._known: Index = json.loads(index.read_bytes()) if index.exists() else {}

    def restore(self) -> None:
        """Make the bucket, put back what the folder holds, then make the bucket that says so."""
        ask("PUT", self._url)
        for key, facts in self._known.items():
            ask("PUT", self._address(key), self._file(key).read_bytes(), facts["type"])
        ask("PUT", self._url + READY)

    def copy(self) -> None:
        """Bring the folder up to date: new objects, changed ones, then the index, then what is no longer there."""
        found = dict(listed(self._url))
        known = {key: facts for key, facts in self._known.items() if found.get(key) == facts["etag"]}
        if len(known) == len(found) == len(self._known):
            return
        for key in found.keys() - known.keys():
            try:
                content, kind = ask("GET", self._address(key))
            except HTTPError:  # removed since it was listed
                continue
            write_file(self._file(key), content)
            known[key] = {"etag": found[key], "type": kind}
        write_file(self._folder / INDEX, json.dumps(known, indent=1, sort_keys=True) + "\n")
        for key in self._known.keys() - known.keys():
            self._file(key).unlink(missing_ok=True)
        self._known = known

    def _file(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()

    def _address(self, key: str) -> str:
        return f"{self._url}/{quote(key)}"


def ask(method: str, url: str, content: bytes | None = None, kind: str = "") -> tuple[bytes, str]:
    """One request to the store of this machine: the body and its content type."""
    headers = SIGNED | {"Content-Type": kind or "binary/octet-stream"}  # urllib would call it a form
    request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310 - http on loopback
    with direct().open(request, timeout=60) as answer:
        return answer.read(), answer.headers.get("Content-Type", "")


@cache
def direct() -> urllib.request.OpenerDirector:
    """What asks servers of this machine: the proxy of a shell knows nothing of its loopback."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def listed(url: str) -> list[tuple[str, str]]:
    """Key and ETag of every object of a bucket."""
    found, query = [], {"list-type": "2"}
    while True:
        page = ElementTree.fromstring(ask("GET", f"{url}?{urlencode(query)}")[0])  # noqa: S314 - our own server's
        name = page.tag.partition("}")[0] + "}" if page.tag.startswith("{") else ""
        found += [(text(one, f"{name}Key"), text(one, f"{name}ETag")) for one in page.iter(f"{name}Contents")]
        if not (following := text(page, f"{name}NextContinuationToken")):
            return found
        query["continuation-token"] = following


def text(element: "ElementTree.Element[str]", name: str) -> str:
    """What an element of the listing says; "" where it is absent."""
    return element.findtext(name) or ""


def serve(folder: Path, port: int, bucket: str) -> None:
    """Serve until SIGTERM."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    server: Any = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    mirror = Mirror(folder, f"http://127.0.0.1:{port}/{bucket}")
    mirror.restore()
    while not ended.wait(EVERY):
        mirror.copy()
    mirror.copy()
    sys.stdout.flush()
    os._exit(0)  # connections that clients keep open would hold the server for minutes


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="An S3 store for one machine that keeps its objects in a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bucket", required=True)
    options = parser.parse_args()
    serve(options.folder, options.port, options.bucket)


if __name__ == "__main__":
    main()
