"""Pixels in, tokens out: a ViT, pretrained or small with a convolutional stem.

Shapes: B batch, N tokens (the first is CLS), D width.
"""
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

from reidlab.config import Image
from reidlab.encoders.pretrained import load_pretrained, model_type, refuse_another_shape, says
from reidlab.encoders.published import FAMILIES, PublishedEncoder


class ConvStem(nn.Sequential):
    """Three strided convolutions that end on the ViT's patch grid.

    Trained from scratch for minutes, a ViT learns far faster behind them than behind one linear
    projection of each patch. The first stride is 4: on CPUs a stage at half resolution costs more
    than all others together. GroupNorm, not BatchNorm: a picture's tokens never depend on others.

    Args:
        dim: token width D.
        patch: total stride, a power of two of at least 8.
    """

    def __init__(self, dim: int, patch: int):
        super().__init__(
            nn.Conv2d(3, dim // 2, 6, stride=4, padding=1, bias=False),
            nn.GroupNorm(8, dim // 2), nn.ReLU(),
            nn.Conv2d(dim // 2, dim, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(8, dim), nn.ReLU(),
            nn.Conv2d(dim, dim, patch // 8, stride=patch // 8))

    @property
    def weight(self) -> Tensor:
        """First kernel; ViTModel reads its dtype."""
        return cast(nn.Conv2d, self[0]).weight


class StemViT(ViTModel):
    """A ViTModel with the convolutional stem; its configuration says ``stem``.

    Published weights are loaded as a ViTModel: the library renames their tensors for it alone.

    Args:
        config: of the library.
    """

    def __init__(self, config: ViTConfig, **options):
        super().__init__(config, **options)
        patches: Any = self.embeddings.patch_embeddings
        patches.projection = ConvStem(config.hidden_size, cast(int, config.patch_size))


def build_vit(config: Image) -> Any:
    """The picture encoder of an experiment.

    Returns:
        A ViTModel without pooler, or a `PublishedEncoder` of another family, whose tokens are
        (B, 1 + H/patch · W/patch, D).

    Raises:
        MissingPath: pretrained weights are neither a folder nor to be had from the hub.
        ReidlabError: they have another shape than the experiment says. Pictures of another size
            are no other shape: what tells a token its place is resampled.
    """
    if config.pretrained and model_type(config.pretrained) in FAMILIES:
        return PublishedEncoder(config, fast_attention())
    if config.pretrained:
        kind = StemViT if says(config.pretrained, "stem") else ViTModel
        vit = load_pretrained(kind, config.pretrained, add_pooling_layer=False,
                              attn_implementation=fast_attention(), dtype=torch.float32,
                              hidden_dropout_prob=config.dropout,
                              attention_probs_dropout_prob=config.dropout)
        held = vit.config
        refuse_another_shape("image", config, {
            "dim": held.hidden_size, "layers": held.num_hidden_layers, "patch": held.patch_size,
            "heads": held.num_attention_heads, "activation": held.hidden_act,
            "stem": kind is StemViT})
        resample_positions(vit, (config.height, config.width))
        return vit
    options: dict[str, Any] = {"attn_implementation": fast_attention(), "stem": config.stem}
    return (StemViT if config.stem else ViTModel)(ViTConfig(
        hidden_size=config.dim, num_hidden_layers=config.layers,
        num_attention_heads=config.heads, intermediate_size=4 * config.dim,
        hidden_act=config.activation, image_size=(config.height, config.width),
        patch_size=config.patch,
        hidden_dropout_prob=config.dropout, attention_probs_dropout_prob=config.dropout,
        **options), add_pooling_layer=False)


def parts_of(encoder: Any) -> list[nn.Module]:
    """Embeddings and layers of a transformer of the library, from input to output; a norm before
    the layers is with the embeddings, what comes behind them with the last."""
    transformer = getattr(encoder, "transformer", encoder)
    inside = getattr(transformer, "encoder", transformer)
    layers = inside.layer if hasattr(inside, "layer") else inside.layers
    parts = [transformer.embeddings, *layers]
    listed = {p for part in parts for p in part.parameters()}
    rest = {name: module for name, module in encoder.named_modules()
            if any(p not in listed for p in module.parameters(recurse=False))}
    before = [module for name, module in rest.items() if name.split(".")[-1].startswith("pre_")]
    behind = [module for module in rest.values() if module not in before]
    return [nn.ModuleList([parts[0], *before]), *parts[1:-1], nn.ModuleList([parts[-1], *behind])]


def width_of(encoder: Any) -> int:
    """D of the tokens that come out."""
    return getattr(encoder, "dim", encoder.config.hidden_size)


@torch.no_grad()
def resample_positions(vit: ViTModel, size: tuple[int, int]) -> None:
    """Give a pretrained ViT pictures of another (height, width), in pixels.

    Its position embeddings are a picture of D channels on the grid of patches that it was trained
    on; they are resampled (bicubic) to the new grid, as the field does for 384 × 128.
    """
    held: Any = vit.config.image_size
    made = (held, held) if isinstance(held, int) else tuple(held)
    if made == size:
        return
    embeddings, patch = cast(Any, vit.embeddings), cast(int, vit.config.patch_size)
    before, grid = ((sides[0] // patch, sides[1] // patch) for sides in (made, size))
    cls, places = embeddings.position_embeddings.split([1, before[0] * before[1]], dim=1)
    resampled = F.interpolate(places.transpose(1, 2).unflatten(2, before), size=grid,
                              mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    embeddings.position_embeddings = nn.Parameter(torch.cat([cls, resampled], dim=1))
    embeddings.patch_embeddings.num_patches = grid[0] * grid[1]
    for part in (embeddings, embeddings.patch_embeddings, vit.config):  # each looks at its own
        part.image_size = size


def fast_attention() -> str:
    """``sdpa`` where there is a GPU, else ``eager``, which trains faster on CPUs."""
    return "sdpa" if torch.cuda.is_available() else "eager"
