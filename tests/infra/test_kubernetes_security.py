"""Pod Security "restricted" and what goes beyond it, rights, and who may reach whom, in every overlay."""

import re

import pytest
from manifests import OVERLAYS, Object, Pod, applied_by_hand, named, of_kind, pods, rendered

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
OF_OTHERS = {"pipeline", "training"}  # pods that Argo makes, for Kubeflow too, and JobSet for TrainJobs
LOOKING = {"get", "list", "watch"}


def every_pod(overlay: str) -> list[Pod]:
    found = list(pods(rendered(overlay)))
    assert len(found) >= 3
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted_as_the_standard_says(overlay: str) -> None:
    for pod in every_pod(overlay):
        check_pod(pod)


def test_the_pod_that_is_applied_by_hand_is_restricted_and_bounded_alike() -> None:
    [pod] = pods([applied_by_hand()])
    check_pod(pod)
    check_bounds(pod)
    assert pod.spec["automountServiceAccountToken"] is False


def check_pod(pod: Pod) -> None:
    """What "restricted" asks of a pod and its containers."""
    whole = pod.spec["securityContext"]
    assert whole["runAsNonRoot"] is True and whole["runAsUser"] == whole["runAsGroup"] == 10001, pod.owner
    assert whole["fsGroup"] == 10001 or not writes_to_claims(pod), pod.owner
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & pod.spec.keys()
    assert not {"sysctls", "windowsOptions", "seLinuxOptions", "appArmorProfile"} & whole.keys()
    for volume in pod.spec["volumes"]:
        assert volume.keys() - {"name"} <= VOLUMES, (pod.owner, volume)
    assert "ephemeralContainers" not in pod.spec
    for container in pod.containers:
        check_container(container)


def writes_to_claims(pod: Pod) -> bool:
    """Whether a container may write to a claim, which without fsGroup is often root's alone."""
    claims = {volume["name"] for volume in pod.spec["volumes"] if "persistentVolumeClaim" in volume}
    return any(mount["name"] in claims and not mount.get("readOnly")
               for container in pod.containers for mount in container["volumeMounts"])


def check_container(container: Object) -> None:
    """What "restricted" asks of a container, and a root file system that stays as it is."""
    security = container["securityContext"]
    assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security.get("runAsNonRoot", True) is True and security.get("runAsUser", 10001) == 10001
    assert security.get("seccompProfile", {"type": "RuntimeDefault"}) == {"type": "RuntimeDefault"}
    assert not security.get("privileged") and "procMount" not in security
    assert not [port for port in container.get("ports", []) if "hostPort" in port]
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert "host" not in container.get(name, {}).get("httpGet", {})


def test_the_namespace_refuses_pods_that_are_not_restricted() -> None:
    for overlay in OVERLAYS:
        labels = named(rendered(overlay), "Namespace", "stillhouse")["metadata"]["labels"]
        assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {"restricted"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_bounded_in_memory_and_disk_and_so_is_every_scratch_volume(overlay: str) -> None:
    for pod in every_pod(overlay):
        check_bounds(pod)


def check_bounds(pod: Pod) -> None:
    for container in pod.containers:
        resources = container["resources"]
        assert {"cpu", "memory", "ephemeral-storage"} <= resources["limits"].keys() & resources["requests"].keys()
    for volume in pod.spec["volumes"]:
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], (pod.owner, volume["name"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_is_given_a_token_that_it_does_not_use(overlay: str) -> None:
    for pod in every_pod(overlay):
        assert pod.spec["automountServiceAccountToken"] is False
        tokens = [source["serviceAccountToken"] for volume in pod.spec["volumes"]
                  for source in volume.get("projected", {}).get("sources", []) if "serviceAccountToken" in source]
        audiences = {token["audience"] for token in tokens}
        assert audiences == ({"pipelines.kubeflow.org"} if pod.owner == "CronJob retrain" else set())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_serves_is_probed_while_it_starts_while_it_runs_and_before_it_is_sent_requests(overlay: str) -> None:
    for pod in every_pod(overlay):
        if pod.owner.split()[0] in ("Deployment", "InferenceService"):
            [container] = pod.spec["containers"]
            paths = {name: container[name]["httpGet"]["path"] for name in (
                "startupProbe", "readinessProbe", "livenessProbe")}
            if pod.owner != "Deployment mlflow":
                assert paths == {"startupProbe": "/v2/health/live", "readinessProbe": "/v2/health/ready",
                                 "livenessProbe": "/v2/health/live"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_image_can_come_to_mean_another(overlay: str) -> None:
    for pod in every_pod(overlay):
        for container in pod.containers:
            if container["name"] == "kserve-container":  # the image is the serving runtime's
                continue
            image = container["image"]
            fixed = re.search(r"@sha256:[0-9a-f]{64}$", image)
            tag = image.rpartition("/")[2].partition(":")[2]
            assert fixed or (overlay != "production" and tag and tag != "latest"), image


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rights_are_spelled_out_and_no_greater_than_their_use(overlay: str) -> None:
    objects = rendered(overlay)
    assert not of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    for role in of_kind(objects, "Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], role["metadata"]["name"]
            assert not set(rule["verbs"]) & {"escalate", "bind", "impersonate", "deletecollection"}
            if {"secrets", "configmaps"} & set(rule["resources"]):
                assert rule["verbs"] == ["get"] and rule["resourceNames"]
            if not set(rule["apiGroups"]) & {"trainer.kubeflow.org", "argoproj.io", "pipelines.kubeflow.org"}:
                assert set(rule["verbs"]) <= LOOKING
            assert not {"pods/exec", "pods/attach", "pods/portforward", "roles"} & set(rule["resources"])
    viewer = named(objects, "Role", "viewer")["rules"]
    assert all(set(rule["verbs"]) == LOOKING for rule in viewer)
    assert not {"secrets", "configmaps"} & {resource for rule in viewer for resource in rule["resources"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_bindings_join_roles_and_accounts_that_exist(overlay: str) -> None:
    objects = rendered(overlay)
    bound = set()
    for binding in of_kind(objects, "RoleBinding"):
        bound.add(named(objects, "Role", binding["roleRef"]["name"])["metadata"]["name"])
        for subject in binding["subjects"]:
            if subject["kind"] == "ServiceAccount":
                assert subject["namespace"] == "stillhouse"
                named(objects, "ServiceAccount", subject["name"])
    assert bound == {role["metadata"]["name"] for role in of_kind(objects, "Role")}
    for account in of_kind(objects, "ServiceAccount"):
        runner = account["metadata"]["name"] == "pipeline-runner"  # Argo's and Kubeflow's own containers need theirs
        assert account.get("automountServiceAccountToken", True) is runner


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_cut_off_but_for_what_a_policy_of_its_own_allows(overlay: str) -> None:
    objects = rendered(overlay)
    policies = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "NetworkPolicy")}
    assert policies.pop("deny-all") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies.pop("names")["podSelector"] == {}
    covered = set()
    for name, spec in policies.items():
        chosen = [pod for pod in every_pod(overlay) if selects(spec["podSelector"], pod)]
        assert chosen or name in OF_OTHERS, name
        covered |= {pod.owner for pod in chosen}
        for peer in [peer for rule in spec.get("egress", []) for peer in rule.get("to", [])]:
            check_peer(peer, overlay)
        for rule in spec.get("ingress", []):
            assert rule["from"], f"{name} lets in everybody"
            for peer in rule["from"]:
                check_peer(peer, overlay)
            check_ports(rule, chosen)
        for rule in spec.get("egress", []):
            assert rule.get("to") or rule["ports"], f"{name} lets out to everywhere"
    assert covered == {pod.owner for pod in every_pod(overlay)}


def check_peer(peer: Object, overlay: str) -> None:
    """A peer is a known namespace, or pods that exist here."""
    if "namespaceSelector" in peer:
        labels = peer["namespaceSelector"]["matchLabels"]
        assert labels["kubernetes.io/metadata.name"] in ("kube-system", "kubeflow", "ingress-nginx")
    else:
        jobs = {"matchExpressions": [{"key": "jobset.sigs.k8s.io/jobset-name", "operator": "Exists"}]}
        assert peer["podSelector"] == jobs or [
            pod for pod in every_pod(overlay) if selects(peer["podSelector"], pod)], peer


def check_ports(rule: Object, chosen: list[Pod]) -> None:
    """Ports by which one is let in are ports on which the chosen pods listen; KServe's listens on Triton's."""
    for pod in chosen:
        names = {value for container in pod.containers for port in container.get("ports", [])
                 for value in (port["name"], port["containerPort"])}
        for port in rule.get("ports", []):
            assert port["port"] in names or (pod.owner.startswith("InferenceService") and port["port"] == 8080)


def selects(selector: Object, pod: Pod) -> bool:
    expressions = [one["key"] in pod.labels for one in selector.get("matchExpressions", [])]
    return all(expressions) and selector.get("matchLabels", {}).items() <= pod.labels.items()
