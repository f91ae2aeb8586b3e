"""From a source to batches: drawn or read records, packed pictures, sampling, augmentation.

Every random choice is a function of (seed, step) over the whole batch, so that a resumed run,
and a run shared by several processes, see what one uninterrupted process would have seen.
"""
import contextlib
import hashlib
import json
import os
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import kornia.enhance
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reidlab.config import Data, Experiment
from reidlab.data import text_image
from reidlab.data.layouts import LAYOUTS
from reidlab.data.negatives import SimilarCaptions, rivals
from reidlab.data.records import Batch, Record, Split, TextImageData
from reidlab.data.world import World
from reidlab.errors import ReidlabError
from reidlab.files import write_whole

FIRST_PERSON = {"train": 0, "val": 1_000_000, "test": 2_000_000}
PACKING = 2  # raise when drawing changes, so that old caches are not read


def load(data: Data, size: tuple[int, int]) -> TextImageData:
    """Records and packed pictures of a source.

    Args:
        data: what to load; ``data.source`` is ``drawn`` or ``LAYOUT:DIR``.
        size: (height, width) of the packed pictures.

    Raises:
        ReidlabError: unknown source, missing folder, or annotations that cannot be used.
    """
    if data.source == "drawn":
        return draw(data, size)
    name, _, folder = data.source.partition(":")
    if name not in LAYOUTS or not folder:
        raise ReidlabError(f"unknown data {data.source!r}; known: drawn, "
                           + ", ".join(f"{name}:DIR" for name in LAYOUTS))
    images, splits = text_image.read(name, Path(folder))
    return TextImageData(
        **{name: Split(records, pack([images / r.path for r in records], size))
           for name, records in splits.items()}, source=data.source)


def draw(data: Data, size: tuple[int, int]) -> TextImageData:
    """The drawn world's three splits, rendered once and kept in the cache folder."""
    counts = {"train": data.people, "val": data.val_people, "test": data.test_people}
    return TextImageData(source="drawn", **{
        name: _draw_split(data.seed, size, name, count, data.outfits, data.shots)
        for name, count in counts.items()})


def drawn_keys(split: str, people: int, outfits: int, shots: int) -> list[tuple[int, int, int]]:
    """(person, outfit, shot) of a split's pictures.

    Each person wears outfits of their own, and as the last the first one of the next person:
    every outfit numbered 0 has a lure, somebody else who wears it.
    """
    first = FIRST_PERSON[split]
    keys = []
    for k in range(people):
        own = [outfits * (first + k) + j for j in range(outfits - 1)]
        borrowed = outfits * (first + (k + 1) % people)
        keys += [(first + k, o, s) for o in [*own, borrowed] for s in range(shots)]
    return keys


def drawn_record(world: World, key: tuple[int, int, int]) -> Record:
    """Captions and factors of one drawn picture."""
    person, outfit, shot = key
    said, scene = world.describe(*key), world.scene(*key)
    factors = {f"person/{k}": v for k, v in world.person(person).items()}
    factors |= {f"outfit/{k}": v for k, v in world.outfit(outfit).items()}
    factors |= {f"scene/{k}": v for k, v in scene.items()}
    return Record(
        path=f"{person:07d}/{outfit:07d}/{shot:02d}.png", pid=person, camid=scene["camera"],
        captions=(f"{said.id_caption} {said.cloth_caption}",), id_captions=(said.id_caption,),
        cloth_captions=(said.cloth_caption,), outfit=outfit, factors=factors,
        facts=({**said.id_facts, **said.cloth_facts},))


@lru_cache(maxsize=6)
def _draw_split(seed, size, name, people, outfits, shots) -> Split:
    world, keys = World(seed, size), drawn_keys(name, people, outfits, shots)
    spec = json.dumps([PACKING, seed, size, name, people, outfits, shots])
    return Split(_described(spec, world, keys), _packed(spec, _Drawn(world, keys), size))


def _described(spec: str, world: World, keys: list) -> list[Record]:
    """Records of drawn pictures, read from the cache; written there when absent."""
    file = _place(spec).with_suffix(".json")
    if file.exists():
        return [Record(**row | {name: tuple(row[name]) for name in (
            "captions", "id_captions", "cloth_captions", "facts")})
            for row in json.loads(file.read_text())]
    records = [drawn_record(world, key) for key in keys]
    rows = json.dumps([vars(record) for record in records]).encode()
    with contextlib.suppress(ReidlabError):  # no room to keep them: work from memory
        write_whole(file, lambda out: out.write(rows))
    return records


def pack(paths: list[Path], size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 of picture files, decoded once and kept in the cache folder."""
    spec = json.dumps([PACKING, size, [[str(p), p.stat().st_mtime_ns] for p in paths]])
    return _packed(spec, _Files(paths, size), size)


def cache_folder() -> Path:
    """Where packed pictures are kept: ``$REIDLAB_CACHE``, else ``~/.cache/reidlab``."""
    return Path(os.environ.get("REIDLAB_CACHE") or Path.home() / ".cache" / "reidlab")


def _place(spec: str) -> Path:
    """Cache file of what `spec` describes."""
    return cache_folder() / f"{hashlib.sha256(spec.encode()).hexdigest()[:20]}.npy"


def _packed(spec: str, source: Dataset, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8, memory-mapped from the cache; made by all cores when absent."""
    file = _place(spec)
    if not file.exists():
        loader = DataLoader(source, batch_size=64, num_workers=min(8, os.cpu_count() or 1),
                            collate_fn=np.stack)
        packed = np.concatenate(list(loader))
        try:
            write_whole(file, lambda out: np.save(out, packed))
        except ReidlabError:
            return packed  # no room to keep it: work from memory
    return np.load(file, mmap_mode="r")


class _Drawn(Dataset):
    def __init__(self, world: World, keys: list):
        self.world, self.keys = world, keys

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, k: int) -> np.ndarray:
        return self.world.picture(*self.keys[k])


class _Files(Dataset):
    def __init__(self, paths: list[Path], size: tuple[int, int]):
        self.paths, self.size = paths, size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, k: int) -> np.ndarray:
        return text_image.open_picture(self.paths[k], self.size)


class Sampler:
    """Chooses the pictures and captions of every training step.

    With one image a person, rows are shuffled passes over the split (twice over it, when half
    of the rows carry another person's clothing caption). With several, each person of a batch
    brings that many pictures, in as many outfits as possible.

    Args:
        split: the training split.
        data: sampling fields.
        batch_size: images over all processes.
        seed: fixes everything.
    """

    def __init__(self, split: Split, data: Data, batch_size: int, seed: int):
        self.split, self.data, self.batch_size, self.seed = split, data, batch_size, seed
        self.pids = split.pids
        _, self.labels = np.unique(self.pids, return_inverse=True)
        self.outfits = split.outfits
        self.wardrobes = defaultdict(lambda: defaultdict(list))
        for k, (pid, outfit) in enumerate(zip(self.pids, self.outfits, strict=True)):
            self.wardrobes[pid][outfit].append(k)
        self.people = sorted(self.wardrobes)
        if len(self.people) * data.images_per_person < batch_size:
            raise ReidlabError(
                f"a batch of {batch_size} needs {batch_size // data.images_per_person} people at "
                f"{data.images_per_person} images each; the training split has "
                f"{len(self.people)}: lower training.batch_size")
        self.rows = len(split.records) * (2 if data.unmatched else 1)
        self._passes = lru_cache(maxsize=2)(self._pass)
        self._similar, self._said = None, defaultdict(list)
        if data.unmatched and data.negatives == "similar":
            for k, record in enumerate(split.records):
                for c, phrase in enumerate(record.cloth_captions):
                    self._said[phrase].append((k, c))
            self._similar = SimilarCaptions([phrase for phrase in self._said if phrase])

    @property
    def batches_per_pass(self) -> int:
        """Steps that see as many rows as the split has."""
        return max(1, self.rows // self.batch_size)

    def _pass(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 1, number])
        if self.data.images_per_person == 1:
            return rng.permutation(self.rows) % len(self.split.records)
        picks = []
        while len(picks) < self.batches_per_pass * self.batch_size:
            for p in rng.permutation(len(self.people)):
                picks.extend(self._outfits_first(self.wardrobes[self.people[p]], rng))
            spare = len(picks) % self.batch_size  # so that no batch holds a person twice
            picks = picks[:len(picks) - spare] if spare else picks
        return np.array(picks)

    def _outfits_first(self, wardrobe: dict, rng: np.random.Generator) -> list[int]:
        piles = [rng.permutation(pile).tolist() for pile in wardrobe.values()]
        order = [pile[k] for k in range(max(map(len, piles)))
                 for pile in (piles[j] for j in rng.permutation(len(piles))) if k < len(pile)]
        want = self.data.images_per_person
        return (order * -(-want // len(order)))[:want]

    def pick(self, step: int) -> list[tuple[int, int, int, int]]:
        """Rows of one step: (picture, its caption, picture and caption of the clothing text)."""
        number, k = divmod(step, self.batches_per_pass)
        pictures = self._passes(number)[k * self.batch_size:(k + 1) * self.batch_size]
        rng = np.random.default_rng([self.seed, 2, step])
        return [self._row(int(p), rng) for p in pictures]

    def _row(self, picture: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        records = self.split.records
        caption = int(rng.integers(len(records[picture].captions)))
        if rng.random() >= self.data.unmatched:
            return picture, caption, picture, caption
        own = records[picture].cloth_captions[caption]
        for _ in range(100):  # another person's clothes, in other words
            other, said = self._other(own, rng)
            phrase = records[other].cloth_captions[said]
            if self.pids[other] != self.pids[picture] and phrase and phrase != own:
                return picture, caption, other, said
        raise ReidlabError("no fitting other clothing caption in the training split; "
                           "set data.unmatched=0")


    def _other(self, own: str, rng: np.random.Generator) -> tuple[int, int]:
        """A picture and one of its captions: any, or one that nearly fits `own`."""
        near = self._similar.near(own) if self._similar and own else []
        if near:
            places = self._said[near[int(rng.integers(len(near)))]]
            return places[int(rng.integers(len(places)))]
        other = int(rng.integers(len(self.split.records)))
        return other, int(rng.integers(len(self.split.records[other].captions)))


class Batches:
    """Turns sampled rows into augmented tensors.

    Args:
        split: the training split.
        experiment: sampling, size and seed.
    """

    def __init__(self, split: Split, experiment: Experiment):
        self.split, self.data, self.seed = split, experiment.data, experiment.seed
        self.sampler = Sampler(split, self.data, experiment.training.batch_size, self.seed)
        self.matching = experiment.loss if experiment.loss.weights.matching else None

    def __call__(self, step: int, shard: slice = slice(None), device="cpu",
                 progress: float = 1.0) -> Batch:
        """The batch of one step.

        Args:
            step: from 0.
            shard: which rows' pictures to load.
            device: where tensors go.
            progress: share of training done; rival texts come when ``matching_from`` is reached.
        """
        rows, records = self.sampler.pick(step), self.split.records
        pictures, described = [r[0] for r in rows], [r[2] for r in rows]
        images = self.split.images[pictures[shard]]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        rival_text = None
        if (self.matching and progress >= self.matching.matching_from
                and step % self.matching.matching_every == 0):
            rival_text = self._rivals(step, pictures, described, rows)
        return Batch(
            rival_text=rival_text,
            image=augment(images, self.data, generator, len(rows), shard).to(device), shard=shard,
            id_text=[records[p].id_captions[c] for p, c, _, _ in rows],
            cloth_text=[records[q].cloth_captions[c] for _, _, q, c in rows],
            pid=torch.from_numpy(self.sampler.labels[pictures]).to(device),
            outfit=torch.from_numpy(self.sampler.outfits[pictures]).to(device),
            cloth_outfit=torch.from_numpy(self.sampler.outfits[described]).to(device),
            is_matched=torch.tensor([r[0] == r[2] for r in rows], device=device))


    def _rivals(self, step: int, pictures: list, described: list, rows: list) -> list[str]:
        records, rng = self.split.records, np.random.default_rng([self.seed, 3, step])
        texts = [f"{records[p].id_captions[c]} {records[q].cloth_captions[d]}".strip()
                 for p, c, q, d in rows]
        who, worn = self.sampler.pids[pictures], self.sampler.outfits[described]
        return rivals(texts, (who[:, None] == who) & (worn[:, None] == worn), rng)


def to_tensor(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float in [-1, 1] (mean .5, std .5)."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    return pixels.float().div_(127.5).sub_(1.0)


def augment(images: np.ndarray, data: Data, generator: torch.Generator, batch_size: int,
            shard: slice) -> Tensor:
    """Mirror, shift and relight pictures, each by its own draw.

    Draws are made for the whole batch and cut to the shard, so processes agree. Mirroring and
    shifting are one look-up of bytes; what is shifted in repeats the border.

    Args:
        images: (b, H, W, 3) uint8 of the shard.

    Returns:
        (b, 3, H, W) float, in [-1, 1] but for the relighting.
    """
    draws = torch.rand(batch_size, 5, generator=generator)[shard]
    height, width = images.shape[1:3]
    down, right = (draws[:, 3:].numpy() * (2 * data.crop + 1)).astype(int).T - data.crop
    rows = np.clip(down[:, None] + np.arange(height), 0, height - 1)
    columns = np.clip(right[:, None] + np.arange(width), 0, width - 1)
    mirrored = draws[:, 0].numpy() < data.flip
    columns[mirrored] = width - 1 - columns[mirrored]
    each = np.arange(len(images))[:, None, None]
    image = to_tensor(images[each, rows[:, :, None], columns[:, None, :]])
    if data.jitter:
        light, contrast = (1 + data.jitter * (2 * draws[:, 1:3] - 1)).T
        image = image.add(1).div(2)
        image = kornia.enhance.adjust_brightness_accumulative(image, light)
        image = kornia.enhance.adjust_contrast_with_mean_subtraction(image, contrast)
        image = image.mul(2).sub(1)
    return image.contiguous()
