"""What teaches a picture encoder and a BERT without names, factors or divided captions.

Shapes: B pictures, T captions, D encoder width, E width of the compared vectors, V vocabulary.
"""
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import Image, Text
from reidlab.encoders.bert import TextEncoder
from reidlab.encoders.pooling import MaskedMean
from reidlab.encoders.resnet import build_resnet
from reidlab.encoders.vit import build_vit
from reidlab.losses.contrastive import info_nce


class WholeCaptions(nn.Module):
    """One vector a picture and one a caption, from the mean over all tokens; and words that look at
    the picture.

    Args:
        image, text: the encoders.
        tokenizer: of the captions.
        backbone: ``vit`` or ``resnet``.
        width: E.
    """

    def __init__(self, image: Image, text: Text, tokenizer,
                 backbone: Literal["vit", "resnet"] = "vit", width: int = 256):
        super().__init__()
        self.images = build_vit(image) if backbone == "vit" else build_resnet(image, 10)
        self.text = TextEncoder(text, tokenizer)
        self.pool = MaskedMean()
        self.image_head, self.text_head = (
            nn.Sequential(nn.Linear(dim, width), nn.BatchNorm1d(width))
            for dim in (image.dim, self.text.dim))
        self.look = nn.MultiheadAttention(self.text.dim, 4, kdim=image.dim, vdim=image.dim,
                                          batch_first=True)
        self.words = nn.Sequential(nn.LayerNorm(self.text.dim),
                                   nn.Linear(self.text.dim, len(tokenizer)))
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, image: Tensor, ids: Tensor, mask: Tensor) -> "Seen":
        """(B, 3, H, W), of which T come first, (T, L) ids and mask → vectors of both, and words."""
        states = self.text.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        found = self.images(image).last_hidden_state          # (B, N, D) or (B, D, h, w)
        tokens = found if found.dim() == 3 else found.flatten(2).transpose(1, 2)
        shown = tokens[:len(states)]
        looked = states + self.look(states, shown, shown, need_weights=False)[0]
        return Seen(self.image_head(self.pool(tokens)).float(),
                    self.text_head(self.pool(states, mask)).float(), looked)


class Seen(NamedTuple):
    """What the model makes of a batch.

    Attributes:
        pictures: (B, E); texts: (T, E).
        states: (T, L, D) of the text's tokens, each after a look at its own picture.
    """

    pictures: Tensor
    texts: Tensor
    states: Tensor


def pretraining_losses(model: WholeCaptions, seen: Seen, asked: Tensor) -> dict[str, Tensor]:
    """Three terms that need no label.

    Args:
        model: whose encoders learn.
        seen: T captioned pictures, T second shots of the same tracklets, and T captions.
        asked: (T, L) the blanked words, −100 elsewhere.

    Returns:
        ``captions`` (each shot against the first one's whole caption), ``tracklets`` (two shots of
        one person in one outfit), ``words`` (the blanked words, from the others and the picture),
        and ``total``; nats.

    Source: words that look at the picture, implicit relation reasoning of IRRA, arXiv:2303.12501,
    with one layer.
    """
    temperature = 1 / model.log_scale.clamp(max=4.6).exp()
    first, second = seen.pictures.chunk(2)
    terms = {"captions": (info_nce(first, seen.texts, temperature=temperature)
                          + info_nce(second, seen.texts, temperature=temperature)) / 2,
             "tracklets": info_nce(first, second, temperature=temperature)}
    chosen = asked >= 0
    guessed = model.words(seen.states[chosen].float())
    terms["words"] = F.cross_entropy(guessed, asked[chosen]) if len(guessed) else guessed.sum()
    return terms | {"total": torch.stack(list(terms.values())).sum()}
