"""Published encoders of other families, read as the kit reads a ViT and a BERT.

Shapes: B batch, N tokens (the first stands for the whole picture), L words, D width that comes out.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from reidlab.config import Image, Text
from reidlab.encoders.pretrained import load_pretrained, model_type, refuse_another_shape

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _clip_tokens(model: Any, image: Tensor, **options) -> Any:
    seen = model.vision_model(image, interpolate_pos_encoding=True, **options)
    normed = model.vision_model.post_layernorm(seen.last_hidden_state)
    return model.visual_projection(normed), seen.attentions


def _siglip_tokens(model: Any, image: Tensor, **options) -> Any:
    seen = model(image, interpolate_pos_encoding=True, **options)
    whole = seen.last_hidden_state.mean(dim=1) if seen.pooler_output is None else seen.pooler_output
    return torch.cat([whole[:, None], seen.last_hidden_state], dim=1), seen.attentions


def _dino_tokens(model: Any, image: Tensor, **options) -> Any:
    seen = model(image, **options)
    patches = 1 + getattr(model.config, "num_register_tokens", 0)  # registers tell no place
    tokens = seen.last_hidden_state
    return torch.cat([tokens[:, :1], tokens[:, patches:]], dim=1), seen.attentions


class Family(NamedTuple):
    """How encoders of one kind are read.

    Attributes:
        kind: name of the library's class, which is read when it is needed: it takes a while.
        pixels: mean and standard deviation of its pictures, in [0, 1], by channel.
        tokens: (model, pictures) → tokens (B, N, D) and attentions; positions are resampled to the
            pictures' size in each pass.
        dropout: its names for dropout.
    """

    kind: str
    pixels: tuple[tuple[float, ...], tuple[float, ...]]
    tokens: Callable[..., Any]
    dropout: tuple[str, ...]


_DINO = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_CLIP = Family("CLIPVisionModelWithProjection", OPENAI, _clip_tokens, ("attention_dropout",))
_SIGLIP = Family("SiglipVisionModel", HALF, _siglip_tokens, ("attention_dropout",))
FAMILIES = {  # by the model_type of the weights
    "clip": _CLIP, "clip_vision_model": _CLIP, "siglip": _SIGLIP, "siglip_vision_model": _SIGLIP,
    "dinov2": Family("Dinov2Model", IMAGENET, _dino_tokens, _DINO),
    "dinov2_with_registers": Family("Dinov2WithRegistersModel", IMAGENET, _dino_tokens, _DINO),
}
CLIP_TEXT = ("clip", "clip_text_model")


class PublishedEncoder(nn.Module):
    """A picture encoder of another family: kit's pictures in, tokens out, the whole first.

    Args:
        config: ``pretrained`` names its weights; the other fields must say what they are.
        attention: ``sdpa`` or ``eager``.

    Raises:
        ReidlabError: weights that lack tensors, or another shape than the experiment says.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Image, attention: str):
        super().__init__()
        where = str(config.pretrained)
        self.family = FAMILIES[str(model_type(where))]
        self.inner = load_pretrained(
            getattr(transformers, self.family.kind), where, attn_implementation=attention,
            dtype=torch.float32, **dict.fromkeys(self.family.dropout, config.dropout))
        self.config = held = self.inner.config
        refuse_another_shape("image", config, {
            "dim": held.hidden_size, "layers": held.num_hidden_layers,
            "patch": held.patch_size, "heads": held.num_attention_heads})
        projection = getattr(self.inner, "visual_projection", None)
        self.dim = held.hidden_size if projection is None else projection.out_features
        for name, values in zip(("mean", "std"), self.family.pixels, strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, image: Tensor, **options) -> BaseModelOutput:
        """(B, 3, H, W) in [-1, 1] → ``last_hidden_state`` (B, N, D)."""
        tokens, attentions = self.family.tokens(
            self.inner, (image / 2 + 0.5 - self.mean) / self.std, **options)
        return BaseModelOutput(last_hidden_state=tokens, attentions=attentions)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.inner.device

    @property
    def transformer(self) -> Any:
        """What has embeddings and layers."""
        return getattr(self.inner, "vision_model", self.inner)

    def set_attn_implementation(self, name: str) -> None:
        """``eager`` keeps attention weights."""
        self.inner.set_attn_implementation(name)

    def activation_checkpointing_enable(self, options: dict) -> None:
        """Make activations again in place of keeping them."""
        self.inner.activation_checkpointing_enable(options)


class ClipText(nn.Module):
    """CLIP's caption tower, with the output that `BertModel` has.

    Words see only those before them, so that padding, which comes last, changes none of them and
    needs no mask.

    Args:
        config: ``pretrained`` names its weights.
        attention: ``sdpa`` or ``eager``.
    """

    def __init__(self, config: Text, attention: str):
        super().__init__()
        self.inner = load_pretrained(
            transformers.CLIPTextModelWithProjection, str(config.pretrained),
            attn_implementation=attention, dtype=torch.float32, attention_dropout=config.dropout)
        self.config = held = self.inner.config
        refuse_another_shape("text", config, {
            "dim": held.hidden_size, "layers": held.num_hidden_layers,
            "heads": held.num_attention_heads})
        self.dim = self.inner.text_projection.out_features

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> BaseModelOutput:
        """(B, L) ids → ``last_hidden_state`` (B, L, D)."""
        seen = self.inner.text_model(input_ids)
        return BaseModelOutput(last_hidden_state=self.inner.text_projection(
            seen.last_hidden_state))

    @property
    def transformer(self) -> Any:
        """What has embeddings and layers."""
        return self.inner.text_model

    def activation_checkpointing_enable(self, options: dict) -> None:
        """Make activations again in place of keeping them."""
        self.inner.activation_checkpointing_enable(options)
