"""The store of what models say of samples, and its readers."""
