"""What runs inside the container: the steps of the pipeline and the rooms that they use."""
