"""Samplers: pure functions from an epoch, and what little an earlier one left, to batches of rows."""
