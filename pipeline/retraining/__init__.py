"""Deciding on a retraining, running it, and telling what came of it."""
