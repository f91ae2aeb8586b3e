"""Batches of visible and infrared pictures of the same people, position by position.

Every random choice is a function of (seed, step), so that a resumed run sees what an
uninterrupted one would have seen.
"""
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from reidlab.batches.augmentation import augment, exchange_channels, random_erasing
from reidlab.batches.loading import moved
from reidlab.config import VisibleInfraredExperiment
from reidlab.data.records import CrossModalSplit
from reidlab.errors import ReidlabError


@dataclass(frozen=True)
class VisibleInfraredBatch:
    """One step's pictures.

    Several processes share a batch: each has b of the B rows of either modality, and all labels.

    Attributes:
        visible, infrared: (b, 3, H, W); row i of both is the same person. (b, H, W, 3) bytes on
            their way to the device.
        pid: (2B,) contiguous training labels, visible rows first; −1 for a picture without a
            name, whose row in the other modality is anybody.
        aligned: whether row i of both modalities is one shot, in one place, patch for patch the
            same; rows without a name never are.
        shard: which of the B rows the pictures are.
    """

    visible: Tensor
    infrared: Tensor
    pid: Tensor
    aligned: bool = False
    shard: slice = field(default_factory=lambda: slice(None))


class VisibleInfraredBatches:
    """P people × K pictures in each modality.

    Where only some people have names, they fill their share of a batch and the rest are pictures
    drawn at random, without a name and without a partner.

    Early in training, where the data allow it and ``data.aligned_until`` says so, both pictures of
    a row are one shot and differ in nothing but the modality; later they are any two of the person.
    Pictures
    without a name stay apart: which two of them belong together is what a name would tell.

    Args:
        pair: the training split.
        experiment: sampling, augmentation and seed; ``training.batch_size`` counts visible
            pictures.

    Raises:
        ReidlabError: fewer people in both modalities than a batch needs.
    """

    def __init__(self, pair: CrossModalSplit, experiment: VisibleInfraredExperiment):
        self.pair, self.data, self.seed = pair, experiment.data, experiment.seed
        self.per_person, self.batch_size = self.data.images_per_person, (
            experiment.training.batch_size)
        self.piles: list[dict[int, list[int]]] = [defaultdict(list), defaultdict(list)]
        for pile, split in zip(self.piles, (pair.visible, pair.infrared), strict=True):
            for k, record in enumerate(split.records):
                pile[record.pid].append(k)
        everybody = sorted(set(self.piles[0]) & set(self.piles[1]))
        self.people = everybody[:max(2, round(len(everybody) * self.data.labelled_fraction))]
        unlabelled = set(everybody) - set(self.people)
        self.unlabelled = [
            [k for pid in sorted(unlabelled) for k in pile[pid]] for pile in self.piles
        ]
        identities = self.batch_size // self.per_person
        self.people_a_batch = (
            max(2, round(identities * self.data.labelled_fraction)) if unlabelled else identities
        )
        if len(self.people) < max(2, self.people_a_batch):
            raise ReidlabError(
                f"a batch of {self.batch_size} needs {self.people_a_batch} people "
                f"seen in both modalities; the training split has {len(self.people)}: lower "
                "training.batch_size")
        self.batches_per_pass = max(1, len(self.people) // self.people_a_batch)

    def pick(self, step: int, progress: float = 1.0) -> tuple[list[int], list[int], list[int]]:
        """Visible pictures, infrared pictures and labels (−1: no name) of one step, B each."""
        number, k = divmod(step, self.batches_per_pass)
        order = np.random.default_rng([self.seed, 11, number]).permutation(len(self.people))
        rng = np.random.default_rng([self.seed, 12, step])
        chosen: tuple[list[int], list[int], list[int]] = ([], [], [])
        for n in order[k * self.people_a_batch:(k + 1) * self.people_a_batch]:
            pid = self.people[n]
            visible, infrared = (self._draw(pile[pid], rng) for pile in self.piles)
            if self._aligned(progress):
                infrared = [self.piles[1][pid][self.piles[0][pid].index(v)] for v in visible]
            for found, more in zip(chosen, (visible, infrared, [int(n)] * self.per_person),
                                   strict=True):
                found.extend(more)
        spare = self.batch_size - len(chosen[2])
        if spare:
            for found, rest in zip(chosen[:2], self.unlabelled, strict=True):
                found.extend(int(k) for k in rng.choice(rest, spare, replace=spare > len(rest)))
            chosen[2].extend([-1] * spare)
        return chosen

    def _draw(self, pile: list[int], rng: np.random.Generator) -> list[int]:
        """K of a pile, each as often as any other."""
        rounds = -(-self.per_person // len(pile))
        return [pile[k] for _ in range(rounds) for k in rng.permutation(len(pile))
                ][:self.per_person]

    def __call__(self, step: int, shard: slice = slice(None), progress: float = 1.0,
                 device="cpu") -> VisibleInfraredBatch:
        """The batch of one step.

        Args:
            step: from 0.
            shard: which rows' pictures to load, in either modality.
            progress: share of training done.
            device: where tensors go.
        """
        return self.finish(self.read(step, shard, progress), step, device)

    def read(self, step: int, shard: slice = slice(None), progress: float = 1.0
             ) -> VisibleInfraredBatch:
        """What a worker does for the batch of one step: its pictures are bytes, on the CPU."""
        visible, infrared, labels = self.pick(step, progress)
        pixels = [torch.from_numpy(np.array(split.images[rows[shard]])) for split, rows in
                  ((self.pair.visible, visible), (self.pair.infrared, infrared))]
        return VisibleInfraredBatch(pixels[0], pixels[1], torch.tensor(labels + labels),
                                    self._aligned(progress), shard)

    def finish(self, batch: VisibleInfraredBatch, step: int, device="cpu") -> VisibleInfraredBatch:
        """What is left to do where the model is: augmentation."""
        batch, count = moved(batch, lambda x: x.to(device, non_blocking=True)), self.batch_size
        both = []
        for number, pixels in enumerate((batch.visible, batch.infrared)):
            shift = torch.Generator().manual_seed(self.seed * 1_000_003 + step)  # one for both
            image = augment(pixels, self.data, shift, count, batch.shard)
            hide = torch.Generator().manual_seed(self.seed * 1_000_003 + 2 * step + number)
            both.append(random_erasing(image, self.data.random_erasing, hide, count, batch.shard))
        both[0] = exchange_channels(both[0], self.data.channel_exchange, hide, count, batch.shard)
        visible, infrared = (image.contiguous(memory_format=torch.channels_last) for image in both)
        return replace(batch, visible=visible, infrared=infrared)

    def _aligned(self, progress: float) -> bool:
        return self.data.source == "synthetic" and progress < self.data.aligned_until
