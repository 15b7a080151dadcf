"""Outlines of garments in their own coordinates: x and y from -1 to 1, y downwards, the wearer facing us."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLOTH, SHADE, EDGE = 200, 165, 120


@dataclass(frozen=True)
class Polygon:
    """One part of a garment, float points [N, 2], and how bright it is (200 = the colour of the cloth)."""

    points: NDArray[np.float32]
    tone: int = CLOTH


Cut = Sequence[float]
Point = tuple[float, float]
Drawer = Callable[[Cut, np.random.Generator], list[Polygon]]


def silhouette(category: str, cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """The parts of a garment, back to front. cut: its proportions; draw: how it lies in this picture."""
    return DRAWERS[category](cut, draw)


def between(low: float, high: float, share: float) -> float:
    """A value that lies at a share of the way from low to high."""
    return low + (high - low) * share


def polygon(*points: tuple[float, float], tone: int = CLOTH) -> Polygon:
    """A polygon from points."""
    return Polygon(np.array(points, np.float32), tone)


def symmetric(*right: tuple[float, float], tone: int = CLOTH) -> Polygon:
    """A polygon from its right half, top to bottom."""
    return polygon(*right, *((-x, y) for x, y in reversed(right)), tone=tone)


def mirrored(part: Polygon) -> Polygon:
    """The same part on the other side."""
    return Polygon(part.points * np.array([-1, 1], np.float32), part.tone)


def arc(centre: tuple[float, float], radii: tuple[float, float], start: float, end: float) -> list[tuple[float, float]]:
    """Points of an ellipse between two angles in degrees, 0 to the right, 90 downwards."""
    angles = np.radians(np.linspace(start, end, 17))
    return [(centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles]


def limb(start: Point, angle: float, length: float, widths: Point) -> Polygon:
    """A tapering tube that hangs from a point, the angle in radians away from straight down."""
    along = np.array([math.sin(angle), math.cos(angle)])
    across = np.array([along[1], -along[0]])
    first, last = np.array(start), np.array(start) + length * along
    near, far = across * widths[0], across * widths[1]
    return Polygon(np.array([first + near, last + far, last - far, first - near], np.float32), SHADE)


def shirt(cut: Cut, draw: np.random.Generator, sleeve: float, hem: float) -> list[Polygon]:
    """A body with a neck and two sleeves of a length."""
    shoulder, waist = between(0.4, 0.52, cut[0]), between(0.34, 0.52, cut[1])
    neck, depth = between(0.13, 0.22, cut[2]), between(0.06, 0.24, cut[3])
    body = symmetric((neck, -0.82), (shoulder, -0.7), (waist + 0.02, -0.2), (waist + 0.05, hem))
    collar = polygon((neck, -0.83), *arc((0, -0.83), (neck, depth), 0, 180), tone=EDGE)
    sleeves = []
    for side in (-1, 1):
        angle = side * between(0.3, 0.9, draw.uniform())
        wide, taper = between(0.15, 0.21, cut[4]), between(0.62, 0.95, cut[5])
        sleeves.append(limb((side * (shoulder - 0.08), -0.6), angle, sleeve, (wide, wide * taper)))
    return [*sleeves, body, collar]


def t_shirt(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """Short sleeves."""
    return shirt(cut, draw, between(0.34, 0.48, cut[6]), between(0.55, 0.85, cut[7]))


def longsleeve(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """Sleeves to the wrist."""
    return shirt(cut, draw, between(1.1, 1.4, cut[6]), between(0.55, 0.85, cut[7]))


def dress(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """A bodice, a waist and a skirt in one; straps or short sleeves."""
    shoulder, waist = between(0.26, 0.36, cut[0]), between(0.19, 0.28, cut[1])
    hem, length = between(0.62, 0.92, cut[2]), between(0.7, 0.95, cut[3])
    neck, waistline = shoulder - between(0.07, 0.12, cut[4]), between(-0.3, -0.05, cut[5])
    sway = draw.normal(0, 0.06)
    right = [(shoulder, -0.95), (shoulder + 0.04, -0.6), (waist, waistline), (hem + sway, length)]
    left = [(-hem + sway, length), (-waist, waistline), (-shoulder - 0.04, -0.6), (-shoulder, -0.95)]
    body = polygon((neck, -0.95), *right, *left, (-neck, -0.95), (0, between(-0.8, -0.55, cut[6])))
    sleeves = [limb((side * (shoulder - 0.02), -0.82), side * 0.7, 0.32, (0.12, 0.1)) for side in (-1, 1)]
    belt = symmetric((waist + 0.01, waistline - 0.03), (waist + 0.02, waistline + 0.04), tone=EDGE)
    return [*(sleeves if cut[7] < 0.4 else []), body, *([belt] if cut[8] < 0.4 else [])]


def skirt(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """A waistband and a flaring cloth with a wavy hem."""
    waist, hem = between(0.26, 0.38, cut[0]), between(0.62, 0.95, cut[1])
    length, waves, sway = between(0.5, 0.92, cut[2]), 2 + int(5 * cut[3]), draw.normal(0, 0.08)
    xs = np.linspace(hem, -hem, 25)
    wave = 0.045 * np.cos(np.linspace(0, 2 * math.pi * waves, 25))
    ys = length + wave - 0.1 * (xs / hem) ** 2
    lower = [(float(x) + sway, float(y)) for x, y in zip(xs, ys, strict=True)]
    band = symmetric((waist, -0.68), (waist + 0.01, -0.55), tone=EDGE)
    return [polygon((waist, -0.6), *lower, (-waist, -0.6)), band]


def trousers(cut: Cut, draw: np.random.Generator, length: float, cuff: float) -> list[Polygon]:
    """A waistband and two legs that end at a height."""
    waist, hip = between(0.26, 0.36, cut[0]), between(0.34, 0.44, cut[1])
    top, crotch = -0.92 if length > 0.6 else -0.7, between(-0.32, -0.18, cut[2]) + (0.0 if length > 0.6 else 0.25)
    legs = []
    for side in (-1, 1):
        spread = draw.uniform(0.08, 0.22) * (length - crotch)
        inner, outer = spread, spread + cuff
        hem = [(side * outer, length), (side * inner, length)]
        points = [(0.0, top), (side * waist, top), (side * hip, crotch - 0.15), *hem, (0.0, crotch)]
        legs.append(polygon(*points, tone=CLOTH if side > 0 else CLOTH - 12))
    band = symmetric((waist, top - 0.02), (waist + 0.01, top + 0.08), tone=EDGE)
    return [*legs, band]


def pants(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """Legs to the ankle."""
    return trousers(cut, draw, between(0.85, 1.05, cut[3]), between(0.16, 0.3, cut[4]))


def shorts(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """Legs that end above the knee."""
    return trousers(cut, draw, between(0.28, 0.52, cut[3]), between(0.34, 0.46, cut[4]))


def hat(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """A dome with a band, and a brim all round or a peak on one side."""
    wide, high, base = between(0.42, 0.56, cut[0]), between(0.45, 0.8, cut[1]), between(0.15, 0.3, cut[2])
    dome = polygon((wide, base), *arc((0, base - 0.1), (wide, high), 0, -180), (-wide, base))
    band = symmetric((wide + 0.005, base - 0.14), (wide + 0.005, base), tone=EDGE)
    if cut[3] < 0.5:
        brim = [polygon(*arc((0, base), (between(0.8, 1.0, cut[4]), between(0.12, 0.24, cut[5])), 0, 360), tone=SHADE)]
    else:
        reach = between(0.4, 0.55, cut[4])
        peak = arc((wide + reach - 0.45, base), (0.45 + reach * 0.3, 0.12), -170, 90)
        brim = [polygon(*peak, (0.0, base + 0.02), tone=SHADE)]
    return [*brim, dome, band] if draw.uniform() < 0.7 else [dome, band, *brim]


def shoe(cut: Cut, draw: np.random.Generator) -> list[Polygon]:
    """A low shoe or a boot from the side, on its sole."""
    shaft, ankle = between(-0.9, -0.1, cut[0]), between(-0.25, -0.05, cut[1])
    instep, toe = between(0.1, 0.3, cut[2]), between(0.78, 0.98, cut[3])
    heel, sole = between(0.06, 0.24, cut[4]), between(0.07, 0.14, cut[5])
    upper = polygon((-0.8, shaft), (ankle, shaft), (ankle + 0.06, 0.0), (instep + 0.25, 0.16), (toe - 0.1, 0.24),
                    (toe, 0.42), (toe, 0.5), (-0.82, 0.5), (-0.86, 0.2))
    floor = 0.48 + sole
    under = polygon((-0.86, 0.48), (toe + 0.04, 0.48), (toe, floor), (-0.2, floor), (-0.35, floor + heel),
                    (-0.84, floor + heel), tone=EDGE)
    return [upper, under, *(lace(x) for x in (0.02, 0.16, 0.3) if cut[6] < 0.6)]


def lace(x: float) -> Polygon:
    """A slanting bar over the instep."""
    over, under = x * 0.35, 0.2 + x * 0.3
    return polygon((x, over), (x + 0.05, over), (x + 0.16, under), (x + 0.11, under), tone=EDGE)


DRAWERS: dict[str, Drawer] = {
    "dress": dress, "hat": hat, "longsleeve": longsleeve, "pants": pants,
    "shoe": shoe, "shorts": shorts, "skirt": skirt, "t-shirt": t_shirt,
}
CATEGORIES = tuple(DRAWERS)
