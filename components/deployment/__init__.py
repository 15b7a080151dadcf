"""Exported graphs, their parity with the model, and the model card."""
