"""How differences of figures are written wherever a person reads them."""


def signed(value: float, metric: str) -> str:
    """A difference with its sign: shares in points of a hundred, log-losses in nats.

    >>> signed(0.0123, "accuracy"), signed(-0.5, "log_loss")
    ('+1.2 points', '-0.500 nats')
    """
    return f"{value:+.3f} nats" if metric == "log_loss" else f"{100 * value:+.1f} points"


def span(low: float, high: float, metric: str) -> str:
    """The two ends of an interval.

    >>> span(-0.012, 0.031, "accuracy")
    '-1.2 to +3.1 points'
    """
    return f"{signed(low, metric).partition(' ')[0]} to {signed(high, metric)}"


def points(value: float, metric: str) -> str:
    """A difference without its sign."""
    return signed(value, metric).lstrip("+-")
