"""Run a model over a split once; every score and probe reads what it gives.

Shapes: N pictures, T captions, E embedding width.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reidlab.config import TextImageExperiment
from reidlab.data.packing import to_tensor
from reidlab.data.records import Record, Split
from reidlab.errors import ReidlabError
from reidlab.models.dealing import Deal
from reidlab.models.modes import evaluating


@dataclass(frozen=True)
class Embeddings:
    """Unit-norm vectors of a split.

    Attributes:
        records: N pictures.
        id_image, cloth_image: (N, E) float32.
        id_text, cloth_text: (T, E) float32; zero rows where a caption says nothing of that side.
        picture: (T,) the picture each caption was written for.
        caption: (T,) which of that picture's captions it is.
        tokens: (N, D) mean of the encoder's image tokens, before any split.
    """

    records: list[Record]
    id_image: np.ndarray
    cloth_image: np.ndarray
    id_text: np.ndarray
    cloth_text: np.ndarray
    picture: np.ndarray
    caption: np.ndarray
    tokens: np.ndarray | None = None

    @property
    def pids(self) -> np.ndarray:
        """(N,) person of each picture."""
        return np.array([r.pid for r in self.records], np.int64)

    @property
    def outfits(self) -> np.ndarray:
        """(N,) outfit of each picture."""
        return np.array([r.outfit for r in self.records], np.int64)


def refuse_another_task(model) -> None:
    """Stop where a model reads no captions.

    Raises:
        ReidlabError: a visible-infrared model.
    """
    if not hasattr(model, "text_encoder"):
        raise ReidlabError(f"{type(model).__name__} is a visible-infrared model; this reads "
                           "text-image models, encode(image, modality) gives its vectors")


@torch.inference_mode()
def embed(model, split: Split, batch_size: int = 256, pictures=None,
          mirror: bool = False) -> Embeddings:
    """Embeddings of a split by a model at rest.

    Args:
        model: a TextImageModel.
        split: what to embed.
        batch_size: pictures or captions at a time.
        pictures: indices to embed; None takes all.
        mirror: average a picture's vectors with those of its mirror image.

    Raises:
        ReidlabError: a model of the other task.
    """
    refuse_another_task(model)
    with evaluating(model):
        chosen = range(len(split.records)) if pictures is None else [int(k) for k in pictures]
        records = [split.records[k] for k in chosen]
        id_image, cloth_image, tokens = embed_images(model, split.images, chosen, batch_size,
                                                     mirror)
        where = [(k, c) for k, r in enumerate(records) for c, said in enumerate(r.captions) if said]
        id_text, cloth_text = (
            embed_texts(model, [getattr(records[k], side)[c] for k, c in where], heads, batch_size)
            for side, heads in (("id_captions", model.id_heads),
                                ("cloth_captions", model.cloth_heads)))
        picture, caption = np.array(where, np.int64).reshape(-1, 2).T
        return Embeddings(records, id_image, cloth_image, id_text, cloth_text, picture, caption,
                          tokens)


@torch.inference_mode()
def embed_images(model, images: np.ndarray, chosen, batch_size: int = 256, mirror: bool = False):
    """Identity and clothing vectors, (n, E) each, and mean tokens, (n, D), of chosen pictures, by
    a model at rest; with `mirror` each is the mean over a picture and its mirror image."""
    device = next(model.parameters()).device
    chosen, deal = list(chosen), Deal(len(chosen))
    own = [chosen[k] for k in deal.own]
    found: list[tuple[Tensor, ...]] = []
    with evaluating(model):
        for k in range(0, len(own), batch_size):
            image = to_tensor(images[own[k : k + batch_size]]).to(device)
            identity, cloth, tokens = _vectors(model, image)
            if mirror:
                other = _vectors(model, image.flip(-1))
                identity = torch.nn.functional.normalize(identity + other[0], dim=-1)
                cloth = torch.nn.functional.normalize(cloth + other[1], dim=-1)
                tokens = (tokens + other[2]) / 2
            found.append((identity, cloth, tokens))
    return tuple(deal.whole(torch.cat(rows)).cpu().numpy() for rows in zip(*found, strict=True))


def gallery_vectors(experiment: TextImageExperiment, model, images: np.ndarray,
                    modality: str = "visible") -> np.ndarray:
    """(B, 2E) float32 of (B, H, W, 3) uint8 pictures: identity, then clothing."""
    identity, cloth, _ = embed_images(model, images, range(len(images)),
                                      mirror=experiment.scoring.mirror)
    return np.concatenate([identity, cloth], axis=1)


def _vectors(model, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Identity and clothing vectors and mean tokens of (B, 3, H, W) pictures, as float32."""
    parts, tokens = model.image_features(image)
    identity, cloth = model.embed(parts)
    return identity.float(), cloth.float(), tokens.mean(dim=1).float()


@torch.inference_mode()
def embed_texts(model, texts: list[str], heads, batch_size: int = 256) -> np.ndarray:
    """(n, E) vectors of n texts by a model at rest; an empty text gives zeros, which match
    nothing."""
    if not texts:
        return embed_texts(model, [""], heads)[:0]
    with evaluating(model):
        deal = Deal(len(texts))
        own = [texts[k] for k in deal.own]
        rows = [heads.text(model.text_encoder(own[k:k + batch_size])).float()
                for k in range(0, len(own), batch_size)]
    vectors = deal.whole(torch.cat(rows)).cpu().numpy()
    vectors[[not text for text in texts]] = 0
    return vectors
