"""A server that is away, slow, full, closed to us or something else: what is said, in what time, with which code."""

import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubeflow_server import BEGUN, State

from components.errors import UserError
from pipeline.__main__ import main
from pipeline.api.access import Access, access_of, address_of
from pipeline.api.connection import connect, patiently
from pipeline.api.refusals import Passing, message_in, refusal
from pipeline.cluster import Server

RUN = {"run_id": "5d08dd3d-58d9-4d02-9ff2-f2cee8dbfda8", "display_name": "one", "state": "RUNNING",
       "experiment_id": "e", "created_at": BEGUN.isoformat()}


def status(host: str, *options: str) -> int:
    return main(["status", "--host", host, *options])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """All of stderr on one line, remedies included."""
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("how", [503, 502, 504, 500, 429, 408, "reset"])
def test_what_passes_is_waited_for(host: str, state: State, how: int | str, capsys: pytest.CaptureFixture[str]) -> None:
    state.fail("GET", how, times=3)
    assert status(host) == 0
    assert said(capsys).count("trying again in") == 3


def test_a_burst_of_refusals_is_outlived_and_makes_nothing_twice(host: str, state: State) -> None:
    for where in ("POST", "GET"):
        state.fail(where, 503, times=4)
    assert main(["submit", "--host", host]) == 0
    assert {kind: len(things) for kind, things in state.things.items()} == {
        "experiments": 1, "pipelines": 1, "versions": 1, "runs": 1, "recurringruns": 0}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_with_a_third_of_all_requests_failing_one_run_and_one_schedule_are_made(host: str, state: State,
                                                                                 seed: int) -> None:
    chance = random.Random(seed)
    state.trouble = lambda: chance.choice([503, 500, 429, "reset", "lost"]) if chance.random() < 0.33 else None
    assert main(["submit", "--host", host]) == 0
    assert main(["schedule", "--host", host, "--every", "12h"]) == 0
    assert [run["state"] for run in state.things["runs"].values()].count("PENDING") == 1
    assert {kind: len(things) for kind, things in state.things.items() if kind != "runs"} == {
        "experiments": 1, "pipelines": 1, "versions": 1, "recurringruns": 1}


def test_what_does_not_pass_ends_with_75_after_bounded_tries(host: str, state: State, monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.api.connection.PATIENCE", 0.3)
    state.fail("GET", 503, times=10**6)
    assert status(host) == 75
    assert 2 <= len(state.requests) < 20
    assert "failed at its state: upstream connect error remedy: run the same command again" in said(capsys)


def test_a_server_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    refusals = [refusal(429, "slow down", "the runs", Access("http://x", "http://x"), after) for after in (7.0, 3.0)]

    def attempt() -> str:
        if refusals:
            raise refusals.pop(0)
        return "answer"

    assert patiently(attempt) == "answer"
    assert slept == [7.0, 3.0]


def test_a_port_that_nobody_listens_on_is_told_with_the_way_to_forward_it(
        desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.api.connection.PATIENCE", 0.2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert status(f"http://127.0.0.1:{taken.getsockname()[1]}") == 75
    told = said(capsys)
    assert "cannot be reached" in told and "Connection refused" in told
    assert "kubectl port-forward -n kubeflow svc/ml-pipeline 8888:8888" in told


@pytest.mark.slow
def test_a_server_that_takes_connections_and_never_answers_is_given_up_within_30_seconds(
        desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        assert status(f"http://127.0.0.1:{silent.getsockname()[1]}") == 75
    assert time.monotonic() - begun < 30
    assert "timed out" in said(capsys)


def test_a_name_that_nobody_knows_is_told(desk: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("pipeline.api.connection.PATIENCE", 0.0)
    assert status("http://kubeflow.invalid:8888") == 75
    assert "kubeflow.invalid:8888 cannot be reached" in said(capsys)


@pytest.mark.parametrize(("variable", "value", "remedy"), [
    ("KF_PIPELINES_TOKEN", "old", "the token in KF_PIPELINES_TOKEN has expired"),
    ("KF_PIPELINES_COOKIES", "authservice_session=old", "sign in again in a browser"),
    ("UNSET", "", "set KF_PIPELINES_TOKEN or KF_PIPELINES_COOKIES")])
def test_expired_credentials_are_told_by_their_kind(host: str, state: State, monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str], variable: str, value: str,
                                                    remedy: str) -> None:
    state.token = "new"
    monkeypatch.setenv(variable, value)
    assert status(host) == 1
    assert remedy in said(capsys)
    assert len(state.requests) == 1, "nobody is asked twice who knows already"


def test_a_token_in_a_file_is_read_anew_for_every_request(host: str, state: State, desk: Path) -> None:
    file = desk / "token"
    file.write_text("first\n")
    state.token = "first"
    connection = connect(access_of(Server(token_file=str(file)), host))
    file.write_text("second\n")
    state.token = "second"
    health = connection.api.healthzs.healthz_service_get_healthz
    assert connection.ask("its state", lambda limits: health(_request_timeout=limits)).multi_user is False
    file.unlink()
    with pytest.raises(UserError, match=r"token: No such file") as caught:
        connection.ask("its state", lambda limits: health(_request_timeout=limits))
    assert "server.token_file" in caught.value.remedy


def test_who_may_not_is_told_in_which_namespace(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    state.multi_user = True
    state.fail("GET .*experiments", 403, words='{"error": "x", "code": 7, "message": "User may not list in team-a"}')
    assert status(host, "--namespace", "team-a") == 1
    told = said(capsys)
    assert "does not allow the experiments: User may not list in team-a" in told
    assert "ask for the right to use pipelines in namespace team-a" in told


def test_a_server_with_users_needs_a_namespace(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    state.multi_user = True
    assert status(host) == 1
    assert "--namespace NAME" in said(capsys)
    assert main(["submit", "--host", host, "--namespace", "team-a"]) == 0
    assert state.only("experiments")["namespace"] == state.only("pipelines")["namespace"] == "team-a"


def test_a_namespace_is_kept_from_a_server_without_users(host: str, state: State) -> None:
    assert main(["submit", "--host", host, "--namespace", "team-a"]) == 0
    assert "namespace" not in state.only("experiments")


@pytest.mark.parametrize(("how", "times"), [("page", 1), ("login", 10)])
def test_a_gateway_that_wants_a_sign_in_is_recognised(host: str, state: State, how: str, times: int,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    state.fail("GET .*experiments", how, times)
    assert status(host) == 1
    assert "a web page instead of data" in said(capsys)


def test_a_server_of_another_version_is_recognised(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(f"{host}/pipeline") == 1
    told = said(capsys)
    assert "no Kubeflow Pipelines API v2beta1" in told and "2.x is needed" in told


def test_a_name_that_somebody_else_has_taken_is_told(host: str, state: State,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    state.fail("POST .*pipelines$", 409, times=9, words='{"message": "the name stillhouse already exists"}')
    assert main(["submit", "--host", host]) == 1
    told = said(capsys)
    assert "has the pipeline stillhouse already" in told and "server.pipeline in infra/kubeflow.yaml" in told


def test_a_refusal_is_told_in_the_server_s_words(host: str, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    state.fail("POST .*/runs$", 400, words='{"message": "service account runner is not found"}')
    assert main(["submit", "--host", host]) == 1
    assert "refuses the new run: service account runner is not found" in said(capsys)
    assert not state.things["runs"]


@pytest.mark.parametrize(("text", "words"), [
    ("", "no address of Kubeflow Pipelines is known"), ("localhost:8888", "is no URL"), ("https://", "is no URL"),
    ("http://me:pw@example.com", "holds a user or password"), ("ftp://example.com", "is no URL"),
    ("http://example.com:99999", "is no URL"), ("http://[::1", "is no URL")])
def test_an_address_that_is_none_is_refused(desk: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        address_of(text)
    assert "pw" not in caught.value.cause + caught.value.remedy and "--host" in caught.value.remedy + "--host"


def test_the_address_comes_from_the_option_the_file_the_environment_or_the_pod(
        desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert access_of(Server()).host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "https://environment.example.com/")
    assert access_of(Server()).host == "https://environment.example.com"
    assert access_of(Server(host="https://file.example.com/pipeline/#/runs")).host == "https://file.example.com/pipeline"
    assert access_of(Server(host="https://file.example.com"), "http://option.example.com").host.endswith("option.example.com")


def test_a_pod_brings_its_own_token_and_namespace(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, place in (("token", "POD_TOKEN"), ("namespace", "POD_NAMESPACE")):
        (desk / name).write_text(f"{name}-of-the-pod\n")
        monkeypatch.setattr(f"pipeline.api.access.{place}", desk / name)
    access = access_of(Server(), "http://ml-pipeline.kubeflow.svc:8888")
    assert (access.token_file, access.namespace) == (str(desk / "token"), "namespace-of-the-pod")
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "given")
    assert access_of(Server(), "http://x.svc").token_file == "", "what is given goes before"


def test_a_proxy_is_gone_through(host: str, state: State) -> None:
    assert status("http://kubeflow.example.com/pipeline", "--cluster-set", f"server.proxy={host}") == 1
    assert state.requests == [("GET", "/pipeline/apis/v2beta1/healthz")], "it has no such path, but it was asked"


@pytest.mark.parametrize("value", ["two\nlines", "gr\u00fcn"])
def test_a_secret_that_no_header_can_carry_is_refused_unseen(desk: Path, monkeypatch: pytest.MonkeyPatch,
                                                             value: str) -> None:
    monkeypatch.setenv("KF_PIPELINES_TOKEN", value)
    with pytest.raises(UserError, match="KF_PIPELINES_TOKEN holds a line break") as caught:
        access_of(Server(), "http://127.0.0.1:1")
    assert value not in caught.value.cause + caught.value.remedy


def test_credentials_in_plain_text_are_warned_of(desk: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KF_PIPELINES_COOKIES", "session=1")
    for host in ("http://127.0.0.1:8888", "https://kubeflow.example.com", "http://ml-pipeline.kubeflow.svc:8888"):
        assert "session=1" not in repr(access_of(Server(), host))
    assert not said(capsys)
    access_of(Server(), "http://kubeflow.example.com")
    assert "is no https" in said(capsys)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", folder / "key.pem", "-out", folder / "certificate.pem", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return folder


@pytest.fixture
def secure_host(certificate: Path, state: State, desk: Path) -> Iterator[str]:
    from http.server import ThreadingHTTPServer

    from kubeflow_server import Answers

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Answers,), {"state": state}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_is_verified_and_its_authority_can_be_named(
        secure_host: str, certificate: Path, state: State, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(secure_host) == 1
    told = said(capsys)
    assert "certificate" in told and "is not trusted" in told and "server.certificate" in told
    assert not state.requests, "nothing was sent to a stranger"
    assert status(secure_host, "--cluster-set", f"server.certificate={certificate}/certificate.pem") == 0
    assert status(secure_host, "--cluster-set", "server.certificate=missing.pem") == 1


def test_plain_http_where_tls_was_expected_is_told(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(host.replace("http://", "https://")) == 1
    assert "does not speak TLS" in said(capsys)


def test_a_message_is_found_in_what_servers_answer() -> None:
    assert message_in('{"error_message": "no pod"}') == "no pod"
    assert message_in("RBAC: access denied") == "RBAC: access denied"
    assert message_in("[1]") == "[1]"
    access = Access("http://x", "http://x", token="t0k3n")
    error = refusal(500, "<html><body>it was\n t0k3n" + "x" * 999, "the runs", access)
    assert isinstance(error, Passing) and "it was ***xxx" in error.cause and len(error.cause) < 400
