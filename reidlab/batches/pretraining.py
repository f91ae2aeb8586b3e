"""Batches of synthetic people that no design ever trains or is scored on, rendered as needed.

Every batch is a function of (seed, step): a run that goes on sees what it would have seen.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reidlab.synthetic.world import World

WORLD = 2**31 + 1  # no experiment may have it: data.seed ends at 2**31
KEEP = 0.15  # share of words that the text encoder has to guess


@dataclass(frozen=True)
class Recipe:
    """What a batch is made of.

    Attributes:
        people, outfits: a grid, each person in each outfit, so that neither the person nor the
            clothes alone tell which caption is whose.
        tracklets: people who are shown twice in one outfit, as a tracker gives them.
        size: (height, width) of pictures in pixels.
    """

    people: int = 8
    outfits: int = 4
    tracklets: int = 16
    size: tuple[int, int] = (96, 48)

    @property
    def pictures(self) -> int:
        """Pictures in a batch."""
        return self.people * self.outfits + 2 * self.tracklets


@dataclass(frozen=True)
class PretrainingBatch:
    """One step's pictures and whole captions.

    Attributes:
        image: (B, H, W, 3) uint8: the grid, then first shots, then second shots of the tracklets.
        captions: one whole caption for each picture of the grid and each first shot.
    """

    image: Tensor
    captions: list[str]


def keys(recipe: Recipe, seed: int, step: int) -> list[tuple[int, int, int]]:
    """(person, outfit, shot) of each picture of one step; no person or outfit comes twice.

    Args:
        recipe: of what.
        seed: of the run.
        step: from 0.
    """
    rng = np.random.default_rng([seed, step])
    count, worn = recipe.people + recipe.tracklets, recipe.outfits + recipe.tracklets
    person, outfit = step * count, step * worn
    shots = rng.integers(4, size=(recipe.people, recipe.outfits))
    grid = [(person + p, outfit + o, int(shots[p, o]))
            for p in range(recipe.people) for o in range(recipe.outfits)]
    first = [(person + recipe.people + t, outfit + recipe.outfits + t, 0)
             for t in range(recipe.tracklets)]
    return [*grid, *first, *((p, o, 1) for p, o, _ in first)]


class Steps(Dataset):
    """The batches of steps `start` to `stop`, in order; index k is step start + k."""

    def __init__(self, recipe: Recipe, seed: int, start: int, stop: int):
        self.recipe, self.seed, self.start, self.stop = recipe, seed, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, k: int) -> PretrainingBatch:
        world = World(WORLD, self.recipe.size)
        chosen = keys(self.recipe, self.seed, self.start + k)
        captions = [world.describe(*key) for key in chosen[:len(chosen) - self.recipe.tracklets]]
        return PretrainingBatch(
            torch.from_numpy(np.stack([world.picture(*key) for key in chosen])),
            [f"{said.id_caption} {said.cloth_caption}" for said in captions])


def stream(recipe: Recipe, seed: int, start: int, stop: int, workers: int = 1) -> DataLoader:
    """Batches in order, rendered by processes of their own, a few steps ahead."""
    return DataLoader(Steps(recipe, seed, start, stop), batch_size=None, num_workers=workers,
                      prefetch_factor=4 if workers else None, collate_fn=lambda batch: batch)


def mask_words(ids: Tensor, mask: Tensor, special: set[int], blank: int, generator
               ) -> tuple[Tensor, Tensor]:
    """Blank out some words.

    Args:
        ids: (B, L) token ids; mask: (B, L) 1 where there is a token.
        special: ids that are never blanked, such as [CLS].
        blank: id of [MASK].
        generator: of the choice.

    Returns:
        ids (B, L) with blanks, and labels (B, L), −100 where nothing is asked.

    Source: BERT, arXiv:1810.04805, without its random and kept words.
    """
    words = (mask == 1) & ~torch.isin(ids, torch.tensor(sorted(special)))
    chosen = words & (torch.rand(ids.shape, generator=generator) < KEEP)
    return ids.masked_fill(chosen, blank), ids.masked_fill(~chosen, -100)
