"""Several processes train as one does: started and joined on this machine, compared number by number."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from noisy_dataset import write_dataset
from ranked import APART, CASES, after

from components import crew
from components.crew import Failure, cause_of, failures, tell, workers_to_start
from components.distill import Distill
from components.errors import Exit, Terminated, TryAgain, UserError
from components.losses.ranks import ALONE, Ranks
from components.runtime import Runtime
from components.settings import Params
from components.train import Train
from components.training.ranks import launching
from components.training.ranks.joining import joined, place_of
from components.training.ranks.launching import Death, Site, count_here, run_ranks
from components.training.ranks.seats import RankLost, Seat, seat_of
from components.training.settings import Recipe
from components.training.sharing import rank_notes, synchronise

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("ranked.py")
BOUND = 1e-9


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What two ranks and a single one found when they trained the same things."""
    folder = tmp_path_factory.mktemp("ranked")
    write_dataset(folder / "dataset", count=60)
    surroundings = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    command = [sys.executable, PROGRAM, folder / "dataset", folder]
    running = [subprocess.Popen(command, env=surroundings | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
               for rank in range(2)]
    assert [one.wait(500) for one in running] == [0, 0]
    return json.loads((folder / "told.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES, *APART])
def test_gradients_and_five_steps_of_two_ranks_are_those_of_one(told, case):
    assert told["apart"][case] <= BOUND


@pytest.mark.slow
def test_regression_12_two_ranks_judge_samples_to_the_bit_as_one_does_in_their_order(told):
    assert told["judged"] == {str(count): True for count in range(14)}


@pytest.mark.slow
@pytest.mark.parametrize("history", ["two", "two-one", "one-two"])
def test_a_training_goes_on_with_another_number_of_ranks_and_ends_where_one_alone_would(told, history):
    assert told["resumed"]["apart"][history] <= 1e-6  # models are kept in single precision
    assert told["resumed"]["judged alike"][history]


def site(here: int, **changes) -> Site:
    return Site(here, **({"nodes": 1, "node": 0, "address": "", "patience": 30.0} | changes))


def program(text: str) -> list[str]:
    return ["-c", f"import os, sys, time, signal\nrank = int(os.environ['RANK'])\n{text}"]


def test_ranks_are_started_with_their_places_on_a_store_that_only_this_machine_reaches(tmp_path):
    text = f"""
names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"]
listening = [line.split()[1] for name in ("tcp", "tcp6") for line in open(f"/proc/net/{{name}}")
             if line.split()[3] == "0A" and line.split()[1].endswith(":%04X" % int(os.environ["MASTER_PORT"]))]
open(f"{tmp_path}/{{rank}}", "w").write(" ".join([*(os.environ[name] for name in names), *listening]))
"""
    assert run_ranks(program(text), site(2)) == []
    said = [(tmp_path / str(rank)).read_text().split() for rank in range(2)]
    assert [one[:5] for one in said] == [[str(rank), str(rank), "2", "2", "127.0.0.1"] for rank in range(2)]
    assert all(len(one) == 6 and one[5].startswith("0100007F:") for one in said)


def test_a_rank_that_dies_ends_the_others(tmp_path):
    """The survivor would sleep for ten minutes; it is asked to end, and who died first is told first."""
    text = f"""
if rank == 0:
    def end(*_):
        open("{tmp_path}/asked", "w").close()
        sys.exit(1)
    signal.signal(signal.SIGTERM, end)
    open("{tmp_path}/ready", "w").close()
    time.sleep(600)
while not os.path.exists("{tmp_path}/ready"):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    deaths = run_ranks(program(text), site(2))
    assert (tmp_path / "asked").exists()
    assert (1, -9) in [(death.rank, death.code) for death in deaths]
    error = cause_of(deaths, [])
    assert isinstance(error, TryAgain) and "rank 1" in error.cause and "SIGKILL" in error.cause
    assert "same command again" in error.remedy and "memory" in error.remedy


def test_the_handlers_of_signals_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    run_ranks(program("sys.exit(0)"), site(1))
    assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_to_the_parent_reaches_every_rank_and_is_what_the_caller_hears(tmp_path, number, error):
    text = f"""
def end(*_):
    open(f"{tmp_path}/asked-{{rank}}", "w").close()
    sys.exit(143)
signal.signal({int(number)}, end)
open(f"{tmp_path}/ready-{{rank}}", "w").close()
if rank == 0:
    while not os.path.exists("{tmp_path}/ready-1"):
        time.sleep(0.01)
    os.kill(os.getppid(), {int(number)})
time.sleep(600)
"""
    with pytest.raises(error):
        run_ranks(program(text), site(2))
    assert {path.name for path in tmp_path.glob("asked-*")} == {"asked-0", "asked-1"}


def failure(rank: int, moment: float, **changes) -> Failure:
    base = {"cause": f"of rank {rank}", "remedy": "mend it", "code": 1, "followed": False, "trace": "line 1"}
    return Failure(rank, time=moment, **(base | changes))


def test_of_all_that_ranks_say_the_first_cause_is_told_with_its_exit_code():
    followed = failure(0, 1.0, followed=True, code=75)
    error = cause_of([Death(0, 7, 75, 1.0), Death(1, 8, 1, 2.0)], [followed, failure(1, 2.0), failure(2, 3.0)])
    assert isinstance(error, UserError) and (error.cause, error.remedy, error.exit_code) == ("of rank 1", "mend it", 1)
    assert error.__notes__ == ["line 1"]
    assert isinstance(cause_of([Death(0, 7, 143, 1.0)], [failure(0, 1.0, followed=True, code=143)]), Terminated)
    assert "another machine" in cause_of([Death(0, 7, 75, 1.0)], [followed]).cause


def test_a_rank_leaves_its_error_and_the_earliest_comes_first(tmp_path):
    lost, own = RankLost("rank 0 lost the others", "look"), UserError("no such class", "spell it")
    assert tell(tmp_path, 1, own) == Exit.USER and tell(tmp_path, 0, lost) == Exit.TRY_AGAIN
    assert tell(tmp_path, 2, ZeroDivisionError("by zero")) == Exit.INTERNAL
    assert tell(tmp_path, 3, Terminated()) == Exit.TERMINATED
    found = failures(tmp_path)
    assert [one.rank for one in found] == [1, 0, 2, 3] and [one.followed for one in found] == [False, True, False, True]
    assert found[0].cause == "no such class" and "ZeroDivisionError" in found[2].trace


@pytest.mark.parametrize(("given", "words"), [
    ({"WORLD_SIZE": "2"}, "RANK is not set"), ({"WORLD_SIZE": "2", "RANK": "2"}, "expected a number from 0 to 1"),
    ({"WORLD_SIZE": "two"}, "expected a whole number")])
def test_a_place_that_cannot_be_is_refused(given, words):
    with pytest.raises(UserError, match=words):
        seat_of(given)


def test_ranks_without_an_address_are_refused(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UserError, match="MASTER_ADDR is not set"), joined(Seat(0, 2), torch.device("cpu"), 1):
        pass


def test_a_rank_that_never_comes_is_named_in_bounded_time(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    with pytest.raises(RankLost, match=r"rank 1 of 2 did not come within 0\.5 s"), \
            joined(Seat(0, 2), torch.device("cpu"), 0.5):
        pass


def test_alone_nothing_is_joined_and_every_exchange_is_the_identity():
    with joined(Seat(), torch.device("cpu"), 1) as ranks:
        assert ranks is ALONE
    tensor, network = torch.rand(3), torch.nn.Linear(1, 1)
    assert ranks.total(tensor) is tensor and ranks.everyone(tensor) == (tensor, 0) and ranks.joined(network) is network
    assert ranks.any(True) and not ranks.any(False) and ranks.first(b"x") == b"x"


@pytest.mark.parametrize(("devices", "gpus", "count"), [(0, 0, 1), (0, 4, 4), (3, 0, 3), (2, 4, 2), ((1, 3), 4, 2)])
def test_as_many_ranks_as_devices_are_started(monkeypatch, devices, gpus, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert count_here(devices, gpu=gpus > 0) == count


@pytest.mark.parametrize(("devices", "gpus", "words"), [
    (5, 4, "torch sees 4 GPUs"), ((0, 4), 4, "names GPU 4"), ((0,), 0, "torch sees none")])
def test_devices_that_are_not_there_are_refused(monkeypatch, devices, gpus, words):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=words):
        count_here(devices, gpu=gpus > 0)


def test_each_rank_computes_on_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    gpu: Callable[[], torch.device] = lambda: torch.device("cuda")  # noqa: E731
    places = [place_of(Seat(rank + 2, 4, rank, 2), (3, 1), gpu) for rank in range(2)]
    assert [place.index for place in places] == [3, 1] == taken
    assert place_of(Seat(1, 2, 1, 2), 0, gpu).index == 1 and place_of(Seat(), 0, gpu) == torch.device("cuda")
    with pytest.raises(UserError, match="GPU 4; torch sees 4"):
        place_of(Seat(4, 5, 4, 5), 0, gpu)


@pytest.mark.parametrize(("changes", "words"), [
    ({"devices": -1}, "from 0 on"), ({"devices": (1, 1)}, "different numbers"), ({"devices": ()}, "from 0 on"),
    ({"node": 1}, "from 0 to 0"), ({"nodes": 2}, "HOST:PORT"), ({"nodes": 2, "rendezvous": "node-0"}, "HOST:PORT")])
def test_runtimes_whose_ranks_do_not_fit_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Runtime(**changes)


def test_workers_are_started_by_steps_that_can_share_and_by_nobody_who_was_started(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    two = Runtime(devices=2, device="cpu")
    assert workers_to_start("train", two) == 2 and workers_to_start("distill", two) == 2
    assert workers_to_start("teach", two) == 2 and workers_to_start("evaluate", two) == 0
    assert workers_to_start("train", Runtime(device="cpu")) == 0
    assert workers_to_start("train", Runtime(device="cpu", nodes=2, rendezvous="node-0:29500")) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert workers_to_start("train", two) == 0
    assert crew.behind_the_first("train") and not crew.behind_the_first("evaluate")


@pytest.mark.parametrize(("section", "kind"), [("student", Train), ("teachers.big", Train), ("distill", Distill)])
def test_settings_reach_the_workers_whole(monkeypatch, tmp_path, section, kind):
    values = {"seed": 7, "teachers": {"big": {"epochs": 3}}, "student": {"sizes": [16, [20, 16]]},
              "runtime": {"devices": 2, "threads": 1}}
    settings, seen = Params(values).section(section), []

    def kept(arguments: list[str], place: Site) -> list[Death]:
        job = json.loads((Path(arguments[-1]) / crew.JOB).read_text())
        seen.append(kind.model_validate_json(json.dumps(job["settings"])))
        (Path(arguments[-1]) / crew.FACTS).write_text(json.dumps({"outputs": job["paths"]}))
        assert place.here == 2
        return []

    monkeypatch.setattr(launching, "run_ranks", kept)
    facts = crew.run_in_workers("train", settings, section, {"model": tmp_path / "model"}, 2)
    assert seen == [settings] and seen[0].runtime == settings.runtime
    assert facts == {"outputs": {"model": str(tmp_path / "model")}}


def norms() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))


def test_what_changes_with_the_number_of_ranks_is_said():
    two = Ranks(lambda tensor: tensor, lambda tensor: (tensor, 0), 0, 2)
    assert rank_notes(norms(), Recipe(), ALONE, 1) == []
    (said,) = rank_notes(norms(), Recipe(batch=64), two, 2)
    assert "32 of the 64 images" in said and "sync_batchnorm" in said
    began, _ = rank_notes(norms(), Recipe(batch=64), two, 1)
    assert "processes: 2" in began and "began with 1" in began
    assert rank_notes(norms(), Recipe(batch=64, sync_batchnorm=True), two, 2) == []
    (parts,) = rank_notes(norms(), Recipe(batch=64, accumulate=4), ALONE, 1)
    assert "16 of the 64 images" in parts and "sync" not in parts
    assert any("idle" in note for note in rank_notes(torch.nn.Linear(1, 1), Recipe(batch=3, accumulate=1),
                                                     Ranks(two.total, two.everyone, 0, 4), 4))


def test_synchronised_batch_norms_are_refused_on_cpus():
    two = Ranks(lambda tensor: tensor, lambda tensor: (tensor, 0), 0, 2)
    with pytest.raises(UserError, match="on GPUs alone") as raised:
        synchronise(norms(), Recipe(sync_batchnorm=True), two, torch.device("cpu"))
    assert "sync_batchnorm: false" in raised.value.remedy
    synchronise(norms(), Recipe(sync_batchnorm=True), ALONE, torch.device("cpu"))


@pytest.fixture
def project(tmp_path):
    """A folder with a Dataset and a params.yaml, in which a training of two ranks goes on for long."""
    write_dataset(tmp_path / "dataset")
    (tmp_path / "params.yaml").write_text("""
student:
  model: {name: resnet18, options: {layers: [1, 1, 1, 1], channels: [8, 8, 16, 16]}}
  epochs: 4000
  batch: 8
  sizes: [16]
runtime: {devices: 2, device: cpu, threads: 1, tracking: false}
""")
    return tmp_path


def started(project: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "components", "train", "student", "--dataset", "dataset", "--model", "model",
               "--metrics", "metrics.json", "--curves", "curves.csv", *options]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=project, env=surroundings, stderr=subprocess.PIPE, text=True)


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + 200
    while not there():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def workers(parent: int) -> list[int]:
    """Processes of ranks that a process has started, in the order of ranks."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes()
            if int(status[1]) == parent and b"components.worker" in command:
                variables = (path / "environ").read_bytes().split(b"\0")
                found[next(one for one in variables if one.startswith(b"RANK="))] = int(path.name)
        except (OSError, StopIteration):
            continue
    return [found[name] for name in sorted(found)]


def looks(project: Path) -> int:
    """How many looks at the loss were noted."""
    curve = project / "reports" / "student" / "metrics.jsonl"
    return curve.read_text().count('"loss"') if curve.exists() else 0


@pytest.mark.slow
def test_sigterm_to_the_step_saves_its_state_and_one_process_goes_on_with_it(project):
    step = started(project)
    until(lambda: looks(project) >= 2)
    ranks = workers(step.pid)
    step.send_signal(signal.SIGTERM)
    _, said = step.communicate(timeout=60)
    assert step.returncode == Exit.TERMINATED and said.count("remedy") == 1 and len(ranks) == 2
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    saved, before = max((project / ".stillhouse").rglob("state-*")), looks(project)
    assert not (project / "model").exists()
    again = started(project, "--set", "runtime.devices=1")
    until(lambda: looks(project) >= before + 2)
    again.send_signal(signal.SIGTERM)
    _, said = again.communicate(timeout=60)
    assert "processes: 1, of a training that began with 2" in said and again.returncode == Exit.TERMINATED
    assert max((project / ".stillhouse").rglob("state-*")).name > saved.name


@pytest.mark.slow
def test_a_killed_rank_ends_the_step_with_its_cause_told_once_and_nothing_written(project):
    step = started(project)
    until(lambda: looks(project) >= 2)
    ranks = workers(step.pid)
    os.kill(ranks[1], signal.SIGKILL)
    _, said = step.communicate(timeout=60)
    assert step.returncode == Exit.TRY_AGAIN and said.count("remedy") == 1
    assert f"rank 1 (process {ranks[1]}) was killed by SIGKILL" in said
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks) and not (project / "model").exists()


@pytest.mark.slow
def test_two_ranks_write_one_model_once_and_an_error_of_all_is_told_once(project):
    step = started(project, "--set", "student.epochs=2")
    _, said = step.communicate(timeout=200)
    assert step.returncode == 0, said
    assert said.count("BatchNorm sees 4 of the 8 images") == 1
    facts = next(iter(json.loads((project / "reports/student/run.json").read_text()).values()))
    assert facts["ranks"] == 2 and (project / "model" / "receipt.json").exists()
    assert len((project / "curves.csv").read_text().splitlines()) == 3
    step = started(project, "--set", "student.task_weights={shape: 2.0}")
    _, said = step.communicate(timeout=200)
    assert step.returncode == Exit.USER and said.count("shape") == 1 and said.count("remedy") == 1, said


def test_a_counter_of_questions_says_stop_from_a_step_on():
    stop = after(2)
    assert [stop() for _ in range(4)] == [False, False, True, True]
