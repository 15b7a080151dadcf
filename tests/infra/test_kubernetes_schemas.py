"""Every object of every overlay against the schemas of Kubernetes, Trainer and KServe; unknown keys are mistakes."""

import json
from functools import cache
from itertools import product
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from manifests import OVERLAYS, SCHEMAS, Object, applied_by_hand, named, of_kind, rendered

EXTENSIONS = {"TrainJob": "trainer.kubeflow.org_trainjobs.yaml",
              "InferenceService": "serving.kserve.io_inferenceservices.yaml"}
NO_SCHEMA = {"TrainingRuntime"}  # checked as the Job that it becomes, below
VERSIONS = ("1.31", "1.37")  # the oldest that is meant to take them, and the newest that can be checked


@cache
def strict(name: str) -> tuple[Object, ...]:
    """The schemas of a kind by version, in which unknown keys are mistakes."""
    definition = yaml.load((SCHEMAS / name).read_text(encoding="utf-8"), yaml.CSafeLoader)
    return tuple(closed(one["schema"]["openAPIV3Schema"]) for one in definition["spec"]["versions"])


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema \
            and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def check_extension(one: Object) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("../shared/schemas is not here")
    [schema] = strict(EXTENSIONS[one["kind"]])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator(schema).validate(one)


@cache
def checked(text: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize(("overlay", "version"), list(product(OVERLAYS, VERSIONS)))
def test_kubernetes_takes_every_object_and_knows_every_key(overlay: str, version: str) -> None:
    for one in rendered(overlay):
        if one["kind"] not in EXTENSIONS.keys() | NO_SCHEMA:
            checked(json.dumps(one, sort_keys=True), version)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_what_is_applied_by_hand_and_knows_every_key(version: str) -> None:
    checked(json.dumps(applied_by_hand(), sort_keys=True), version)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_trainer_and_kserve_take_their_objects_and_know_every_key(overlay: str) -> None:
    for one in of_kind(rendered(overlay), *EXTENSIONS):
        check_extension(one)


def test_a_slip_of_the_pen_is_seen_in_any_object() -> None:
    objects = rendered("production")
    for kind, path, wrong in [("TrainJob", ("spec", "trainer"), "numNode"),
                              ("InferenceService", ("spec", "predictor", "model"), "modelFormt")]:
        one = of_kind(objects, kind)[0]
        place = one
        for key in path:
            place = place[key]
        place[wrong] = 2
        with pytest.raises(jsonschema.ValidationError, match=wrong):
            check_extension(one)
    one = named(objects, "Deployment", "service")
    one["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_training_runtime_holds_jobs_that_kubernetes_takes(overlay: str) -> None:
    for one in of_kind(rendered(overlay), "TrainingRuntime"):
        assert one["spec"].keys() == {"mlPolicy", "template"}
        assert one["spec"]["mlPolicy"].keys() == {"numNodes", "torch"}
        assert one["spec"]["template"]["spec"].keys() == {"failurePolicy", "replicatedJobs"}
        [job] = one["spec"]["template"]["spec"]["replicatedJobs"]
        made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}} | job["template"]
        kubernetes_validate.validate(made | {"metadata": {"name": "node"}}, VERSIONS[-1], strict=True)
        assert job["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
