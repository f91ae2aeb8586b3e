"""From records to batches: who meets whom in a training step.

Every random choice is a function of (seed, step) over the whole batch, so that a resumed run,
and a run shared by several processes, see what one uninterrupted process would have seen.
"""
from collections import defaultdict
from functools import lru_cache

import numpy as np
import torch

from reidlab.config import Data, Experiment
from reidlab.data.augmentation import augment
from reidlab.data.negatives import SimilarCaptions, rivals
from reidlab.data.records import Batch, Split
from reidlab.errors import ReidlabError


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
