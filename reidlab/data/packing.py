"""Pictures decoded or drawn once, and kept as one array of bytes."""
import hashlib
import json
import os
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from reidlab.data import text_image
from reidlab.data.world import World
from reidlab.errors import ReidlabError
from reidlab.files import write_whole

PACKING = 2  # raise when drawing changes, so that old caches are not read


def pack(paths: list[Path], size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 of picture files, decoded once and kept in the cache folder."""
    spec = json.dumps([PACKING, size, [[str(p), p.stat().st_mtime_ns] for p in paths]])
    return _packed(spec, _Files(paths, size), size)


def pack_drawn(drawn: "Drawn", size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 of drawn pictures, drawn once and kept in the cache folder."""
    world = drawn.draw.__self__
    spec = json.dumps([PACKING, world.seed, size, drawn.draw.__name__, drawn.keys])
    return _packed(spec, drawn, size)


def cache_folder() -> Path:
    """Where packed pictures are kept: ``$REIDLAB_CACHE``, else ``~/.cache/reidlab``."""
    return Path(os.environ.get("REIDLAB_CACHE") or Path.home() / ".cache" / "reidlab")


def place(spec: str) -> Path:
    """Cache file of what `spec` describes."""
    return cache_folder() / f"{hashlib.sha256(spec.encode()).hexdigest()[:20]}.npy"


def _packed(spec: str, source: Dataset, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8, memory-mapped from the cache; made by all cores when absent."""
    file = place(spec)
    if not file.exists():
        loader = DataLoader(source, batch_size=64, num_workers=min(8, os.cpu_count() or 1),
                            collate_fn=np.stack)
        packed = np.concatenate(list(loader))
        try:
            write_whole(file, lambda out: np.save(out, packed))
        except ReidlabError:
            return packed  # no room to keep it: work from memory
    return np.load(file, mmap_mode="r")


class Drawn(Dataset):
    """Drawn pictures of one kind of light, by (person, outfit, shot).

    Args:
        world: who and how.
        keys: N triples.
        infrared: the infrared picture of each in place of the visible one.
    """

    def __init__(self, world: World, keys: list, infrared: bool = False):
        self.draw = world.infrared_picture if infrared else world.picture
        self.keys = keys

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.draw(*self.keys[k])


class _Files(Dataset):
    def __init__(self, paths: list[Path], size: tuple[int, int]):
        self.paths, self.size = paths, size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, k: int) -> np.ndarray:
        return text_image.open_picture(self.paths[k], self.size)
