"""Batches of pictures and captions: who meets whom in a training step.

Every random choice is a function of (seed, step) over the whole batch, so that a resumed run,
and a run shared by several processes, see what one uninterrupted process would have seen.
"""
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from reidlab.batches.augmentation import augment, random_erasing
from reidlab.batches.loading import moved
from reidlab.config import TextImageExperiment
from reidlab.config.text_image import Data
from reidlab.data.records import Split
from reidlab.errors import ReidlabError


@dataclass(frozen=True)
class Batch:
    """What the model and the losses see in one step.

    Several processes share a batch: `image` holds this process's rows, everything else all B.

    Attributes:
        image: (b, 3, H, W) float in [-1, 1]; (b, H, W, 3) bytes on their way to the device.
        shard: which of the B rows `image` holds.
        id_text, cloth_text: B strings; empty where nothing is said.
        pid: (B,) contiguous training label in [0, C).
        outfit: (B,) outfit of the picture, -1 when unknown.
        cloth_outfit: (B,) outfit that `cloth_text` describes, -1 when unknown.
        is_matched: (B,) bool, whether `cloth_text` describes this very picture; None leaves
            `cloth_match` out.
        says_id, says_cloth: (B,) bool, where `id_text` and `cloth_text` are not empty.
        outfits_known: whether every picture's outfit is known.
        negative_text: B whole descriptions of others in the batch that resemble the own one most;
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
    says_id: Tensor
    says_cloth: Tensor
    outfits_known: bool = True
    negative_text: list[str] | None = None


class Sampler:
    """Chooses the pictures and captions of every training step.

    With one image a person, rows are shuffled passes over the split (twice over it, when half
    of the rows carry another person's clothing caption). With several, each person of a batch
    brings that many pictures, in as many outfits as possible.

    ``data.pairs="sampled"`` throws a coin for each row and draws the other caption each time;
    ``"listed"`` is note 001 §2.2.4: in a pass each picture stands once with its own clothing
    caption and once with another person's, which is drawn once for the whole training.

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
        self.wardrobes: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for k, (pid, outfit) in enumerate(zip(self.pids, self.outfits, strict=True)):
            self.wardrobes[pid][outfit].append(k)
        self.people = sorted(self.wardrobes)
        if len(self.people) * data.images_per_person < batch_size:
            raise ReidlabError(
                f"a batch of {batch_size} needs {batch_size // data.images_per_person} people at "
                f"{data.images_per_person} images each; the training split has "
                f"{len(self.people)}: lower training.batch_size")
        self.rows = len(split.records) * (2 if data.mismatched_fraction else 1)
        self._passes = lru_cache(maxsize=2)(self._pass)
        self._similar, self._said = None, defaultdict(list)
        if data.mismatched_fraction and data.negatives == "similar":
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
            return rng.permutation(self.rows)
        picks: list[int] = []
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
        rows = self._passes(number)[k * self.batch_size:(k + 1) * self.batch_size]
        rng = np.random.default_rng([self.seed, 2, step])
        return [self._row(int(row), rng) for row in rows]

    def _row(self, row: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        records, listed = self.split.records, self.data.pairs == "listed"
        second, picture = divmod(row, len(records))
        caption = int(rng.integers(len(records[picture].captions)))
        if not (second if listed else rng.random() < self.data.mismatched_fraction):
            return picture, caption, picture, caption
        own = records[picture].cloth_captions
        if listed:
            rng = np.random.default_rng([self.seed, 4, picture])
        else:
            own = own[caption:caption + 1]
        for _ in range(100):  # another person's clothes, in other words
            other, said = self._other(own[0], rng)
            phrase = records[other].cloth_captions[said]
            if self.pids[other] != self.pids[picture] and phrase and phrase not in own:
                return picture, caption, other, said
        raise ReidlabError("no fitting other clothing caption in the training split; "
                           "set data.mismatched_fraction=0")

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

    def __init__(self, split: Split, experiment: TextImageExperiment):
        self.split, self.data, self.seed = split, experiment.data, experiment.seed
        self.sampler = Sampler(split, self.data, experiment.training.batch_size, self.seed)

    def __call__(self, step: int, shard: slice = slice(None), device="cpu",
                 hard_negatives: bool = False) -> Batch:
        """The batch of one step.

        Args:
            step: from 0.
            shard: which rows' pictures to load.
            device: where tensors go.
            hard_negatives: choose a wrong description for each row, too.
        """
        return self.finish(self.read(step, shard, hard_negatives), step, device)

    def read(self, step: int, shard: slice = slice(None), hard_negatives: bool = False) -> Batch:
        """What a worker does for the batch of one step: its pictures are bytes, on the CPU."""
        rows, records = self.sampler.pick(step), self.split.records
        pictures, described = [r[0] for r in rows], [r[2] for r in rows]
        negative_text = None
        if hard_negatives:
            negative_text = self._hard_negatives(step, pictures, described, rows)
        id_text = [records[p].id_captions[c] for p, c, _, _ in rows]
        cloth_text = [records[q].cloth_captions[c] for _, _, q, c in rows]
        outfit = self.sampler.outfits[pictures]
        return Batch(
            negative_text=negative_text,
            image=torch.from_numpy(np.array(self.split.images[pictures[shard]])), shard=shard,
            id_text=id_text, cloth_text=cloth_text,
            pid=torch.from_numpy(self.sampler.labels[pictures]),
            outfit=torch.from_numpy(outfit),
            cloth_outfit=torch.from_numpy(self.sampler.outfits[described]),
            is_matched=torch.tensor([r[0] == r[2] for r in rows]),
            says_id=torch.tensor([bool(text) for text in id_text]),
            says_cloth=torch.tensor([bool(text) for text in cloth_text]),
            outfits_known=bool((outfit >= 0).all()))

    def finish(self, batch: Batch, step: int, device="cpu") -> Batch:
        """What is left to do where the model is: augmentation."""
        batch = moved(batch, lambda x: x.to(device, non_blocking=True))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        count = self.sampler.batch_size
        image = augment(batch.image, self.data, generator, count, batch.shard)
        return replace(batch, image=random_erasing(image, self.data.random_erasing, generator,
                                                   count, batch.shard))

    def _hard_negatives(self, step: int, pictures: list, described: list, rows: list) -> list[str]:
        records, rng = self.split.records, np.random.default_rng([self.seed, 3, step])
        texts = [f"{records[p].id_captions[c]} {records[q].cloth_captions[d]}".strip()
                 for p, c, q, d in rows]
        who, worn = self.sampler.pids[pictures], self.sampler.outfits[described]
        return hard_negatives(texts, (who[:, None] == who) & (worn[:, None] == worn), rng)


class SimilarCaptions:
    """Ranks captions by the words they share, rare words counting more (TF-IDF cosine).

    Args:
        captions: all captions of a split; repeated ones count once.
        most: similarity from which two captions say the same, so that neither is a negative.

    Source: note 001 §5.2.2, negatives with similar clothes.
    """

    def __init__(self, captions: list[str], most: float = 0.9):
        from sklearn.feature_extraction.text import TfidfVectorizer  # a second that few need

        self.captions, self.most = list(dict.fromkeys(captions)), most
        self._words = TfidfVectorizer(token_pattern=r"\w+")
        self._rows = self._words.fit_transform(self.captions)
        self.near = lru_cache(maxsize=50_000)(self._near)

    def similarity(self, caption: str) -> np.ndarray:
        """(M,) cosine of `caption` with each of the M distinct captions."""
        return (self._rows @ self._words.transform([caption]).T).toarray()[:, 0]

    def _near(self, caption: str, count: int = 20) -> list[str]:
        """The most similar captions that do not say the same, best first."""
        found = self.similarity(caption)
        order = np.argsort(-found, kind="stable")
        return [self.captions[k] for k in order[found[order] < self.most][:count]]


def hard_negatives(texts: list[str], same: np.ndarray, rng: np.random.Generator) -> list[str]:
    """For each text another of the batch that shares many words with it.

    Args:
        texts: B whole descriptions.
        same: (B, B) bool, where two descriptions mean the same picture content.
        rng: breaks ties, and takes one of the three closest.

    Returns:
        B texts; an own text where nothing else is left.
    """
    words = [set(text.lower().replace(",", " ").replace(".", " ").split()) for text in texts]
    found = []
    for k, own in enumerate(words):
        others = [j for j in range(len(texts)) if not same[k, j]]
        score = {j: len(own & words[j]) / max(1, len(own | words[j])) for j in others}
        best = sorted(others, key=score.__getitem__, reverse=True)[:3]
        found.append(texts[best[int(rng.integers(len(best)))]] if best else texts[k])
    return found
