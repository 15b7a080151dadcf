"""Per-sample losses and how they combine into an objective."""
