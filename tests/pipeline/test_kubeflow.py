"""The compiled pipeline: the same file every time, and run from that file it gives what `dvc repro` gives."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from copies import TINY, Project

from components.data.dataset import Dataset
from components.settings import Params
from components.storage.receipts import digest
from pipeline.__main__ import main
from pipeline.cluster import TASKS
from pipeline.inputs import own_source, run_inputs, settings_json

DIGEST = "registry.example.com/stillhouse@sha256:" + "0f" * 32
METRICS = {"validate": "validate", "index": "index", "student": "student", "teach": "teach", "distill": "distill",
           "evaluate": "evaluate", "compare": "compare", "export": "export",
           "for-loop-3-iteration-0/train": "teachers.deep", "for-loop-3-iteration-1/train": "teachers.broad"}
ARTIFACTS = {"sample/data": "data/raw", "validate/manifest": "data/manifest", "index/dataset": "data/dataset",
             "teach/probabilities": "data/probabilities", "evaluate/predictions": "data/predictions",
             "student/model": "models/student", "distill/model": "models/distilled", "export/exported": "exported",
             "for-loop-3-iteration-0/train/model": "models/teachers/deep",
             "for-loop-3-iteration-1/train/model": "models/teachers/broad"}


EVERYTHING = f"""\
image: {{name: {DIGEST}, secrets: [registry], pull: Always}}
server: {{pipeline: garments}}
pods:
  user: 12345
  group: 23456
  labels: {{team: vision}}
  annotations: {{sidecar.istio.io/inject: "false"}}
  env: {{HTTPS_PROXY: http://proxy.example.com}}
  secrets: [{{name: s3, keys: {{key: AWS_ACCESS_KEY_ID}}, optional: true}}]
  config_maps: [{{name: places, keys: {{endpoint: AWS_ENDPOINT_URL}}}}]
  volumes: [{{claim: work, path: /workspace, sub_path: stillhouse}}]
  outcomes: /workspace/outcomes
defaults: {{cpu: 500m, cpu_limit: "2", memory: 1Gi, memory_limit: 3Gi}}
tasks:
  train:
    gpus: 2
    gpu_type: amd.com/gpu
    shm: 4Gi
    timeout: 3600
    cache: false
    node_selector: {{gpu: mi300}}
    tolerations: [{{key: gpu, operator: Equal, value: "yes", effect: NoExecute, seconds: 60}}]
parallelism: 3
retries: {{pods: 4, pod_wait: 7, tries: 9, wait: 2.5, seconds: 77.0}}
lifetime: {{deadline: 86400, keep: 3600}}
mlflow: {{uri: http://mlflow.example.com}}
params: {{runtime: {{work: /workspace/state}}, promote: {{registry: s3://models/garments}}}}
"""


@dataclass(frozen=True)
class Compiled:
    """A compiled file: the specification, the platform's part, and every task by name."""

    text: str
    whole: dict[str, Any]
    platform: dict[str, Any]
    tasks: dict[str, Any]

    def inputs(self) -> dict[str, Any]:
        found: dict[str, Any] = self.whole["root"]["inputDefinitions"]["parameters"]
        return found

    def container(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.whole["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        return found

    def environment(self, name: str) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.container(name).get("env", [])}

    def pods(self) -> dict[str, Any]:
        found = self.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        return {name.removeprefix("exec-"): one for name, one in found.items()}


def tasks_in(whole: dict[str, Any], tasks: dict[str, Any]) -> dict[str, Any]:
    found = dict(tasks)
    for task in tasks.values():
        inner = whole["components"][task["componentRef"]["name"]].get("dag")
        found |= tasks_in(whole, inner["tasks"]) if inner else {}
    return found


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(TINY)
    return file


def compiled(tiny: Path, *options: str, cluster: str = "") -> Compiled:
    output, facts = tiny.parent / "pipeline.yaml", tiny.parent / "kubeflow.yaml"
    facts.write_text(cluster)
    command = ["compile", "--params", str(tiny), "--cluster", str(facts), "--output", str(output), *options]
    assert main(command) == 0
    text = output.read_text()
    whole, platform = yaml.load_all(text, Loader=yaml.CSafeLoader)  # the dialect that kfp writes
    return Compiled(text, whole, platform, tasks_in(whole, whole["root"]["dag"]["tasks"]))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compiled for a cluster file that says everything."""
    file = tmp_path_factory.mktemp("everything") / "params.yaml"
    file.write_text(TINY)
    return compiled(file, cluster=EVERYTHING)


def test_the_same_settings_compile_to_the_same_bytes(tiny: Path, everything: Compiled) -> None:
    assert compiled(tiny, cluster=EVERYTHING).text == everything.text


def test_run_inputs_default_to_the_values_of_params_yaml(tiny: Path) -> None:
    inputs = compiled(tiny, "--set", "student.epochs=5").inputs()
    assert json.loads(inputs["student_settings"]["defaultValue"])["student"]["epochs"] == 5
    assert [item["teacher"] for item in inputs["teachers"]["defaultValue"]] == ["deep", "broad"]
    assert set(inputs) == set(run_inputs(Params.load(tiny)))


def test_integers_stay_integers_on_their_way_through_kubeflow(tiny: Path) -> None:
    text = settings_json(Params.load(tiny), "teachers.deep")
    assert json.loads(text)["teachers"]["deep"]["epochs"] == 6
    assert '"epochs":6,' in text


def test_a_task_is_told_nothing_that_its_step_does_not_read(tiny: Path) -> None:
    params = Params.load(tiny)
    told = json.loads(settings_json(params, "index"))
    assert set(told) == {"data", "index", "runtime"}
    assert set(told["data"]) == {"root"}
    assert json.loads(settings_json(params, "teach"))["teachers"] == ["deep", "broad"]
    assert set(json.loads(settings_json(params, "teach"))["student"]) == {"augment"}


def test_own_images_are_imported_and_nothing_is_drawn(tiny: Path) -> None:
    found = compiled(tiny, "--set", "data.path=s3://bucket/garments")
    assert "sample" not in found.tasks and "importer" in found.tasks
    assert not found.tasks["validate"]["cachingOptions"], "images in a place may change under the same name"
    assert found.tasks["index"]["cachingOptions"] == {"enableCache": True}
    assert own_source(Params.load(tiny)) is None


def test_a_wrong_setting_is_refused_before_anything_is_compiled(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tiny.parent / "x.yaml"
    assert main(["compile", "--params", str(tiny), "--output", str(output), "--set", "student.epoch=5"]) == 1
    assert "Did you mean 'epochs'?" in capsys.readouterr().err
    assert main(["compile", "--params", str(tiny), "--output", str(output), "--cluster-set", "tasks.train.gpu=1"]) == 1
    assert "tasks.train.gpu is not a setting" in capsys.readouterr().err
    assert main(["compile", "--params", str(tiny), "--output", str(output),
                 "--cluster-set", "params.runtime.works=/x"]) == 1
    assert "runtime.works is not a setting" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("bare", [True, False])
def test_no_container_runs_as_root(tiny: Path, everything: Compiled, bare: bool) -> None:
    found = compiled(tiny) if bare else everything
    user, group = ("10001", "10001") if bare else ("12345", "23456")
    assert set(found.pods()) == {name.removeprefix("exec-") for name, one in
                                 found.whole["deploymentSpec"]["executors"].items() if "container" in one}
    for pod in found.pods().values():
        assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": group}


def test_every_task_is_given_what_the_cluster_file_says_of_all(everything: Compiled) -> None:
    found = everything
    assert set(found.pods()) == set(TASKS) - {"fetch"}
    for name, pod in found.pods().items():
        environment = found.environment(name)
        assert environment["MLFLOW_TRACKING_URI"] == "http://mlflow.example.com"
        assert environment["HTTPS_PROXY"] == "http://proxy.example.com"
        assert environment["STILLHOUSE_OUTCOMES"] == "/workspace/outcomes"
        patience = [environment[f"STILLHOUSE_{one}"] for one in ("TRIES", "TRY_WAIT", "TRY_SECONDS")]
        assert patience == ["9", "2.5", "77.0"]
        assert found.container(name)["image"] == DIGEST
        assert pod["imagePullPolicy"] == "Always" and pod["imagePullSecret"][0]["secretName"] == "registry"
        assert pod["podMetadata"] == {"labels": {"team": "vision"}, "annotations": {"sidecar.istio.io/inject": "false"}}
        (volume,) = pod["pvcMount"]
        assert (volume["constant"], volume["mountPath"], volume["subPath"]) == ("work", "/workspace", "stillhouse")
        (secret,), (config,) = pod["secretAsEnv"], pod["configMapAsEnv"]
        assert (secret["secretName"], secret["optional"]) == ("s3", True)
        assert secret["keyToEnv"] == [{"secretKey": "key", "envVar": "AWS_ACCESS_KEY_ID"}]
        assert config["keyToEnv"] == [{"configMapKey": "endpoint", "envVar": "AWS_ENDPOINT_URL"}]
        assert {one["name"] for one in pod["fieldPathAsEnv"]} == {"KFP_RUN_ID", "STILLHOUSE_NAMESPACE"}
        retry = found.tasks[name].get("retryPolicy")
        assert retry is None if name == "report" else (
            retry["maxRetryCount"], retry["backoffDuration"], retry["backoffFactor"]) == (4, "7s", 2.0)


def test_a_task_is_given_what_the_cluster_file_says_of_it(everything: Compiled) -> None:
    found = everything
    ours, others = found.container("train")["resources"], found.container("index")["resources"]
    assert (others["resourceCpuRequest"], others["resourceCpuLimit"]) == ("500m", "2")
    assert (others["resourceMemoryRequest"], others["resourceMemoryLimit"]) == ("1Gi", "3Gi")
    assert ours["accelerator"] == {"type": "amd.com/gpu", "count": "2", "resourceType": "amd.com/gpu",
                                   "resourceCount": "2"}
    assert "accelerator" not in others
    pod = found.pods()["train"]
    assert pod["emptyDirMounts"] == [
        {"volumeName": "shm", "mountPath": "/dev/shm", "medium": "Memory", "sizeLimit": "4Gi"}]
    assert pod["nodeSelector"] == {"labels": {"gpu": "mi300"}} and pod["activeDeadlineSeconds"] == "3600"
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute",
                                   "tolerationSeconds": "60"}]
    assert not {"emptyDirMounts", "nodeSelector", "activeDeadlineSeconds", "tolerations"} & set(found.pods()["index"])


def test_the_pipeline_is_called_and_kept_as_the_cluster_file_says(everything: Compiled) -> None:
    found = everything
    assert found.whole["pipelineInfo"]["name"] == "garments"
    config = found.platform["platforms"]["kubernetes"]["pipelineConfig"]
    assert config == {"resourceTtlOnCompletion": 3600, "activeDeadlineSeconds": 86400}
    loop = next(task for name, task in found.tasks.items() if "for-loop" in name)
    assert loop["iteratorPolicy"] == {"parallelismLimit": 3}


def test_what_depends_on_more_than_its_inputs_is_never_taken_from_the_cache(everything: Compiled) -> None:
    found = everything
    cached = {name for name in found.pods() if found.tasks[name]["cachingOptions"]}
    assert cached == set(TASKS) - {"fetch", "pull", "promote", "report"} - {"train"}  # train: the file says so


def test_places_on_the_cluster_reach_the_settings_of_the_tasks(everything: Compiled) -> None:
    inputs = everything.inputs()
    told = json.loads(inputs["distill_settings"]["defaultValue"])["runtime"]
    assert (told["work"], told["tracking"], told["devices"]) == ("/workspace/state", False, 1)
    assert json.loads(inputs["pull_settings"]["defaultValue"])["promote"]["registry"] == "s3://models/garments"


def test_one_process_a_gpu_is_started_where_the_cluster_file_says_so(tiny: Path) -> None:
    on_gpus = compiled(tiny, "--cluster-set", "training.mode=torchrun", cluster=EVERYTHING).inputs()
    assert json.loads(on_gpus["student_settings"]["defaultValue"])["runtime"]["devices"] == 0, "all that the pod has"
    on_cpus = compiled(tiny, "--cluster-set", "training={mode: torchrun, processes: 4}").inputs()
    assert json.loads(on_cpus["student_settings"]["defaultValue"])["runtime"]["devices"] == 4


def test_a_trainjob_is_described_to_the_tasks_that_make_one_and_its_gpus_are_not_theirs(tiny: Path) -> None:
    found = compiled(tiny, "--cluster-set", "training={mode: trainjob, share: /workspace/share}", cluster=EVERYTHING)
    described = {name for name in found.pods() if "STILLHOUSE_TRAINJOB" in found.environment(name)}
    assert described == {"train", "student", "distill"}
    told = json.loads(found.environment("train")["STILLHOUSE_TRAINJOB"])
    assert told["manifest"]["spec"]["trainer"]["resourcesPerNode"]["limits"]["amd.com/gpu"] == "2"
    assert told["share"] == "/workspace/share"
    assert "accelerator" not in found.container("train")["resources"]
    assert "activeDeadlineSeconds" not in found.pods()["train"], "the TrainJob has it, and may wait before"


def conditions(found: Compiled) -> dict[str, str]:
    return {task["taskInfo"]["name"]: task["triggerPolicy"]["condition"] for task in found.tasks.values()
            if "condition" in task.get("triggerPolicy", {})}


def test_what_follows_unfit_images_or_no_better_model_is_left_out(everything: Compiled) -> None:
    found = everything
    assert conditions(found) == {
        "fit": "inputs.parameter_values['pipelinechannel--validate-Output'] == 'fit'",
        "promote": "inputs.parameter_values['pipelinechannel--compare-Output'] == 'promote'"}
    assert found.tasks["report"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


@pytest.mark.parametrize(("option", "published"), [
    ("promote.registry=registry", None), ("promote.registry=/workspace/registry", "verdict"),
    ("promote.when=always", "always"), ("promote.when=never", None)])
def test_a_model_is_published_where_all_pods_see_the_registry(
        tiny: Path, capsys: pytest.CaptureFixture[str], option: str, published: str | None) -> None:
    found = compiled(tiny, "--cluster-set", f"params.{option}", cluster=EVERYTHING)
    assert ("promote" in found.tasks) is (published is not None)
    assert ("promote" in conditions(found)) is (published == "verdict")
    told = "no model is published: pods do not share registry" in capsys.readouterr().err
    assert told is (option == "promote.registry=registry")


@pytest.mark.slow
def test_the_compiled_file_run_here_gives_what_dvc_repro_gives(finished: Project, project: Project) -> None:
    said = project.run("python", "-m", "pipeline", "run-local", "--output-folder", "kubeflow", "--promote",
                       "--set", "promote.registry=kubeflow/registry")
    (run,) = (project.path / "kubeflow").glob("stillhouse-*")
    for task, section in METRICS.items():
        ours = (run / task / "metrics").read_bytes()
        assert ours == (finished.path / "reports" / section / "metrics.json").read_bytes(), task
    assert {path: (run / task / "receipt.json").read_bytes() for task, path in ARTIFACTS.items()} == finished.receipts()
    assert (run / "evaluate/report").read_bytes() == (finished.path / "reports/evaluate/report.html").read_bytes()
    assert {path.name for path in project.path.iterdir()} - {"kubeflow", ".git", ".dvc"} == {
        "components", "pipeline", "stillhouse", "registry", "infra", "dvc.yaml", "params.yaml", ".dvcignore",
        ".gitignore"}, "in one folder"
    shown_in_kubeflow(run, finished)
    published = json.loads((run / "promote/published").read_text())
    latest = json.loads((project.path / "kubeflow/registry/latest.json").read_text())
    assert latest["digest"] == published["digest"] == digest(run / "distill/model")
    summary = (run / "report/summary").read_text()
    assert "# The run has succeeded" in summary and "the first model of this registry" in summary
    printed = {line.strip() for line in said.splitlines()}
    assert not [line for line in summary.splitlines() if line.strip() not in printed], "it stands in the task's log too"
    rows = [line for line in summary.splitlines() if line.endswith("| done |")]
    assert len(rows) == 13, "every task, two of them teachers"


def shown_in_kubeflow(run: Path, finished: Project) -> None:
    """Metrics, metadata and matrices stand in what the tasks tell Kubeflow."""
    said = json.loads((run / "evaluate/executor_output.json").read_text())
    metrics = json.loads((finished.path / "reports/evaluate/metrics.json").read_text())
    facts = said["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert facts["distilled/test/colour/accuracy"] == metrics["distilled"]["test"]["colour"]["accuracy"]
    dataset = Dataset.open(finished.path / "data/dataset")
    indexed = json.loads((run / "index/executor_output.json").read_text())
    assert indexed["artifacts"]["dataset"]["artifacts"][0]["metadata"]["splits/test"] == len(dataset.rows("test"))
    names = [task.name for task in dataset.tasks]
    assert sorted(said["parameterValues"]["Output"]) == sorted(names)
    for number, task in enumerate(sorted(names)):
        shown = json.loads((run / f"for-loop-4-iteration-{number}/confusion/executor_output.json").read_text())
        matrix = shown["artifacts"]["matrix"]["artifacts"][0]["metadata"]["confusionMatrix"]
        rows = [row["row"] for row in matrix["rows"]]
        diagonal = sum(row[place] for place, row in enumerate(rows))
        accuracy = metrics["distilled"]["test"][task]["accuracy"]
        assert diagonal / sum(map(sum, rows)) == pytest.approx(accuracy)
