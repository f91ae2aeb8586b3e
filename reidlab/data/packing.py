"""Pictures decoded or rendered once, and kept as one array of bytes."""
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reidlab.data.pictures import open_picture, regular
from reidlab.errors import ReidlabError
from reidlab.files import usable, write_whole
from reidlab.synthetic.world import World

PACKING = 2  # raise when drawing changes, so that old caches are not read


def pack(paths: list[Path], size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 of picture files, decoded once and kept in the cache folder.

    Raises:
        MissingPath: a picture that is not there; ReidlabError: one that cannot be used.
    """
    spec = json.dumps([PACKING, size, _identities(paths)])
    return _packed(spec, _Files(paths, size), size)


def pack_synthetic(images: "SyntheticImages", size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 of synthetic pictures, rendered once and kept in the cache folder."""
    spec = json.dumps([PACKING, images.world.seed, size, images.draw.__name__, images.keys])
    return _packed(spec, images, size)


def cache_folder() -> Path:
    """Where packed pictures are kept: ``$REIDLAB_CACHE``, else ``~/.cache/reidlab``."""
    return usable(os.environ.get("REIDLAB_CACHE") or Path.home() / ".cache" / "reidlab")


def cache_path(spec: str) -> Path:
    """Cache file of what `spec` describes."""
    return cache_folder() / f"{hashlib.sha256(spec.encode()).hexdigest()[:20]}.npy"


def _identities(paths: list[Path]) -> list[list]:
    """What tells each picture file from every other, and from itself before it was changed.

    Neither path nor time is enough: an archive gives the same names and times to other pictures,
    and a copy can bring its old time along. No program sets the time of the last change of state.
    """
    roots, found = {}, []
    for path in paths:
        known = regular(path)
        if path.parent not in roots:
            roots[path.parent] = os.path.realpath(path.parent)
        found.append([f"{roots[path.parent]}/{path.name}", known.st_size, known.st_ino,
                      known.st_mtime_ns, known.st_ctime_ns])
    return found


def _packed(spec: str, source: "SyntheticImages | _Files", size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8, memory-mapped from the cache; made by all cores when absent."""
    file, shape = cache_path(spec), (len(source), *size, 3)
    kept = _kept(file, shape)
    try:
        if kept is None:
            with contextlib.suppress(ReidlabError):  # no room to keep it: work from memory
                write_whole(file, lambda out: _write(out, shape, source))
                kept = _kept(file, shape)
        return _in_memory(shape, source) if kept is None else kept
    except _Unusable as fault:
        raise ReidlabError(str(fault)) from None


def _kept(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The packed pictures of a cache file; None where it is absent or damaged."""
    if not file.is_file():  # absent, or a pipe, which would be waited for
        return None
    try:
        kept = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError, OverflowError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.uint8 else None


def _write(out: BinaryIO, shape: tuple[int, ...], source: Dataset) -> None:
    """Batch by batch, so that memory never holds all pictures."""
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    out.flush()  # or the workers, which inherit the buffer, might write it again
    for batch in _batches(source):
        out.write(batch.data)


def _in_memory(shape: tuple[int, ...], source: Dataset) -> np.ndarray:
    packed, start = np.empty(shape, np.uint8), 0
    for batch in _batches(source):
        packed[start:start + len(batch)] = batch
        start += len(batch)
    return packed


def _batches(source: Dataset) -> Iterator[np.ndarray]:
    loader = DataLoader(source, batch_size=64, num_workers=min(8, os.cpu_count() or 1),
                        collate_fn=_stacked)
    for batch in loader:
        if isinstance(batch, str):
            raise _Unusable(batch)
        yield batch


def _stacked(pictures: list) -> np.ndarray | str:
    """One array of a batch, or its first fault; a worker would make an exception a traceback."""
    fault = next((p for p in pictures if isinstance(p, str)), None)
    return np.stack(pictures) if fault is None else fault


class _Unusable(Exception):
    """A picture that cannot be used, while others are decoded."""


class SyntheticImages(Dataset):
    """Synthetic pictures of one modality, by (person, outfit, shot).

    Args:
        world: who and how.
        keys: N triples.
        infrared: the infrared picture of each in place of the visible one.
    """

    def __init__(self, world: World, keys: list, infrared: bool = False):
        self.draw = world.infrared_picture if infrared else world.picture
        self.world, self.keys = world, keys

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.draw(*self.keys[k])


class _Files(Dataset):
    def __init__(self, paths: list[Path], size: tuple[int, int]):
        self.paths, self.size = paths, size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, k: int) -> np.ndarray | str:
        try:
            return open_picture(self.paths[k], self.size)
        except ReidlabError as fault:
            return str(fault)


def to_tensor(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float in [-1, 1] (mean .5, std .5)."""
    return normalized(torch.from_numpy(np.array(images)))


def normalized(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 on any device → (B, 3, H, W) float in [-1, 1], channels last."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
