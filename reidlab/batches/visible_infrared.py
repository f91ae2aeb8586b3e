"""Batches of visible and infrared pictures of the same people, position by position.

Every random choice is a function of (seed, step), so that a resumed run sees what an
uninterrupted one would have seen.
"""
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reidlab.batches.augmentation import augment
from reidlab.config import VisibleInfraredExperiment
from reidlab.data.records import CrossModalSplit
from reidlab.errors import ReidlabError


@dataclass(frozen=True)
class VisibleInfraredBatch:
    """One step's pictures.

    Several processes share a batch: each has b of the B rows of either modality, and all labels.

    Attributes:
        visible, infrared: (b, 3, H, W); row i of both is the same person.
        pid: (2B,) contiguous training labels, visible rows first; −1 for a picture without a
            name, whose row in the other modality is anybody.
        aligned: whether row i of both modalities is one shot, in one place, patch for patch the
            same; rows without a name never are.
    """

    visible: Tensor
    infrared: Tensor
    pid: Tensor
    aligned: bool = False


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
        visible_rows, infrared_rows, labels = self.pick(step, progress)
        both = []
        for number, split, rows in ((0, self.pair.visible, visible_rows),
                                    (1, self.pair.infrared, infrared_rows)):
            shift = torch.Generator().manual_seed(self.seed * 1_000_003 + step)  # one for both
            image = augment(split.images[rows[shard]], self.data, shift, len(rows), shard)
            hide = torch.Generator().manual_seed(self.seed * 1_000_003 + 2 * step + number)
            both.append(random_erasing(image, self.data.random_erasing, hide, len(rows), shard))
        both[0] = exchange_channels(both[0], self.data.channel_exchange, hide, len(labels), shard)
        names = torch.tensor(labels + labels, device=device)
        visible, infrared = (image.to(device, memory_format=torch.channels_last)
                             for image in both)
        return VisibleInfraredBatch(visible, infrared, names, self._aligned(progress))

    def _aligned(self, progress: float) -> bool:
        return self.data.source == "synthetic" and progress < self.data.aligned_until


def random_erasing(image: Tensor, chance: float, generator: torch.Generator,
                   batch_size: int | None = None, shard: slice = slice(None)) -> Tensor:
    """Random erasing: a grey rectangle of 2 to 20 % of the area, on some of the pictures.

    Args:
        image: (b, 3, H, W), the rows of `shard`.
        chance: share of pictures that lose a rectangle.
        batch_size, shard: draws are made for the whole batch and cut, so that processes agree.

    Source: arXiv:1708.04896.
    """
    if not chance:
        return image
    height, width = image.shape[2:]
    draws = torch.rand(batch_size or len(image), 5, generator=generator)[shard]
    area = (0.02 + 0.18 * draws[:, 1]) * height * width
    ratio = 0.3 * (1 / 0.09) ** draws[:, 2]                  # height over width, .3 to 3.3
    tall = (area * ratio).sqrt().clamp(max=height)
    wide = (area / ratio).sqrt().clamp(max=width)
    top, left = draws[:, 3] * (height - tall), draws[:, 4] * (width - wide)
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    inside = (((y >= top[:, None]) & (y < (top + tall)[:, None]))[:, :, None]
              & ((x >= left[:, None]) & (x < (left + wide)[:, None]))[:, None, :])
    inside &= (draws[:, 0] < chance)[:, None, None]
    return image.masked_fill(inside[:, None], 0.0)


def exchange_channels(image: Tensor, chance: float, generator: torch.Generator,
                      batch_size: int | None = None, shard: slice = slice(None)) -> Tensor:
    """Channel exchange: some visible pictures become three copies of one of their channels.

    Colour is what infrared does not have; half of the visible pictures then do without it.

    Args:
        image: (b, 3, H, W) visible pictures, the rows of `shard`.
        chance: share of pictures that lose their colours.
        batch_size, shard: as of `random_erasing`.

    Source: arXiv:2110.04551 (channel augmentation for visible-infrared).
    """
    draws = torch.rand(batch_size or len(image), 2, generator=generator)[shard]
    channel = (draws[:, 1] * 3).long()
    alone = image[torch.arange(len(image)), channel][:, None].expand(-1, 3, -1, -1)
    return torch.where((draws[:, 0] < chance)[:, None, None, None], alone, image)
