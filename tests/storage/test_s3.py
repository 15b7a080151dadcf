"""Single objects of a bucket: conditions, retries that end, and errors that say what to do."""

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import object_store
import pytest
from object_store import Proxy

from components.errors import TryAgain, UserError
from components.storage.bucket import Bucket, Patience
from components.storage.s3 import Refused, Url

SHORT = Patience(1.0, 0.3)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.storage.bucket.LONGEST_PAUSE", 0.05)


@contextmanager
def answering(status: int, code: str = "", headers: dict[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything alike; the requests that it saw."""
    seen: list[str] = []
    body = f"<Error><Code>{code}</Code><Message>no</Message><Region>eu-west-9</Region></Error>".encode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def answer(self) -> None:
            seen.append(f"{self.command} {self.path} {self.headers}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}", seen
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def raw(endpoint: str, verb: str, path: str, body: bytes = b"", **headers: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
    connection.request(verb, path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("text", ["s3://", "s3:///a", "/folder", "http://x/y"])
def test_what_names_no_bucket_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="names no bucket"):
        Url.parse(text)


def test_an_object_comes_back_as_it_was_written(bucket_url: str) -> None:
    bucket = Bucket(f"{bucket_url}/some/prefix")
    assert bucket.read("a/b") is None and bucket.find("a/b") is None
    for content in (b"", b"x" * 1000, os.urandom(5000)):
        etag = bucket.write("a/b", content)
        assert bucket.read("a/b") == (content, etag)
    found = bucket.find("a/b")
    assert found is not None and (found.name, found.size) == ("a/b", 5000)
    assert [one.name for one in bucket.objects()] == [one.name for one in bucket.objects("a")] == ["a/b"]
    assert bucket.objects("a/b") == [] and Bucket(bucket_url).objects()[0].name == "some/prefix/a/b"
    bucket.remove(["a/b", "never there"])
    assert bucket.objects() == []


def test_more_objects_than_a_page_holds_are_all_listed(bucket_url: str) -> None:
    bucket = Bucket(bucket_url)
    for number in range(7):
        bucket.write(f"{number}", b"x")
    bucket.client.list_objects_v2 = partial(bucket.client.list_objects_v2, MaxKeys=3)
    assert [one.name for one in bucket.objects()] == [str(number) for number in range(7)]


def test_a_write_with_a_condition_happens_only_where_it_holds(bucket_url: str) -> None:
    bucket = Bucket(bucket_url)
    first = bucket.write("latest", b"one", "")
    assert first and bucket.write("latest", b"two", "") is None and bucket.read("latest") == (b"one", first)
    second = bucket.write("latest", b"two", first)
    assert second and bucket.write("latest", b"three", first) is None and bucket.read("latest") == (b"two", second)
    assert bucket.write("absent", b"x", first) is None and bucket.find("absent") is None


def test_of_many_writers_with_one_condition_one_wins(bucket_url: str) -> None:
    bucket = Bucket(bucket_url)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: bucket.write("latest", str(number).encode(), ""), range(8)))
    (winner,) = [number for number, etag in enumerate(won) if etag]
    assert bucket.read("latest") == (str(winner).encode(), won[winner])


def test_a_lost_answer_to_a_write_with_a_condition_is_no_defeat(s3_server: str, bucket_url: str,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        with Proxy(s3_server, 0.6, ("answer lost",), seed).address() as endpoint:
            object_store.use(monkeypatch, endpoint)
            assert Bucket(bucket_url).write(f"latest-{seed}", b"mine", "")


class Unconditional(object_store.Handler):
    """A server that has never heard of conditions."""

    def pass_on(self) -> None:
        for name in ("If-Match", "If-None-Match"):
            if self.command == "PUT":
                del self.headers[name]
        self.relay(self.rfile.read(int(self.headers.get("Content-Length") or 0)), "")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on


def test_a_server_without_conditions_is_said_once_and_gets_a_look_before_the_write(
        s3_server: str, bucket_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(object_store, "Handler", Unconditional)
    with Proxy(s3_server).address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        bucket = Bucket(bucket_url)
        first = bucket.write("latest", b"one", "")
        assert first and bucket.write("latest", b"two", "") is None and bucket.write("latest", b"two", "0" * 32) is None
        assert bucket.write("latest", b"two", first) and bucket.read("latest") == (b"two", bucket.find("latest").etag)  # type: ignore[union-attr]
        assert [one.name for one in bucket.objects()] == ["latest"]
    assert capfd.readouterr().err.count("knows no conditional writes") == 1


def test_a_write_goes_through_a_third_of_failing_requests_and_is_never_another(
        s3_server: str, bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(s3_server, seed=1)
    with proxy.address() as endpoint:
        object_store.use(monkeypatch, endpoint)
        bucket = Bucket(bucket_url)
        with ThreadPoolExecutor(8) as pool:
            contents = {str(number): os.urandom(2000) for number in range(20)}
            list(pool.map(lambda name: bucket.write(name, contents[name]), contents))
            read = dict(zip(contents, pool.map(bucket.read, contents), strict=True))
    assert sum(proxy.told.values()) > 8
    object_store.use(monkeypatch, s3_server)
    plain = Bucket(bucket_url)
    for name, content in contents.items():
        assert read[name] == plain.read(name) and read[name][0] == content  # type: ignore[index]


UNREACHABLE: dict[str, Callable[[socket.socket], None]] = {
    "nobody listens": lambda listening: listening.close(),
    "somebody listens and never answers": lambda listening: None,
}


@pytest.mark.parametrize("how", list(UNREACHABLE))
def test_an_endpoint_that_cannot_be_reached_is_named_in_time(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
    UNREACHABLE[how](listening)
    object_store.use(monkeypatch, endpoint)
    monkeypatch.setattr("components.storage.s3.READ_SECONDS", 1)
    with pytest.raises(TryAgain) as caught:
        Bucket("s3://box", SHORT).find("x")
    listening.close()
    assert endpoint in caught.value.cause and "AWS_ENDPOINT_URL" in caught.value.remedy


def test_the_time_that_an_unreachable_endpoint_takes_is_bounded_by_half_a_minute() -> None:
    from components.storage.s3 import CONNECT_SECONDS, READ_SECONDS

    patience = Patience()
    assert patience.first + CONNECT_SECONDS <= 30 and max(patience.first, READ_SECONDS) <= 20


@pytest.mark.parametrize(("status", "code", "said", "remedy"), [
    (403, "AccessDenied", "may not read s3://box/x", "s3:GetObject"),
    (400, "ExpiredToken", "token has expired", "aws sso login"),
    (403, "InvalidAccessKeyId", "does not accept the credentials", "AWS_ACCESS_KEY_ID"),
    (403, "SignatureDoesNotMatch", "does not accept the credentials", "AWS_SECRET_ACCESS_KEY"),
    (403, "RequestTimeTooSkewed", "clock is wrong", "NTP"),
    (404, "NoSuchBucket", "bucket box does not exist at http://127.0.0.1", "aws s3 mb s3://box"),
    (301, "PermanentRedirect", "in another region", "AWS_REGION=eu-west-9"),
    (400, "AuthorizationHeaderMalformed", "in another region", "AWS_REGION=eu-west-9"),
    (418, "Teapot", "answers Teapot, to read s3://box/x", "check the name"),
])
def test_a_refusal_is_told_at_once_with_its_remedy(status: int, code: str, said: str, remedy: str,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(status, code) as (endpoint, seen):
        object_store.use(monkeypatch, endpoint)
        with pytest.raises(Refused) as caught:
            Bucket("s3://box").read("x")
    assert said in caught.value.cause and remedy in caught.value.remedy and caught.value.exit_code == 1
    assert len(seen) <= 2 and "secret-canary-9" not in "".join(seen) + caught.value.cause + caught.value.remedy


ASKING: dict[str, tuple[str, Callable[[Bucket], object]]] = {
    "GetObject": ("read s3://box/x", lambda bucket: bucket.read("x")),
    "PutObject": ("write s3://box/x", lambda bucket: bucket.begin("x", "")),
    "ListBucket": ("list s3://box", lambda bucket: bucket.objects()),
    "DeleteObject": ("remove s3://box/x", lambda bucket: bucket.remove(["x"])),
    "ListBucketMultipartUploads": ("list uploads of s3://box", lambda bucket: bucket.begun()),
    "ListMultipartUploadParts": ("list pieces of s3://box/x", lambda bucket: bucket.pieces("x", "1")),
    "AbortMultipartUpload": ("give up s3://box/x", lambda bucket: bucket.give_up("x", "1")),
}


@pytest.mark.parametrize("right", list(ASKING))
def test_the_right_that_is_missing_is_named(right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said, ask = ASKING[right]
    with answering(403, "AccessDenied") as (endpoint, _):
        object_store.use(monkeypatch, endpoint)
        with pytest.raises(Refused) as caught:
            ask(Bucket("s3://box"))
    assert caught.value.cause == f"these credentials may not {said} (AccessDenied)"
    assert f"s3:{right} on bucket box" in caught.value.remedy
    assert ("an object that is not there" in caught.value.remedy) == (right == "GetObject")


def test_an_upload_that_is_not_there_is_told_from_a_bucket_that_is_not(s3_server: str, bucket_url: str) -> None:
    assert Bucket(bucket_url).pieces("x", "never begun") == []
    for ask in (lambda bucket: bucket.objects(), lambda bucket: bucket.begun(), lambda bucket: bucket.begin("x", "")):
        with pytest.raises(Refused, match="bucket nobodys does not exist"):
            ask(Bucket("s3://nobodys"))


def test_nothing_is_asked_for_any_more_when_the_work_is_given_up(bucket_url: str) -> None:
    bucket = Bucket(bucket_url)
    bucket.stopped.set()
    with pytest.raises(TryAgain, match=f"{bucket_url}/x was given up"):
        bucket.write("x", b"")
    bucket.stopped.clear()
    assert bucket.objects() == []


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (502, ""), (429, "")])
def test_what_may_pass_is_tried_again_and_then_ends_with_75(status: int, code: str,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(status, code) as (endpoint, seen):
        object_store.use(monkeypatch, endpoint)
        with pytest.raises(TryAgain, match=f"{endpoint} answers {code or status}") as caught:
            Bucket("s3://box", SHORT).read("x")
    assert len(seen) > 2 and caught.value.exit_code == 75


def test_pauses_end_when_the_work_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.storage.bucket.LONGEST_PAUSE", 60.0)
    with answering(503) as (endpoint, _):
        object_store.use(monkeypatch, endpoint)
        bucket = Bucket("s3://box")
        threading.Timer(0.5, bucket.stopped.set).start()
        with pytest.raises(TryAgain):
            bucket.read("x")


def test_missing_credentials_and_a_wrong_profile_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    object_store.use(monkeypatch, "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError) as caught:
        Bucket("s3://box", SHORT).read("x")
    assert "no usable credentials" in caught.value.cause and "AWS_PROFILE" in caught.value.remedy
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match="nobody") as caught:
        Bucket("s3://box")
    assert "AWS_PROFILE" in caught.value.remedy
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nonsense")
    with pytest.raises(UserError, match="nonsense"):
        Bucket("s3://box")


@pytest.mark.parametrize(("style", "path"), [("", "/box/x"), ("path", "/box/x"), ("virtual", "/x")])
def test_how_a_bucket_is_addressed_is_for_the_environment_to_say(style: str, path: str,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(404, "NoSuchKey") as (endpoint, seen):
        object_store.use(monkeypatch, endpoint.replace("127.0.0.1", "localhost"))
        if style:
            monkeypatch.setenv("STILLHOUSE_S3_STYLE", style)
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: local(rest[0]))
        assert Bucket("s3://box", SHORT).read("x") is None
    assert seen[0].startswith(f"GET {path} ")


def local(port: int) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def test_a_profile_may_name_endpoint_and_style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(404, "NoSuchKey") as (endpoint, seen):
        object_store.use(monkeypatch, endpoint)
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {endpoint}\ns3 =\n  addressing_style = path\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        assert Bucket("s3://box", SHORT).read("x") is None
    assert seen[0].startswith("GET /box/x ")


def test_a_certificate_that_is_not_trusted_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl
    import subprocess

    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", "-out",
                    tmp_path / "certificate", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with answering(404, "NoSuchKey") as (endpoint, _):
        plain = urlsplit(endpoint)
        with tls_before(plain.port or 0, context) as port:
            object_store.use(monkeypatch, f"https://127.0.0.1:{port}")
            with pytest.raises(UserError, match="not trusted") as caught:
                Bucket("s3://box").read("x")
            assert "AWS_CA_BUNDLE" in caught.value.remedy and not isinstance(caught.value, TryAgain)
            monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "certificate"))
            assert Bucket("s3://box", SHORT).read("x") is None


@contextmanager
def tls_before(port: int, context: Any) -> Iterator[int]:
    """A port that speaks TLS, one connection after the other, and passes on to a plain one."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                incoming, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(incoming, server_side=True) as ours, socket.create_connection(
                        ("127.0.0.1", port)) as theirs:
                    theirs.sendall(ours.recv(65536))
                    time.sleep(0.1)
                    ours.sendall(theirs.recv(65536))
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def test_the_raw_server_agrees_with_what_is_told_of_it(s3_server: str, bucket_url: str) -> None:
    """Another client than ours sees the same objects."""
    name = bucket_url.removeprefix("s3://")
    assert raw(s3_server, "PUT", f"/{name}/plain", b"made elsewhere") == 200
    found = Bucket(bucket_url).find("plain")
    assert found is not None and found.digest()[0] == "md5" and Bucket(bucket_url).read("plain")
    assert json.dumps(found.size) == "14"
