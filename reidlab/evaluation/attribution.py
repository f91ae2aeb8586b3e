"""Which word and which patch a score comes from, exactly.

With linear heads, query pooling and a mean over the words, a score is a sum over all pairs of a
word and a patch. Nothing is approximated: the pairs add up to the score.

Shapes: L words, N image tokens (the first is CLS), E embedding width.
"""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.data.packing import to_tensor
from reidlab.disentangle.queries import QueryDisentangler
from reidlab.encoders.pooling import MaskedMean, QueryPool
from reidlab.errors import ReidlabError
from reidlab.models.heads import LinearHeads
from reidlab.models.modes import evaluating

SIDES = ("identity", "cloth")


@dataclass(frozen=True)
class Attribution:
    """What each pair of a word and a patch adds to one score.

    Constants (biases, the BatchNorms' means) go to patches by their attention and evenly to words.

    A patch's token has read the whole picture and a word's state the whole sentence: the pairs say
    where the score is collected, not where the evidence first stood.

    Attributes:
        words: L, special tokens included.
        pairs: (L, N), whose sum is the score.
        grid: (rows, columns) of patches.
    """

    words: list[str]
    pairs: np.ndarray
    grid: tuple[int, int]

    @property
    def score(self) -> float:
        """The score that is shared out."""
        return float(self.pairs.sum())

    def patches(self, word: int | None = None) -> np.ndarray:
        """(rows, columns) of one word, or of all words together; CLS is left out."""
        row = self.pairs.sum(axis=0) if word is None else self.pairs[word]
        return row[1:].reshape(self.grid)

    def of_words(self) -> np.ndarray:
        """(L,) what each word adds, over all patches and CLS."""
        return self.pairs.sum(axis=1)


@torch.inference_mode()
def attribute(model, image: np.ndarray, text: str, side: str, mirror: bool = False) -> Attribution:
    """Share out the score of one picture with one description.

    Args:
        model: a `TextImageModel` such as ``corrected``.
        image: (H, W, 3) uint8.
        text: what is said of that side.
        side: ``identity`` or ``cloth``.
        mirror: the score is of the mean vector of the picture and its mirror image; what a patch
            adds in the mirror image is laid where it is in the picture.

    Raises:
        ReidlabError: unknown side, empty text, or a design whose score is no such sum.
    """
    if side not in SIDES:
        raise ReidlabError(f"unknown side {side!r}; known: {', '.join(SIDES)}")
    if not text.strip():
        raise ReidlabError(f"no words to share the {side} score among; the description says "
                           "nothing of that side")
    heads = model.id_heads if side == "identity" else model.cloth_heads
    if not (isinstance(model.disentangle, QueryDisentangler) and isinstance(heads, LinearHeads)
            and isinstance(model.text_encoder.pool, MaskedMean)):
        raise ReidlabError("only designs with query pooling, linear heads and mean-pooled text "
                           "have scores that are sums over words and patches; use corrected")
    with evaluating(model):
        return _credit(model, heads, image, text, side, mirror)


def _credit(model, heads: LinearHeads, image: np.ndarray, text: str, side: str, mirror: bool
            ) -> Attribution:
    pixels, patch = to_tensor(image[None]), model.visual_encoder.config.patch_size
    grid = (image.shape[0] // patch, image.shape[1] // patch)
    patches = _picture_shares(model, pixels, heads, side)                       # (N, E)
    if mirror:
        patches = patches + _turned(_picture_shares(model, pixels.flip(-1), heads, side), grid)
        patches = patches / patches.sum(dim=0).norm()
    states, mask = model.text_encoder.states([text])
    states = states[0][mask[0] > 0]
    even = torch.full_like(states[:, 0], 1 / len(states))
    words = _through(heads.text_head, states / len(states), even)               # (L, E)
    ids = model.text_encoder.tokens.ids(text)
    return Attribution(
        words=model.text_encoder.tokens.tokenizer.convert_ids_to_tokens(ids),
        pairs=((words / words.sum(dim=0).norm()) @ patches.T).float().cpu().numpy(),
        grid=grid)


def _turned(shares: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, E) of a mirror image, each patch laid where it is in the picture; CLS stays first."""
    patches = shares[1:].unflatten(0, grid).flip(1).flatten(0, 1)
    return torch.cat([shares[:1], patches])


def _picture_shares(model, pixels: Tensor, heads: LinearHeads, side: str) -> Tensor:
    """(1, 3, H, W) → (N, E), whose sum over N is the unit-norm vector."""
    encoder = model.visual_encoder
    tokens = encoder(pixels.to(encoder.device)).last_hidden_state               # (1, N, D)
    pooled, weights = _pooled_shares(getattr(model.disentangle, side), tokens)
    shares = _through(heads.image_head, pooled, weights)
    shares = shares / shares.sum(dim=0).norm()
    if side == "identity" and not isinstance(model.concept_eraser, nn.Identity):
        eraser, mean = model.concept_eraser, weights[:, None] * model.concept_eraser.mean
        shares = (shares - mean) @ eraser.projection.T + mean
        shares = shares / shares.sum(dim=0).norm()
    return shares


def _pooled_shares(pool: QueryPool, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(1, N, D) → what each token adds to the pooled vector, (N, D), and its mean weight, (N,)."""
    attention = pool.attention
    maps: list[Tensor] = []
    pool(tokens, maps)
    weights = maps[0][0, :, 0]                                                  # (heads, N)
    values = F.linear(tokens[0], *(x.chunk(3)[2] for x in (
        attention.in_proj_weight, attention.in_proj_bias)))                     # (N, D)
    values = values.view(len(values), len(weights), -1) * weights.T[..., None]  # by heads
    mean = weights.mean(dim=0)
    return (F.linear(values.flatten(1), attention.out_proj.weight)
            + mean[:, None] * attention.out_proj.bias), mean


def _through(head: nn.Sequential, shares: Tensor, parts: Tensor) -> Tensor:
    """A head in eval mode is affine: its constant goes to the shares in given parts."""
    constant = head(torch.zeros_like(shares[:1]))
    return head(shares) - constant + parts[:, None] * constant
