"""Batches of synthetic people that no design ever trains or is scored on, rendered as needed.

Rendering costs more than a training step. So a *block* of people is rendered at a time, and each
picture of it serves a few steps. Every batch is a function of (seed, step): a run that goes on sees
what it would have seen.
"""
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reidlab.synthetic.world import World

WORLD = 2**31 + 1  # no experiment may have it: data.seed ends at 2**31
BLANKED = 0.15  # share of words that have to be guessed
GREY = 0.3   # share of second shots whose three channels are one


@dataclass(frozen=True)
class Recipe:
    """What a batch is made of. Everybody is shown twice in an outfit, as a tracker gives them.

    Steps take turns: a grid of people in the same outfits, whom clothes alone do not tell apart;
    and others, each in an outfit of their own.

    Attributes:
        people, outfits: of a grid, each person in each outfit.
        others: of the steps between.
        steps: steps that one block serves. It holds twice the people of a grid, in its outfits,
            and twice the others.
        size: (height, width) of pictures in pixels.
    """

    people: int = 128
    outfits: int = 1
    others: int = 128
    steps: int = 24
    size: tuple[int, int] = (96, 48)


@dataclass(frozen=True)
class PretrainingBatch:
    """One step's pictures and whole captions, or one block's.

    Attributes:
        image: (T, 2, H, W, 3) uint8, two shots of each person in one outfit.
        captions: T pairs of whole captions, one a shot.
    """

    image: Tensor
    captions: list[tuple[str, str]]

    def rows(self, chosen: list[int]) -> "PretrainingBatch":
        """Some of the tracklets."""
        return PretrainingBatch(self.image[chosen], [self.captions[k] for k in chosen])


def block_keys(recipe: Recipe, block: int) -> list[tuple[int, int]]:
    """(person, outfit) of each tracklet of a block: its grid, row by row, then the others.

    Nobody and no outfit is in two blocks.
    """
    people, outfits, others = 2 * recipe.people, recipe.outfits, 2 * recipe.others
    person, outfit = block * (people + others), block * (outfits + others)
    return ([(person + p, outfit + o) for p in range(people) for o in range(outfits)]
            + [(person + people + k, outfit + outfits + k) for k in range(others)])


def chosen_rows(recipe: Recipe, seed: int, step: int) -> list[int]:
    """Rows of its block that a step shows: a grid at even steps, others at odd ones."""
    rng, outfits = np.random.default_rng([seed, step]), recipe.outfits
    if step % 2:
        first = 2 * recipe.people * outfits
        return (first + rng.permutation(2 * recipe.others)[:recipe.others]).tolist()
    people = rng.permutation(2 * recipe.people)[:recipe.people].tolist()
    return [p * outfits + o for p in people for o in range(outfits)]


class Blocks(Dataset):
    """Rendered blocks `start` to `stop`; index k is block start + k."""

    def __init__(self, recipe: Recipe, start: int, stop: int):
        self.recipe, self.start, self.stop = recipe, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, k: int) -> PretrainingBatch:
        world = World(WORLD, self.recipe.size)
        keys = block_keys(self.recipe, self.start + k)
        return PretrainingBatch(
            torch.from_numpy(np.stack([[world.picture(*key, shot) for shot in (0, 1)]
                                       for key in keys])),
            [(_whole(world, *key, 0), _whole(world, *key, 1)) for key in keys])


def _whole(world: World, person: int, outfit: int, shot: int) -> str:
    said = world.describe(person, outfit, shot)
    return f"{said.id_caption} {said.cloth_caption}"


def stream(recipe: Recipe, seed: int, start: int, stop: int, workers: int = 1
           ) -> Iterator[PretrainingBatch]:
    """Batches of steps `start` to `stop`, from blocks that other processes render ahead."""
    first = start // recipe.steps
    blocks = DataLoader(Blocks(recipe, first, -(-stop // recipe.steps)), batch_size=None,
                        num_workers=workers, prefetch_factor=4 if workers else None,
                        collate_fn=lambda block: block)
    for number, block in enumerate(blocks, start=first):
        begins = number * recipe.steps
        for step in range(max(start, begins), min(stop, begins + recipe.steps)):
            yield block.rows(chosen_rows(recipe, seed, step))


def augmented(batch: PretrainingBatch, generator: torch.Generator) -> tuple[Tensor, list[str]]:
    """A step's pictures, and one caption a tracklet.

    Which of the two shots comes first, and is captioned, is left to chance; so is mirroring. Some
    second shots show one channel in place of all three.

    Args:
        batch: T tracklets.
        generator: of the choices.

    Returns:
        (2T, H, W, 3) uint8, first shots, then second shots, and T captions.
    """
    count = len(batch.captions)
    first = torch.randint(2, (count,), generator=generator)
    row = torch.arange(count)
    image = torch.cat([batch.image[row, first], batch.image[row, 1 - first]])
    mirrored = torch.rand(2 * count, generator=generator) < 0.5
    image[mirrored] = image[mirrored].flip(2)
    grey = torch.rand(count, generator=generator) < GREY
    channel = torch.randint(3, (count,), generator=generator)
    for k in grey.nonzero().flatten().tolist():
        image[count + k] = image[count + k, ..., channel[k], None]
    captions = [batch.captions[k][shot] for k, shot in enumerate(first.tolist())]
    return image, captions


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
    chosen = words & (torch.rand(ids.shape, generator=generator) < BLANKED)
    return ids.masked_fill(chosen, blank), ids.masked_fill(~chosen, -100)
