"""The vocabulary of data: records of pictures and captions, and the splits they make up."""
from dataclasses import dataclass, field

import numpy as np

SPLITS = ("train", "val", "test")
MODALITIES = ("visible", "infrared")  # numbered 0 and 1 in tensors


@dataclass(frozen=True)
class Record:
    """One picture and everything known of it.

    Attributes:
        path: file, relative to the data set's image folder; ``person/outfit/shot`` when synthetic.
        pid: person, as the data set numbers them.
        camid: camera, 1-based; 0 when unknown.
        captions: whole descriptions; each is one query.
        id_captions, cloth_captions: their identity and clothing parts, in the same order;
            an empty string where a caption says nothing of that side.
        outfit: number of the outfit; -1 when unknown.
        factors: known factors of a synthetic picture, else empty.
        facts: factors that each caption states, in the order of `captions`; else empty.
        role: ``query`` or ``gallery`` where a data set divides its test pictures; else empty.
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
    role: str = ""


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
class CrossModalSplit:
    """One split in both modalities. Only drawn training pictures come as two of one shot."""

    visible: Split
    infrared: Split


@dataclass(frozen=True)
class VisibleInfraredData:
    """Three pairs of splits that share no person."""

    train: CrossModalSplit
    val: CrossModalSplit
    test: CrossModalSplit
    source: str

    @property
    def classes(self) -> int:
        """Number of training people C."""
        return len(set(self.train.visible.pids.tolist()) | set(self.train.infrared.pids.tolist()))
