"""A cluster of which everything is said that can be."""

FULL = """\
image: {name: stillhouse:dev, pull: Always, secrets: [registry]}
pods:
  labels: {team: vision}
  annotations: {sidecar.istio.io/inject: "false"}
  env: {AWS_REGION: eu-west-1}
  secrets: [{name: s3, keys: {id: AWS_ACCESS_KEY_ID, secret: AWS_SECRET_ACCESS_KEY}}]
  config_maps: [{name: proxy, keys: {url: HTTPS_PROXY}, optional: true}]
  volumes: [{claim: work, path: /mnt/shared, sub_path: garments}]
defaults: {cpu: "1", cpu_limit: "4", memory: 2Gi, memory_limit: 8Gi, disk: 20Gi}
tasks:
  train: {gpus: 2, shm: 8Gi, timeout: 86400, node_selector: {pool: gpu},
          tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule},
                        {key: spot, value: "yes", seconds: 30}]}
parallelism: 3
retries: {pods: 4, pod_wait: 10, tries: 2}
lifetime: {deadline: 90000, keep: 3600}
mlflow: {uri: "http://mlflow.example.com"}
params: {runtime: {work: /mnt/shared/state}, promote: {registry: "s3://models/garments"}}
argo: {name: garments, namespace: vision, service_account: pipeline, executor: argo-executor,
       repository: {config_map: artifact-repositories, key: s3, prefix: runs}}
"""
