"""The loop, its optimisers, schedules and checkpoints."""
