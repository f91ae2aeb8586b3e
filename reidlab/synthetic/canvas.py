"""Paint shaded, textured, anti-aliased shapes in visible and infrared light at once.

The canvas has four channels, red, green, blue and infrared, so one pass paints both
pictures; another plane keeps the name of the body part that each pixel shows. Planes come
first, (4, H, W): row-wise arithmetic on them is several times faster than on (H, W, 4).
Coordinates are pixels, x to the right, y downwards, with fractions.
"""
from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

cv2.setNumThreads(1)  # one picture is too small to share; loaders run one process per core
SUBPIXEL = 4          # fractional bits of polygon corners
MARGIN = 3            # pixels around a shape that its soft edges may reach
FLAT = 2 * MARGIN + 5  # a shape narrower than this, margins included, has no room for relief

Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (x, y) grids → share of accent in [0, 1]


def material(colour, infrared: float) -> np.ndarray:
    """(4, 1, 1) float32 paint from an RGB colour in 0…255 and an infrared reflectance in [0, 1]."""
    return np.array([[[c]] for c in (*colour, 255 * infrared)], np.float32)


# Outlines are linear in a few numbers, x + iy: one small product each, since painting a picture
# makes about forty of them.
@lru_cache
def _ellipse(corners: int) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(turn), 1j * np.sin(turn), np.ones(corners)])


def disc(x: float, y: float, rx: float, ry: float | None = None, corners: int = 20) -> np.ndarray:
    """(corners, 2) outline of an ellipse."""
    parts = np.array([rx, rx if ry is None else ry, complex(x, y)])
    return (parts @ _ellipse(corners)).view(np.float64).reshape(-1, 2)


def oval(centre: np.ndarray, rx: float, ry: float | None = None, corners: int = 20) -> np.ndarray:
    """`disc` around a (2,) point."""
    return disc(centre[0], centre[1], rx, ry, corners)


_CAP, _HERE = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 6)), np.ones(6)
_LIMB = np.block([[_CAP, 0 * _CAP], [0 * _CAP, -_CAP], [_HERE, 0 * _HERE], [0 * _HERE, _HERE]])


def limb(a, b, ra: float, rb: float) -> np.ndarray:
    """(12, 2) outline of a tapered, round-ended limb from point `a` to point `b`."""
    start, end = complex(*a.tolist()), complex(*b.tolist())
    along = (end - start) / (abs(end - start) or 1.0)
    return (np.array([rb * along, ra * along, end, start]) @ _LIMB
            ).view(np.float64).reshape(-1, 2)


@lru_cache
def _corner_cutting(corners: int, rounds: int) -> np.ndarray:
    p = np.eye(corners)
    for _ in range(rounds):
        after = np.roll(p, -1, axis=0)
        p = np.stack([0.75 * p + 0.25 * after, 0.25 * p + 0.75 * after], 1).reshape(-1, corners)
    return p


def smooth(points: np.ndarray, rounds: int = 2) -> np.ndarray:
    """Cut the corners of a closed outline (Chaikin), `rounds` times."""
    return _corner_cutting(len(points), rounds) @ points


class Canvas:
    """Four-channel picture with a part label per pixel.

    Args:
        background: (4, H, W) uint8; painted over in place.
        light: direction the light comes from, -1 (left) … 1 (right).
        grain: (h, w) float32 around 1, at least as large as the picture: weave and folds.
    """

    def __init__(self, background: np.ndarray, light: float, grain: np.ndarray):
        self.pixels = background
        self.labels: np.ndarray = np.zeros(background.shape[1:], np.uint8)
        self.light = light
        self.grain = grain

    def paint(self, outlines, paint: np.ndarray, part: int | None = None, *,
              accent: np.ndarray | None = None, texture: Texture | None = None,
              roundness: float = 1.0, shadow: float = 0.0) -> None:
        """Fill one or several outlines as one solid thing.

        Args:
            outlines: an (n, 2) array or a list of them; their union is filled.
            paint, accent: (4, 1, 1) materials; `texture` says where the accent shows.
            part: label written where the thing covers more than half a pixel; None keeps it.
            roundness: nearly 0, flat … 1, shaded like a cylinder.
            shadow: darkness of the contact shadow it casts on what lies beneath.
        """
        fixed = [_fixed(outline) for outline in
                 ([outlines] if isinstance(outlines, np.ndarray) else outlines)]
        x, y, w, h = cv2.boundingRect(fixed[0] if len(fixed) == 1 else np.concatenate(fixed))
        height, width = self.labels.shape
        x0, y0 = max((x >> SUBPIXEL) - MARGIN, 0), max((y >> SUBPIXEL) - MARGIN, 0)
        x1 = min((x + w >> SUBPIXEL) + MARGIN, width)
        y1 = min((y + h >> SUBPIXEL) + MARGIN, height)
        if x1 <= x0 or y1 <= y0:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corner = (-(x0 << SUBPIXEL), -(y0 << SUBPIXEL))
        for outline in fixed:  # one by one: together, overlaps would stay empty
            cv2.fillPoly(mask, [outline], 255, cv2.LINE_AA, SUBPIXEL, corner)
        colour = paint
        if texture is not None:
            share = texture(np.arange(x0, x1, dtype=np.float32)[None],
                            np.arange(y0, y1, dtype=np.float32)[:, None])
            colour = paint + (accent - paint) * share.astype(np.float32)
        alpha = mask * np.float32(1 / 255)
        shade = self.grain[y0:y1, x0:x1] * alpha
        shade *= self._relief(alpha, roundness)
        rest = 1 - alpha
        if shadow:
            rest *= 1 - cv2.blur(alpha, (7, 7)) * np.float32(shadow)
        area = self.pixels[:, y0:y1, x0:x1]
        mixed = area * rest
        mixed += colour * shade
        area[...] = np.minimum(mixed, 255, out=mixed)
        if part is not None:
            self.labels[y0:y1, x0:x1][mask > 127] = part

    def dab(self, outline: np.ndarray, paint: np.ndarray, part: int | None = None) -> None:
        """Fill one outline flat, without weave or relief: eyes, buttons, seams, prints."""
        fixed = [_fixed(outline)]
        for plane, value in zip(self.pixels, paint.ravel().tolist(), strict=True):
            cv2.fillPoly(plane, fixed, min(value, 255), cv2.LINE_AA, SUBPIXEL)
        if part is not None:
            cv2.fillPoly(self.labels, fixed, part, cv2.LINE_8, SUBPIXEL)

    def _relief(self, alpha: np.ndarray, roundness: float) -> np.ndarray | np.float32:
        """Light and shade of a shape, from the slope of its blurred outline."""
        across = min(alpha.shape)
        if across < FLAT:
            return np.float32(1 - 0.12 * roundness)
        reach = max(3, across // 5 | 1)
        relief: np.ndarray = cv2.blur(alpha, (reach, reach))
        tilt = (relief[:, 2:] - relief[:, :-2]) * np.float32(-0.35 * reach * self.light)
        relief[:, 1:-1] += tilt
        relief *= np.float32(0.30 * roundness)
        relief += np.float32(1 - 0.30 * roundness)
        return relief

    def veil(self, outline: np.ndarray, darkness: float) -> None:
        """Darken softly without covering: a cast shadow on the ground."""
        y0, y1 = np.clip([outline[:, 1].min() - 6, outline[:, 1].max() + 6],
                         0, len(self.labels)).astype(int)
        if y1 > y0:
            mask = np.zeros((y1 - y0, self.labels.shape[1]), np.uint8)
            cv2.fillPoly(mask, [_fixed(outline - (0, y0))], 255, cv2.LINE_AA, SUBPIXEL)
            area = self.pixels[:, y0:y1]
            area[...] = area * (1 - cv2.blur(mask, (9, 5)) * np.float32(darkness / 255))


def _fixed(outline: np.ndarray) -> np.ndarray:
    return (outline * (1 << SUBPIXEL)).astype(np.int32)
