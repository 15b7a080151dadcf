"""Speaks with the API server of Kubeflow Pipelines: who may, in what time, and what its refusals mean."""
