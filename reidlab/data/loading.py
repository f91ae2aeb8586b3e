"""From a source to splits: synthetic or read records, and pictures packed once."""
import contextlib
import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from reidlab.config.text_image import Data
from reidlab.config.visible_infrared import Data as InfraredData
from reidlab.data import clothes_changing, own_folder, text_image, visible_infrared
from reidlab.data.clothes_changing import CLOTHES_LAYOUTS
from reidlab.data.packing import PACKING, SyntheticImages, cache_path, pack, pack_synthetic
from reidlab.data.records import (
    CrossModalSplit,
    Record,
    Split,
    TextImageData,
    VisibleInfraredData,
)
from reidlab.data.sources import TEXT_IMAGE, VISIBLE_INFRARED, absolute_source, source_of
from reidlab.errors import ReidlabError
from reidlab.files import write_whole
from reidlab.synthetic.world import World

FIRST_PERSON = {"train": 0, "val": 1_000_000, "test": 2_000_000}


def load_text_image(data: Data, size: tuple[int, int]) -> TextImageData:
    """Records and packed pictures of a source.

    Args:
        data: what to load; ``data.source`` is ``synthetic`` or ``LAYOUT:DIR``.
        size: (height, width) of the packed pictures.

    Raises:
        ReidlabError: unknown source, missing folder, or annotations that cannot be used.
    """
    if data.source == "synthetic":
        found = synthetic_text_image(data, size)
    else:
        images, splits = _read(data)
        found = TextImageData(
            **{name: _packed(images, records, size) for name, records in splits.items()},
            source=data.source)
    return replace(found, train=_said(found.train, data), val=_said(found.val, data),
                   test=_said(found.test, data))


def load_split(data: Data, size: tuple[int, int], name: str) -> Split:
    """One split of `load_text_image`, without drawing or packing the pictures of the others."""
    if data.source == "synthetic":
        return _said(_synthetic(data, size, name), data)
    images, splits = _read(data)
    return _said(_packed(images, splits[name], size), data)


def _said(split: Split, data: Data) -> Split:
    """A split whose captions are divided as ``data.captions`` says."""
    if data.captions == "split":
        return split
    return replace(split, records=[
        replace(r, id_captions=r.captions, cloth_captions=("",) * len(r.captions))
        for r in split.records])


def _packed(images: Path, records: list[Record], size: tuple[int, int]) -> Split:
    return Split(records, pack([images / r.path for r in records], size))


def _read(data: Data) -> tuple[Path, dict[str, list[Record]]]:
    """Folder of the pictures, and the records of each split, of ``LAYOUT:DIR``."""
    name, folder = source_of(data.source, TEXT_IMAGE)
    if name == "folder":
        return folder, own_folder.read(folder)
    if name in CLOTHES_LAYOUTS:
        return folder, clothes_changing.read(name, folder)
    return text_image.read(name, folder)


def silent_splits(data: Data) -> list[str]:
    """Splits of a source without any caption; its lists are read, its pictures are not.

    Raises:
        ReidlabError: as `load_text_image`.
    """
    if data.source == "synthetic":
        return []
    return [name for name, records in _read(data)[1].items()
            if not any(any(record.captions) for record in records)]


def synthetic_text_image(data: Data, size: tuple[int, int]) -> TextImageData:
    """The synthetic world's three splits, rendered once and kept in the cache folder."""
    return TextImageData(source="synthetic",
                         **{name: _synthetic(data, size, name) for name in FIRST_PERSON})


def _synthetic(data: Data, size: tuple[int, int], name: str) -> Split:
    counts = {"train": data.people, "val": data.val_people, "test": data.test_people}
    return _synthetic_split(data.seed, size, name, counts[name], data.outfits,
                            data.images_per_outfit)


def synthetic_keys(
    split: str, people: int, outfits: int, images: int
) -> list[tuple[int, int, int]]:
    """(person, outfit, shot) of a split's pictures.

    Each person wears outfits of their own, and as the last the first one of the next person:
    every outfit numbered 0 has a lure, somebody else who wears it.
    """
    first = FIRST_PERSON[split]
    keys = []
    for k in range(people):
        own = [outfits * (first + k) + j for j in range(outfits - 1)]
        borrowed = outfits * (first + (k + 1) % people)
        keys += [(first + k, o, s) for o in [*own, borrowed] for s in range(images)]
    return keys


def synthetic_record(world: World, key: tuple[int, int, int]) -> Record:
    """Captions and factors of one synthetic picture."""
    person, outfit, shot = key
    captions, factors = world.describe(*key), world.factors(*key)
    return Record(
        path=f"{person:07d}/{outfit:07d}/{shot:02d}.png",
        pid=person,
        camid=factors["scene/camera"],
        captions=(f"{captions.id_caption} {captions.cloth_caption}",),
        id_captions=(captions.id_caption,),
        cloth_captions=(captions.cloth_caption,),
        outfit=outfit,
        factors=factors,
        facts=({**captions.id_facts, **captions.cloth_facts},),
    )


@lru_cache(maxsize=6)
def _synthetic_split(seed, size, name, people, outfits, images) -> Split:
    world, keys = World(seed, size), synthetic_keys(name, people, outfits, images)
    spec = json.dumps([PACKING, seed, size, name, people, outfits, images])
    return Split(_described(spec, world, keys), pack_synthetic(SyntheticImages(world, keys), size))


def _described(spec: str, world: World, keys: list) -> list[Record]:
    """Records of synthetic pictures, read from the cache; written there when absent or damaged."""
    file = cache_path(spec).with_suffix(".jsonl")
    kept = _kept(file)
    if kept is not None and len(kept) == len(keys):
        return kept
    records = [synthetic_record(world, key) for key in keys]
    rows = json.dumps([vars(record) for record in records]).encode()
    with contextlib.suppress(ReidlabError):  # no room to keep them: work from memory
        write_whole(file, lambda out: out.write(_digest(rows) + b"\n" + rows))
    return records


def _kept(file: Path) -> list[Record] | None:
    """The records of a cache file; None where it is absent or damaged."""
    if not file.is_file():  # absent, or a pipe, which would be waited for
        return None
    try:
        digest, _, rows = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    if digest != _digest(rows):
        return None
    return [Record(**row | {name: tuple(row[name]) for name in (
        "captions", "id_captions", "cloth_captions", "facts")}) for row in json.loads(rows)]


def _digest(rows: bytes) -> bytes:
    """First line of a cache file, before its rows: a changed byte anywhere is seen."""
    return f'"{hashlib.sha256(rows).hexdigest()}"'.encode()


def with_absolute_source(experiment):
    """The experiment with its folder of data named from the root: it means the same anywhere."""
    source = absolute_source(experiment.data.source)
    return replace(experiment, data=replace(experiment.data, source=source))


def load_visible_infrared(data: InfraredData, size: tuple[int, int]) -> VisibleInfraredData:
    """Records and packed pictures of a source.

    Args:
        data: what to load; ``data.source`` is ``synthetic`` or ``LAYOUT:DIR``.
        size: (height, width) of the packed pictures.

    Raises:
        ReidlabError: unknown source, missing folder, or a list that cannot be used.
    """
    if data.train_on_val and not data.source.startswith("sysu-mm01:"):
        raise ReidlabError(f"data.train_on_val is of sysu-mm01, whose published scores have it; "
                           f"got {data.source:.80}: set it to false")
    if data.source == "synthetic":
        counts = {"train": data.people, "val": data.val_people, "test": data.test_people}
        return VisibleInfraredData(source="synthetic", **{
            name: synthetic_visible_infrared(data.seed, size, name, count, data.images_per_outfit)
            for name, count in counts.items()})
    name, folder = source_of(data.source, VISIBLE_INFRARED)
    found = (own_folder.read_both(folder) if name == "folder"
             else visible_infrared.read(name, folder, data.trial))
    if data.train_on_val:
        (visible, infrared), more = found["train"], found["val"]
        found["train"] = (visible + more[0], infrared + more[1])
    return VisibleInfraredData(source=data.source, **{
        split: CrossModalSplit(*(Split(records, pack([folder / r.path for r in records], size))
                      for records in splits)) for split, splits in found.items()})


@lru_cache(maxsize=6)
def synthetic_visible_infrared(
    seed: int, size: tuple[int, int], name: str, people: int, images: int
) -> CrossModalSplit:
    """Synthetic people in one outfit each.

    In training both splits show the same images, so that a curriculum can start from pictures that
    differ in nothing but the modality. Held-out people are never seen twice in one shot.
    """
    world, first = World(seed, size), FIRST_PERSON[name]
    splits = []
    for infrared in (False, True):
        start = images if infrared and name != "train" else 0
        keys = [(first + k, first + k, start + s) for k in range(people) for s in range(images)]
        records = [_record(world, key, infrared) for key in keys]
        splits.append(Split(records, pack_synthetic(SyntheticImages(world, keys, infrared), size)))
    return CrossModalSplit(*splits)


def _record(world: World, key: tuple[int, int, int], infrared: bool) -> Record:
    person, outfit, shot = key
    factors = world.factors(*key)
    modality = "infrared" if infrared else "visible"
    return Record(path=f"{modality}/{person:07d}/{shot:02d}.png", pid=person,
                  camid=factors["scene/camera"], outfit=outfit, factors=factors)
