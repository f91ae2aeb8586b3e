"""A digest of loaded data: equal for equal data, wherever they lie.

Shapes: N pictures, H, W height and width in pixels.
"""
import hashlib
import json
from collections.abc import Iterator

import numpy as np

from reidlab.data.records import SPLITS, Split, TextImageData, VisibleInfraredData

SAMPLES = 256  # bytes of each picture
AT_ONCE = 4096  # pictures


def fingerprint(data: TextImageData | VisibleInfraredData) -> str:
    """Sixteen hex digits that change with any path, person, camera, outfit, caption or picture.

    Of each picture some bytes are looked at, spread over rows, columns and channels: another
    picture in its place is seen, a single changed pixel need not be. Pictures count as they were
    packed, so another picture size is another fingerprint; the folder does not count.
    """
    digest = hashlib.sha256()
    for split in _splits(data):
        rows = [[r.path, r.pid, r.camid, r.outfit, *r.captions] for r in split.records]
        digest.update(json.dumps(rows).encode())
        for pixels in _samples(split.images):
            digest.update(pixels)
    return digest.hexdigest()[:16]


def _splits(data) -> Iterator[Split]:
    for name in SPLITS:
        part = getattr(data, name)
        yield from (part,) if isinstance(part, Split) else (part.visible, part.infrared)


def _samples(images: np.ndarray) -> Iterator[bytes]:
    """About `SAMPLES` bytes of each of the N pictures, (N, H, W, 3)."""
    flat = images.reshape(len(images), -1)
    every = max(1, flat.shape[1] // SAMPLES) | 1  # odd: rows have an even number of bytes
    for start in range(0, len(flat), AT_ONCE):
        yield flat[start:start + AT_ONCE, ::every].tobytes()
