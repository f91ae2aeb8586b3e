"""The vocabulary of the package: pictures, captions, and the batches made of them."""
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Record:
    """One picture and everything known of it.

    Attributes:
        path: file, relative to the data set's image folder; ``person/outfit/shot`` when drawn.
        pid: person, as the data set numbers them.
        camid: camera, 1-based; 0 when unknown.
        captions: whole descriptions; each is one query.
        id_captions, cloth_captions: their identity and clothing parts, in the same order;
            an empty string where a caption says nothing of that side.
        outfit: number of the outfit; -1 when unknown.
        factors: known factors of a drawn picture, else empty.
        facts: factors that each caption states, in the order of `captions`; else empty.
    """

    path: str
    pid: int
    camid: int
    captions: tuple[str, ...] = ()
    id_captions: tuple[str, ...] = ()
    cloth_captions: tuple[str, ...] = ()
    outfit: int = -1
    factors: dict = field(default_factory=dict)
    facts: tuple[dict, ...] = ()


@dataclass(frozen=True)
class Split:
    """Records of one split with their pictures, decoded once.

    Attributes:
        records: N records.
        images: (N, H, W, 3) uint8, possibly memory-mapped.
    """

    records: list[Record]
    images: np.ndarray

    @property
    def pids(self) -> np.ndarray:
        """(N,) person of each picture."""
        return np.array([r.pid for r in self.records], np.int64)

    @property
    def outfits(self) -> np.ndarray:
        """(N,) outfit of each picture, -1 when unknown."""
        return np.array([r.outfit for r in self.records], np.int64)


@dataclass(frozen=True)
class TextImageData:
    """Three splits that share no person."""

    train: Split
    val: Split
    test: Split
    source: str

    @property
    def classes(self) -> int:
        """Number of training people C."""
        return len(set(self.train.pids.tolist()))


@dataclass(frozen=True)
class Batch:
    """What the model and the losses see in one step.

    Several processes share a batch: `image` holds this process's rows, everything else all B.

    Attributes:
        image: (b, 3, H, W) float in [-1, 1].
        shard: which of the B rows `image` holds.
        id_text, cloth_text: B strings; empty where nothing is said.
        pid: (B,) contiguous training label in [0, C).
        outfit: (B,) outfit of the picture, -1 when unknown.
        cloth_outfit: (B,) outfit that `cloth_text` describes, -1 when unknown.
        is_matched: (B,) bool, whether `cloth_text` describes this very picture.
        rival_text: B whole descriptions of others in the batch that resemble the own one most;
            None where nothing learns from them.
    """

    image: Tensor
    shard: slice
    id_text: list[str]
    cloth_text: list[str]
    pid: Tensor
    outfit: Tensor
    cloth_outfit: Tensor
    is_matched: Tensor
    rival_text: list[str] | None = None
