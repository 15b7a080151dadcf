"""Every overlay, rendered: objects that refer to what exists, fit into the quota, and mean what they should."""

from importlib import import_module

import pytest
import yaml
from manifests import FOLDER, OVERLAYS, Object, Pod, amount, applied_by_hand, named, of_kind, pods, rendered

from components import cli, contract
from pipeline import __main__ as pipeline

COMING = {"serve"}  # no command yet: held here by its health paths and port alone

# What a cluster's owner makes before; docs/cluster-kubernetes.md says how.
SECRETS = {"mlflow-admin", "mlflow-database", "object-store", "repository"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_stands_in_the_namespace_and_under_the_label(overlay: str) -> None:
    objects = rendered(overlay)
    for one in objects:
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "stillhouse", one["metadata"]["name"]
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "stillhouse"
    assert {pod.labels["app.kubernetes.io/part-of"] for pod in pods(objects)} == {"stillhouse"}
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_pod_names_exists(overlay: str) -> None:
    objects = rendered(overlay)
    names = {(one["kind"], one["metadata"]["name"]) for one in objects}
    for pod in pods(objects):
        spec = pod.spec
        assert ("ServiceAccount", spec["serviceAccountName"]) in names
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
            if content := volume.get("configMap"):
                assert ("ConfigMap", content["name"]) in names
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        assert mounted == volumes.keys(), pod.owner
        for container in pod.containers:
            for source in container.get("envFrom", []):
                assert "secretRef" in source or ("ConfigMap", source["configMapRef"]["name"]) in names


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_are_named_as_documented_and_never_written_down(overlay: str) -> None:
    objects = rendered(overlay)
    assert not of_kind(objects, "Secret")
    found = set()
    for pod in pods(objects):
        for container in pod.containers:
            found |= {source["secretRef"]["name"] for source in container.get("envFrom", []) if "secretRef" in source}
            for variable in container.get("env", []):
                source = variable.get("valueFrom", {})
                found |= {source["secretKeyRef"]["name"]} if "secretKeyRef" in source else set()
                assert "value" not in variable or not secret(variable["name"]), variable["name"]
    for one in of_kind(objects, "ConfigMap"):
        assert not [key for key in one["data"] if secret(key)]
        assert not [value for value in one["data"].values() if "://" in value and "@" in value]
    assert found <= SECRETS and (overlay == "local" or found == SECRETS)
    page = (FOLDER.parents[1] / "docs/cluster-kubernetes.md").read_text(encoding="utf-8")
    assert not [name for name in SECRETS if name not in page]


def secret(name: str) -> bool:
    """Whether a variable of this name would hold a secret."""
    return any(word in name.upper() for word in ("PASSWORD", "SECRET", "CREDENTIAL", "_KEY", "TOKEN")) \
        and not name.endswith("_PATH")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_words_that_pods_are_started_with_are_filled_in(overlay: str) -> None:
    objects = rendered(overlay)
    for pod in pods(objects):
        for container in pod.containers:
            given = {variable["name"] for variable in container.get("env", [])}
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    given |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"].keys()
            words = [*container.get("command", []), *container.get("args", [])]
            asked = {word.partition("$(")[2].partition(")")[0] for word in words if "$(" in word}
            assert asked <= given, (pod.owner, container["name"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_and_the_door_lead_to_ports_of_pods(overlay: str) -> None:
    objects = rendered(overlay)
    for service in of_kind(objects, "Service"):
        [pod] = [pod for pod in pods(objects) if matches(service["spec"]["selector"], pod)]
        ports = {port["name"] for container in pod.containers for port in container.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for ingress in of_kind(objects, "Ingress"):
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        assert {host for entry in ingress["spec"]["tls"] for host in entry["hosts"]} == hosts
        for path in [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]:
            backend = path["backend"]["service"]
            ports = named(objects, "Service", backend["name"])["spec"]["ports"]
            assert backend["port"]["name"] in {port["name"] for port in ports}
        allowed = named_settings(objects, "mlflow-settings")["MLFLOW_ALLOWED_HOSTS"].split(",")
        assert hosts - set(allowed) == {"models.example.com"}


def test_a_registry_can_be_copied_into_the_claim_that_the_local_service_reads() -> None:
    objects, (hand,) = rendered("local"), pods([applied_by_hand()])
    [service] = [pod for pod in pods(objects) if pod.owner == "Deployment service"]
    [pull], [copy] = [one for one in service.containers if one["name"] == "pull-model"], hand.containers
    [place] = [mount["mountPath"] for mount in pull["volumeMounts"] if mount["name"] == "registry"]
    assert place == named_settings(objects, "settings")["REGISTRY"]
    assert copy["volumeMounts"] == [{"name": "registry", "mountPath": place}]  # not read-only
    assert hand.spec["volumes"] == [volume for volume in service.spec["volumes"] if volume["name"] == "registry"]
    assert copy["image"] == pull["image"] and hand.labels["app.kubernetes.io/part-of"] == "stillhouse"
    named(objects, "ServiceAccount", hand.spec["serviceAccountName"])
    made = applied_by_hand()["metadata"]
    assert made["namespace"] == "stillhouse" and not of_kind(objects, "Pod")
    page = (FOLDER.parents[1] / "docs/cluster-kubernetes.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in page.splitlines() if line.startswith("    kubectl ")]
    assert f"kubectl --namespace stillhouse cp registry/. {made['name']}:{place}" in lines
    [file] = [line.split()[-1] for line in lines if line.startswith("kubectl apply --filename")]
    assert (FOLDER.parents[1] / file).samefile(FOLDER / "overlays/local/copy.yaml")


def named_settings(objects: list[Object], prefix: str) -> dict[str, str]:
    [found] = [one["data"] for one in of_kind(objects, "ConfigMap")
               if one["metadata"]["name"].rpartition("-")[0] == prefix]
    return dict(found)


def matches(selector: dict[str, str], pod: Pod) -> bool:
    return selector.items() <= pod.labels.items()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_budgets_and_autoscalers_mean_the_pods_they_should(overlay: str) -> None:
    objects = rendered(overlay)
    scaled = {}
    for one in of_kind(objects, "HorizontalPodAutoscaler"):
        target = named(objects, one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"])
        assert "replicas" not in target["spec"], "kubectl apply would undo what the autoscaler does"
        assert one["spec"]["minReplicas"] <= one["spec"]["maxReplicas"]
        scaled[target["metadata"]["name"]] = one["spec"]["minReplicas"]
    for one in of_kind(objects, "Deployment"):
        assert matches(one["spec"]["selector"]["matchLabels"], deployed(one))
    for one in of_kind(objects, "PodDisruptionBudget"):
        [found] = [found for found in of_kind(objects, "Deployment")
                   if matches(one["spec"]["selector"]["matchLabels"], deployed(found))]
        least = scaled.get(found["metadata"]["name"], found["spec"].get("replicas", 1))
        assert one["spec"]["minAvailable"] < least, "no node could ever be drained"


def deployed(one: Object) -> Pod:
    [pod] = pods([one])
    return pod


def test_production_spreads_several_replicas_behind_tls() -> None:
    objects = rendered("production")
    assert {one["metadata"]["name"] for one in of_kind(objects, "PodDisruptionBudget")} == {"mlflow", "service"}
    for one in of_kind(objects, "Deployment"):
        assert one["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert named(objects, "Deployment", "mlflow")["spec"]["replicas"] == 2
    assert of_kind(objects, "Ingress")


def test_gpu_pods_ask_for_gpus_of_nodes_that_have_them_and_for_shared_memory() -> None:
    for pod in pods(rendered("gpu")):
        wanted = [container["resources"]["limits"].get("nvidia.com/gpu") for container in pod.containers]
        if pod.owner.split()[0] not in ("TrainingRuntime", "InferenceService"):
            assert wanted == [None] * len(wanted)
            continue
        assert int(wanted[-1]) > 0 and pod.spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
        assert pod.spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        [shm] = [volume for volume in pod.spec["volumes"] if volume.get("emptyDir", {}).get("medium") == "Memory"]
        assert {"name": shm["name"], "mountPath": "/dev/shm"} in pod.containers[-1]["volumeMounts"]
    [job] = of_kind(rendered("gpu"), "TrainJob")
    [training] = [pod for pod in pods(rendered("gpu")) if pod.owner.startswith("TrainingRuntime")]
    assert str(job["spec"]["trainer"]["numProcPerNode"]) == wanted_gpus(training)
    assert job["spec"]["suspend"] is True  # applying manifests starts no training


def wanted_gpus(pod: Pod) -> str:
    return str(pod.containers[-1]["resources"]["limits"]["nvidia.com/gpu"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_pods_at_once_fit_into_the_quota_and_each_container_into_the_limits(overlay: str) -> None:
    objects = rendered(overlay)
    hard = of_kind(objects, "ResourceQuota")[0]["spec"]["hard"]
    most = of_kind(objects, "LimitRange")[0]["spec"]["limits"][0]["max"]
    asked: dict[str, float] = {}
    for pod in pods(objects):
        for name in ("cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"):
            for kind in ("requests", "limits"):
                sizes = [amount(container["resources"][kind].get(name, 0)) for container in pod.spec["containers"]]
                asked[f"{kind}.{name}"] = asked.get(f"{kind}.{name}", 0) + pod.count * sum(sizes)
        for container in pod.containers:
            limits = container["resources"]["limits"]
            assert all(amount(limits[name]) <= amount(size) for name, size in most.items()), pod.owner
            requests = container["resources"]["requests"]
            assert all(amount(requests[name]) <= amount(limits[name]) for name in requests)
    assert all(asked[name] <= amount(size) for name, size in hard.items() if name in asked), asked
    claims = [one["spec"]["resources"]["requests"]["storage"] for one in of_kind(objects, "PersistentVolumeClaim")]
    assert len(claims) <= int(hard["persistentvolumeclaims"]) and sum(map(amount, claims)) <= amount(
        hard["requests.storage"])


def test_overlays_differ_in_values_and_in_what_their_components_bring() -> None:
    stems = {overlay: {(one["kind"], stem(one)) for one in rendered(overlay)} for overlay in OVERLAYS}
    assert stems["production"] - stems["gpu"] == {("Ingress", "door"), ("PodDisruptionBudget", "mlflow")}
    assert stems["gpu"] <= stems["production"]
    assert stems["local"] - stems["gpu"] == {("PersistentVolumeClaim", "mlflow"), ("PersistentVolumeClaim", "registry")}


def stem(one: Object) -> str:
    """A name without the digest of contents that kustomize adds to those of config maps."""
    name: str = one["metadata"]["name"]
    return name.rpartition("-")[0] if one["kind"] == "ConfigMap" else name


def test_mlflow_is_started_alike_here_in_containers_and_on_clusters() -> None:
    from pipeline.services import facts, programs

    [pod] = [pod for pod in pods(rendered("production")) if pod.owner == "Deployment mlflow"]
    known = facts.Facts(dict.fromkeys(facts.NAMES, 1), dict.fromkeys(facts.SECRETS, "x"))
    here = programs.mlflow(FOLDER, known, "", False).command[3:]
    compose = yaml.safe_load((FOLDER.parent / "compose.yaml").read_text(encoding="utf-8"))
    flags = {name: {word.partition("=")[0] for word in words if word.startswith("--")} - {"--app-name"}
             for name, words in {"cluster": pod.containers[0]["command"], "here": here,
                                 "compose": compose["services"]["mlflow"]["command"]}.items()}
    assert flags["cluster"] == flags["here"] == flags["compose"]
    settings = named_settings(rendered("production"), "mlflow-settings")
    environment = compose["services"]["mlflow"]["environment"]
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_DISABLE_TELEMETRY"):
        assert settings[name] == str(environment[name]).lower() or settings[name] == environment[name]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_our_image_is_told_what_its_program_understands(overlay: str) -> None:
    told = [words for pod in pods(rendered(overlay)) for container in pod.containers
            if (words := container.get("args", [])) and container["image"].rpartition("/")[2].startswith("stillhouse")]
    told += [job["spec"]["trainer"]["args"] for job in of_kind(rendered(overlay), "TrainJob")]
    assert {"pull-model", "pipeline"} <= {words[0] for words in told}
    for words in told:
        name, rest = words[0], [word for word in words[1:] if not word.startswith("$(")]
        if name in contract.STEPS:
            cli.step_parser(contract.load_step(name)).parse_args(rest)
        elif name == "pipeline":
            pipeline.parser().parse_args(rest)
        elif name in cli.COMMANDS:
            parser = cli.Parser(prog=name)
            import_module(cli.COMMANDS[name][0]).arguments(parser)
            parser.parse_args(words[1:])
        else:
            assert name in COMING, name
