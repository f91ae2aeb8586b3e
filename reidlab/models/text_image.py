"""The text-image model: the diagram of notes 001 to 003 as code.

Shapes: B batch, N image tokens, L text tokens, D encoder width, C training identities.
"""
import logging
from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import BertTokenizer

from reidlab.config import TextImageExperiment
from reidlab.disentangle import build_disentangler
from reidlab.disentangle.attention import AttentionDisentangler
from reidlab.disentangle.gate import DisentangledFeatures
from reidlab.disentangle.projection import ReversedProjection
from reidlab.encoders.bert import TextEncoder
from reidlab.encoders.tokens import train_tokenizer
from reidlab.encoders.vit import build_vit, parts_of, width_of
from reidlab.errors import ReidlabError
from reidlab.fusion import build_fusion
from reidlab.models.chunks import in_chunks
from reidlab.models.concept_erasure import ConceptEraser
from reidlab.models.heads import RetrievalHeads, build_heads
from reidlab.models.matching import TokenAlignment, build_itm_head
from reidlab.models.parallel import gather, share_batch_norms
from reidlab.models.text_image_output import TextImageOutput
from reidlab.synthetic.world import World

log = logging.getLogger(__name__)
Texts = str | list[str] | tuple[str, ...]
SCALE = 1.0  # length of fused vectors before training


class TextImageModel(nn.Module):
    """ViT and BERT, two factors, retrieval heads, optional classifier and fusion.

    Args:
        experiment: which components.
        tokenizer: of the captions; None with pretrained text weights.
        classes: C training identities; 8000 as in the notes when not given.

    Source: note 003 (data flow), notes 001 and 002 (components).
    """

    def __init__(self, experiment: TextImageExperiment, tokenizer=None, classes: int | None = None):
        super().__init__()
        heads = experiment.heads
        self.visual_encoder = build_vit(experiment.image)
        dim = width_of(self.visual_encoder)
        self.text_encoder = TextEncoder(experiment.text, tokenizer,
                                        dim if experiment.text.pretrained else None)
        if dim != self.text_encoder.dim:
            raise ReidlabError(f"image width {dim} and text width {self.text_encoder.dim} must "
                               "agree: both go through one shared layer")
        image = experiment.image
        self.disentangle = build_disentangler(
            experiment.disentangle, dim,
            (image.height // image.patch, image.width // image.patch))
        self.identity_width = self.disentangle.identity_width
        self.id_heads, self.cloth_heads = build_heads(heads, dim)
        self.concept_eraser = (
            ConceptEraser(heads.embedding) if heads.concept_erasure else nn.Identity()
        )
        self.id_classifier = None
        if experiment.loss.weights.cls:
            self.id_classifier = nn.Linear(self.identity_width, classes or 8000)
        self.fusion = build_fusion(experiment.fusion, heads.embedding)
        self.scale = nn.Parameter(torch.full((1,), SCALE)) if self.fusion else None
        self.itm_head = build_itm_head(experiment.fusion, dim)
        self.alignment = None
        if experiment.loss.weights.fine_grained:
            self.alignment = TokenAlignment(dim, heads.alignment == "light")
        self.feat_dim, self.micro_batch = heads.embedding, None
        self.pictures_alone = not any(isinstance(m, _BatchNorm) for m in self.disentangle.modules())
        log.info("fusion: %s, scale: %s", experiment.fusion.name,
                 "absent" if self.scale is None else f"{SCALE:.4f}")

    # the two ways in, used by training and retrieval alike -----------------------------------
    def image_features(self, image: Tensor, want_maps: bool = False,
                       gate: Tensor | float | None = None) -> tuple[DisentangledFeatures, Tensor]:
        """Pooled identity and clothing features (B, D), and the tokens (B, N, D).

        Args:
            image: (B, 3, H, W) in [-1, 1].
            want_maps: keep the attention maps.
            gate: fraction of each channel that identity gets, in place of the learned gate; it
                broadcasts to (B, D).

        Raises:
            ReidlabError: `gate` for a design without one.
        """
        if image.dim() == 5:  # (B, 3, H, W, 1), as some loaders of the notes give it
            image = image.squeeze(-1)
        tokens = self.visual_encoder(image).last_hidden_state
        if gate is None:
            return self.disentangle(tokens, want_maps), tokens
        if not 0 <= float(torch.as_tensor(gate).min()) <= float(torch.as_tensor(gate).max()) <= 1:
            raise ReidlabError("a gate is a fraction in [0, 1]; give one value or (B, D) of them")
        if not isinstance(self.disentangle, AttentionDisentangler):
            raise ReidlabError(f"{type(self.disentangle).__name__} has no gate to set; use a "
                               "design with disentangle.name=attention")
        return self.disentangle(tokens, want_maps, gate), tokens

    def embed(self, parts: DisentangledFeatures, concept_erasure: bool = True
              ) -> tuple[Tensor, Tensor]:
        """Pooled features → identity and clothing embeddings, (B, 256) each, unit norm.

        Args:
            parts: pooled features.
            concept_erasure: False gives identity as training made it, before the erasure.
        """
        identity = self.id_heads.image(parts.identity)
        return (self.concept_eraser(identity) if concept_erasure else identity,
                self.cloth_heads.image(parts.cloth))

    def encode_image(self, image: Tensor | None) -> Tensor | None:
        """(B, 3, H, W) → (B, 256) identity embedding, unit norm; None → None."""
        return None if image is None else self.embed(self.image_features(image)[0])[0]

    def encode_cloth_image(self, image: Tensor | None) -> Tensor | None:
        """(B, 3, H, W) → (B, 256) clothing embedding, unit norm; None → None."""
        return None if image is None else self.embed(self.image_features(image)[0])[1]

    def encode_text(self, text: Texts | None) -> Tensor | None:
        """Identity description → (B, 256), or (256,) for a single string; None → None."""
        return self._encode(text, self.id_heads)

    def encode_cloth_text(self, text: Texts | None) -> Tensor | None:
        """Clothing description → (B, 256), or (256,) for a single string; None → None."""
        return self._encode(text, self.cloth_heads)

    def _encode(self, text: Texts | None, heads: RetrievalHeads) -> Tensor | None:
        if text is None:
            return None
        embeds = heads.text(self.text_encoder(_listed(text)))
        return embeds[0] if isinstance(text, str) else embeds

    # the diagram ------------------------------------------------------------------------------
    def forward(self, image: Tensor | None = None, cloth_text: Texts | None = None,
                id_text: Texts | None = None, want_maps: bool = False,
                negative_text: Texts | None = None) -> TextImageOutput:
        """All outputs that the given inputs allow; a single string is a list of one.

        `negative_text`, one wrong whole description a picture, asks for `itm_logits`; the ITM head
        learns from tokens without changing them.

        In a launch of several processes each passes its own rows, and every process gets the
        outputs of the whole batch.

        Raises:
            ReidlabError: batch sizes differ, or a negative text has nothing to be compared with.
        """
        id_text, cloth_text, negative_text = map(_listed, (id_text, cloth_text, negative_text))
        whole = _fitting(image=image, id_text=id_text, cloth_text=cloth_text,
                         negative_text=negative_text)
        out = TextImageOutput()
        if image is not None:
            parts, tokens = self._features(image, want_maps)
            out.id_embeds, out.cloth_embeds = gather(parts.identity), gather(parts.cloth)
            out.gate = None if parts.gate is None else gather(parts.gate)
            out.image_embeds, out.cloth_image_embeds = self.embed(
                DisentangledFeatures(out.id_embeds, out.cloth_embeds))
            if self.id_classifier is not None:
                out.id_logits = self.id_classifier(out.id_embeds)
            if want_maps:
                out.maps, out.tokens = parts.maps, tokens
        id_pooled, cloth_pooled = self._pool_texts(id_text, cloth_text)
        if cloth_pooled is not None:  # first, as note 001: running means hear identity last
            out.cloth_text_embeds = self.cloth_heads.text(cloth_pooled)
        if id_pooled is not None:
            out.id_text_embeds = self.id_heads.text(id_pooled)
        if self.fusion is not None and image is not None and id_pooled is not None:
            fused = self.fusion(out.image_embeds, out.id_text_embeds)
            out.fused_embeds = cast(Tensor, self.scale) * F.normalize(fused.vector, dim=-1)
            out.gate_weights = fused.gate_weights
        own = [f"{i} {c}".strip() for i, c in zip(id_text or [], cloth_text or [], strict=True)
               ] if whole else []
        if self.alignment is not None and whole:
            states, mask = self.text_encoder.states(own, self.text_encoder.tokens.max_length)
            out.token_similarity = self.alignment(gather(tokens), gather(states), gather(mask))
        if self.itm_head is not None and negative_text is not None:
            with torch.no_grad():
                states, mask = self.text_encoder.states(own + negative_text)
            logits = self.itm_head(tokens.detach().repeat(2, 1, 1), states, mask)
            out.itm_logits = gather(logits.view(2, -1).T)
        return out

    def _features(self, image: Tensor, want_maps: bool) -> tuple[DisentangledFeatures, Tensor]:
        """`image_features`, in training `micro_batch` pictures at a time."""
        if self.micro_batch is None or not self.training or want_maps:
            return self.image_features(image, want_maps)

        def split(rows: Tensor) -> tuple:
            parts, tokens = self.image_features(rows)
            return parts.identity, parts.cloth, parts.gate, tokens

        if self.pictures_alone:
            identity, cloth, gate, tokens = in_chunks(split, image, self.micro_batch)
            return DisentangledFeatures(cast(Tensor, identity), cast(Tensor, cloth), gate), cast(
                Tensor, tokens)
        tokens, = in_chunks(lambda rows: (self.visual_encoder(rows).last_hidden_state,), image,
                            self.micro_batch)  # a BatchNorm of the split reads all pictures
        return self.disentangle(tokens, False), cast(Tensor, tokens)

    @property
    def published(self) -> dict[str, Any]:
        """What each encoder is, as the library says it, by part of the experiment."""
        return {"image": self.visual_encoder.config, "text": self.text_encoder.bert.config}

    @property
    def encoders(self) -> list[list[nn.Module]]:
        """Parts of both encoders, from input to output."""
        return [parts_of(self.visual_encoder), parts_of(self.text_encoder.bert)]

    def share_batch(self) -> None:
        """Train with other processes: BatchNorms before the pooled vectors read all rows."""
        for part in (self.visual_encoder, self.text_encoder, self.disentangle):
            share_batch_norms(part)

    def set_reversal(self, alpha: float) -> bool:
        """Set the strength of the gradient reversal; whether the design has one that is on.

        Source: note 001 §2.8, ``update_alpha``.
        """
        found = [m for m in self.modules() if isinstance(m, ReversedProjection) and m.reversed_]
        for module in found:
            module.alpha = alpha
        return bool(found)

    def _pool_texts(self, id_text: list[str] | None, cloth_text: list[str] | None):
        """Both kinds of caption through one pass of the text encoder."""
        given = [t for t in (id_text, cloth_text) if t is not None]
        if not given:
            return None, None
        pooled = cast(Tensor, in_chunks(lambda rows: (self.text_encoder(rows),), sum(given, []),
                                        self.micro_batch if self.training else None,
                                        next(self.text_encoder.parameters()).device)[0])
        pieces = [gather(piece) for piece in pooled.split([len(g) for g in given])]
        first = pieces.pop(0) if id_text is not None else None
        return first, pieces.pop(0) if cloth_text is not None else None


def _listed(text: Texts | None) -> list[str] | None:
    """Captions as a list; a single string is one of them."""
    return text if text is None else [text] if isinstance(text, str) else list(text)


def _fitting(**given) -> bool:
    """Whether pictures come with both own captions; all that is given must be of one count."""
    counts = {name: len(rows) for name, rows in given.items() if rows is not None}
    if len(set(counts.values())) > 1:
        raise ReidlabError("need one caption of each kind for every picture; got " + ", ".join(
            f"{name} {count}" for name, count in counts.items()))
    whole = {"image", "id_text", "cloth_text"} <= counts.keys()
    if "negative_text" in counts and not whole:
        raise ReidlabError("negative_text needs image, id_text and cloth_text beside it; got "
                           + ", ".join(counts))
    return whole


def build(experiment: TextImageExperiment, classes: int | None = None, tokenizer=None
          ) -> TextImageModel:
    """The untrained model of an experiment; see `reidlab.tasks.build`."""
    if tokenizer is None and not experiment.text.pretrained:
        tokenizer = _synthetic_tokenizer()
    torch.manual_seed(experiment.seed)
    return TextImageModel(experiment, tokenizer, classes)


@lru_cache(maxsize=1)
def _synthetic_tokenizer() -> BertTokenizer:
    captions = [World().describe(k, k, 0) for k in range(1000)]
    return train_tokenizer([f"{s.id_caption} {s.cloth_caption}" for s in captions])
