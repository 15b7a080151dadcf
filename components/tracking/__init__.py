"""The journal of a step and its way to MLflow."""
