"""What teaches a ViT and a BERT without names, factors or divided captions.

Shapes: B pictures, T captions, D encoder width, E width of the compared vectors, V vocabulary.
"""
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import Image, Text
from reidlab.encoders.bert import TextEncoder
from reidlab.encoders.pooling import MaskedMean
from reidlab.encoders.vit import build_vit
from reidlab.losses.contrastive import info_nce


class WholeCaptions(nn.Module):
    """One vector a picture and one a caption, from the mean over all tokens.

    Args:
        image, text: the encoders.
        tokenizer: of the captions.
        width: E.
    """

    def __init__(self, image: Image, text: Text, tokenizer, width: int = 256):
        super().__init__()
        self.vit, self.text = build_vit(image), TextEncoder(text, tokenizer)
        dim = self.text.dim
        self.pool = MaskedMean()
        self.image_head, self.text_head = (
            nn.Sequential(nn.Linear(dim, width), nn.BatchNorm1d(width)) for _ in range(2))
        self.words = nn.Linear(dim, len(tokenizer))
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, image: Tensor, ids: Tensor, mask: Tensor) -> "Seen":
        """(B, 3, H, W), (T, L) ids and mask → vectors of both, and token states."""
        states = self.text.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        pictures = self.image_head(self.pool(self.vit(image).last_hidden_state))
        return Seen(pictures.float(), self.text_head(self.pool(states, mask)).float(), states)


class Seen(NamedTuple):
    """What the model makes of a batch.

    Attributes:
        pictures: (B, E); texts: (T, E).
        states: (T, L, D) of the text's tokens.
    """

    pictures: Tensor
    texts: Tensor
    states: Tensor


def pretraining_losses(model: WholeCaptions, seen: Seen, asked: Tensor, tracklets: int
                       ) -> dict[str, Tensor]:
    """Three terms that need no label.

    Args:
        model: whose encoders learn.
        seen: T captioned pictures, then second shots of the last ones, and T captions.
        asked: (T, L) the blanked words, −100 elsewhere.
        tracklets: second shots among the pictures.

    Returns:
        ``captions`` (picture against whole caption), ``tracklets`` (two shots of one person in one
        outfit), ``words`` (the blanked words), and ``total``; nats.
    """
    temperature = 1 / model.log_scale.clamp(max=4.6).exp()
    captioned = len(seen.texts)
    terms = {"captions": info_nce(seen.pictures[:captioned], seen.texts, temperature=temperature)}
    if tracklets:
        terms["tracklets"] = info_nce(seen.pictures[captioned - tracklets:captioned],
                                      seen.pictures[captioned:], temperature=temperature)
    chosen = asked >= 0
    guessed = model.words(seen.states[chosen].float())
    terms["words"] = F.cross_entropy(guessed, asked[chosen]) if len(guessed) else guessed.sum()
    return terms | {"total": torch.stack(list(terms.values())).sum()}
