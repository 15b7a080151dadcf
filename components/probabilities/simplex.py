"""Weights that sum to 1, chosen to make a convex loss least."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Loss: TypeAlias = Callable[[Floats], tuple[float, Floats]]  # weights [K] -> loss, and its gradient [K]

ROUNDS = 2000
GAP = 1e-9  # how far from the least loss the end may be
ENOUGH = 1e-4  # of the fall that the gradient promises
SHORTEST, LONGEST = 1e-12, 1e12


def least(loss: Loss, count: int) -> Floats:
    """The weights, none negative, their sum 1, of the least loss, float64 [count].

    Projected gradient steps from equal weights on, of the length of Barzilai and Borwein 1988
    (https://doi.org/10.1093/imanum/8.1.141), halved until the loss falls. The end is known by the gap of Frank and
    Wolfe: no point of the simplex is lower than the linear bound of a convex loss.
    """
    here = np.full(count, 1.0 / count)
    value, slope = loss(here)
    length = 1.0
    for _ in range(ROUNDS):
        if slope @ here - slope.min() <= GAP:
            break
        there, following, length = downhill(loss, here, (value, slope), length)
        bend = (there - here) @ (following[1] - slope)
        length = float(np.clip((there - here) @ (there - here) / bend if bend > 0 else 2 * length, SHORTEST, LONGEST))
        here, (value, slope) = there, following
    return here


def downhill(loss: Loss, here: Floats, state: tuple[float, Floats],
             length: float) -> tuple[Floats, tuple[float, Floats], float]:
    """A point of lower loss, its loss and gradient, and the length of the step to it."""
    value, slope = state
    while True:
        there = projected(here - length * slope)
        found = loss(there)
        if found[0] <= value + ENOUGH * float(slope @ (there - here)) or length <= SHORTEST:
            return there, found, length
        length /= 2


def projected(point: Floats) -> Floats:
    """The nearest point of the simplex, [K] (Duchi et al. 2008, https://doi.org/10.1145/1390156.1390191, figure 1)."""
    falling = np.sort(point)[::-1]
    excess = np.cumsum(falling) - 1.0
    kept = np.flatnonzero(falling * np.arange(1, len(point) + 1) > excess)[-1]
    found: Floats = np.maximum(point - excess[kept] / (kept + 1), 0.0)
    return found
