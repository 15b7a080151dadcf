"""What runs on the author's machine or in CI: Kubeflow, and checks of the wiring."""
