"""From a name to a network with one forward contract."""
