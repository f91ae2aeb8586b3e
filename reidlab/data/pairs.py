"""Visible and infrared pictures of the same people: drawn, or read from disk, three splits each.

Shapes: N pictures of one kind.
"""
from dataclasses import dataclass
from functools import lru_cache

from reidlab.config import InfraredData
from reidlab.data import visible_infrared
from reidlab.data.infrared_layouts import INFRARED_LAYOUTS
from reidlab.data.loading import FIRST_PERSON
from reidlab.data.packing import Drawn, pack, pack_drawn
from reidlab.data.records import Record, Split
from reidlab.data.sources import source_of
from reidlab.data.world import World


@dataclass(frozen=True)
class Pair:
    """One split in both kinds of light. Only drawn training pictures come as two of one shot."""

    visible: Split
    infrared: Split


@dataclass(frozen=True)
class VisibleInfraredData:
    """Three pairs of splits that share no person."""

    train: Pair
    val: Pair
    test: Pair
    source: str

    @property
    def classes(self) -> int:
        """Number of training people C."""
        return len(set(self.train.visible.pids.tolist()) | set(self.train.infrared.pids.tolist()))


def load_pairs(data: InfraredData, size: tuple[int, int]) -> VisibleInfraredData:
    """Records and packed pictures of a source.

    Args:
        data: what to load; ``data.source`` is ``drawn`` or ``LAYOUT:DIR``.
        size: (height, width) of the packed pictures.

    Raises:
        ReidlabError: unknown source, missing folder, or a list that cannot be used.
    """
    if data.source == "drawn":
        counts = {"train": data.people, "val": data.val_people, "test": data.test_people}
        return VisibleInfraredData(source="drawn", **{
            name: draw_pair(data.seed, size, name, count, data.shots)
            for name, count in counts.items()})
    name, folder = source_of(data.source, INFRARED_LAYOUTS)
    found = visible_infrared.read(name, folder, data.trial)
    return VisibleInfraredData(source=data.source, **{
        split: Pair(*(Split(records, pack([folder / r.path for r in records], size))
                      for records in kinds)) for split, kinds in found.items()})


@lru_cache(maxsize=6)
def draw_pair(seed: int, size: tuple[int, int], name: str, people: int, shots: int) -> Pair:
    """Drawn people in one outfit each.

    In training both kinds show the same shots, so that a curriculum can start from pictures that
    differ in nothing but the light. Held-out people are never seen twice in one shot.
    """
    world, first = World(seed, size), FIRST_PERSON[name]
    kinds = []
    for infrared in (False, True):
        start = shots if infrared and name != "train" else 0
        keys = [(first + k, first + k, start + s) for k in range(people) for s in range(shots)]
        records = [_record(world, key, infrared) for key in keys]
        kinds.append(Split(records, pack_drawn(Drawn(world, keys, infrared), size)))
    return Pair(*kinds)


def _record(world: World, key: tuple[int, int, int], infrared: bool) -> Record:
    person, outfit, shot = key
    factors = world.factors(*key)
    kind = "infrared" if infrared else "visible"
    return Record(path=f"{kind}/{person:07d}/{shot:02d}.png", pid=person,
                  camid=factors["scene/camera"], outfit=outfit, factors=factors)
