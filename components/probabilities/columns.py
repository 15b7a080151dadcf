"""Which columns of a store are about the sample of their row alone."""

from components.probabilities.store import Store


def own_columns(store: Store) -> list[int]:
    """Columns whose views show one image: all, or the untouched one where views are laid over other images."""
    return [0] if store.head.get("mixed") else list(range(len(store.views)))
