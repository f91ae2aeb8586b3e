"""The weighted sum of all terms, with the modules some of them own.

Shapes: B batch, D width of pooled features.
"""
import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.batches.text_image import Batch
from reidlab.config.text_image import Loss
from reidlab.losses.adversarial import CLOTH_ADVERSARIES, IdentityAdversary, cloth_adv_ramp
from reidlab.losses.contrastive import (
    info_nce,
    masked_info_nce,
    multi_positive,
    one_way_info_nce,
    same_person_other_picture,
    summed_scores,
)
from reidlab.losses.controller import PlateauController
from reidlab.losses.decoupling import cka_linear, decoupler
from reidlab.losses.gate import RunningMean, gate_regularization

PROJECTED = ("abs_cosine", "gram")  # the notes' forms look at features through projectors
CLOTHING = {"cloth", "cloth_adv", "cloth_match", "decouple", "words", "summed_score"}  # read it


class TextImageLoss(nn.Module):
    """Adds up the terms whose weight is not zero.

    Args:
        config: forms and weights.
        dim: width D of pooled clothing features.
        embedding: width of retrieval vectors.
        identity_width: of pooled identity features; D when not given.
        classes, words: training identities and vocabulary, for the identity adversary.

    The notes keep the projectors of ``bio``, ``cloth`` and ``decouple`` here and hand the
    optimizer the model only; ``projectors="frozen"`` reproduces that.
    """

    def __init__(self, config: Loss, dim: int, embedding: int, identity_width: int | None = None,
                 classes: int = 1, words: int = 1):
        super().__init__()
        identity_width = identity_width or dim
        self.config = config
        self.weights = {k: w for k, w in dataclasses.asdict(config.weights).items() if w}
        needed: list[str] = [name for name in ("bio", "cloth") if name in self.weights]
        self.adversary = None
        if "cloth_adv" in self.weights and config.cloth_adv == "identity_adversary":
            self.adversary = IdentityAdversary(identity_width, dim, classes, words,
                                               config.adversary)
        elif "cloth_adv" in self.weights and "cloth" not in needed:
            needed.append("cloth")
        if "decouple" in self.weights and config.decouple in PROJECTED:
            needed += ["decouple_id", "decouple_cloth"]
        widths = {"bio": identity_width, "decouple_id": identity_width}
        self.projectors = nn.ModuleDict({n: nn.Linear(widths.get(n, dim), embedding)
                                         for n in needed})
        if config.projectors == "frozen":
            self.projectors.requires_grad_(False)
        self.log_scale = None
        if config.learned_temperature:
            self.log_scale = nn.Parameter(torch.tensor(1 / config.temperature).log())
        self.decouple = decoupler(config.decouple)
        self.controller = PlateauController() if config.decouple_controller else None
        self.gate_mean = None
        if "gate_smoothing" in self.weights:
            self.gate_mean = RunningMean(dim)

    @property
    def reads_clothing(self) -> bool:
        """Whether a term looks at the clothing of pictures, so that gradients reach it."""
        return not CLOTHING.isdisjoint(self.weights)

    def needs_negatives(self, step: int, progress: float) -> bool:
        """Whether the ITM loss, which learns from hard negatives, takes part in a step."""
        return bool(self.config.weights.itm and progress >= self.config.itm_start
                    and step % self.config.itm_every == 0)

    @property
    def temperature(self) -> float | Tensor:
        """Constant, or exp(−t) of a learned t, never below .01."""
        if self.log_scale is None:
            return self.config.temperature
        return 1 / self.log_scale.clamp(max=4.6).exp()

    def forward(self, out, batch: Batch, epoch: float, progress: float = 1.0,
                words: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Every term, unweighted, and ``total``.

        Args:
            out: model output of the whole batch.
            batch: who, and which caption belongs to whom.
            epoch: from 1; the clock of the notes' ramps.
            progress: share of training done, in [0, 1]; the clock of ``decouple_ramp``.
            words: ``{"id": (B, V), "cloth": (B, V)}`` bags of words, for the ``words`` term.
        """
        terms = {name: getattr(self, f"_{name}")(out, batch, epoch, words)
                 for name in self.weights if name != "itm" or out.itm_logits is not None}
        ramp = self.ramp(progress)
        scale = {"decouple": ramp, "words": ramp}
        if self.controller is not None:
            scale["decouple"] = self.controller(ramp)
        terms["total"] = sum(self.weights[n] * scale.get(n, 1.0) * t for n, t in terms.items())
        return terms

    def ramp(self, progress: float) -> float:
        """Strength in [0, 1] of the dependence terms; they wait for something to part."""
        since = progress - self.config.decouple_from
        if since < 0:
            return 0.0
        return min(1.0, since / self.config.decouple_ramp) if self.config.decouple_ramp else 1.0

    def _info_nce(self, out, batch, epoch, words):
        has_text = torch.tensor([bool(t) for t in batch.id_text], device=batch.pid.device)
        if self.config.positives == "same":
            return multi_positive(out.image_embeds, out.id_text_embeds, batch.pid, batch.pid,
                                  temperature=self.temperature, valid=has_text)
        if has_text.all():
            return info_nce(out.image_embeds, out.id_text_embeds, temperature=self.temperature)
        return info_nce(out.image_embeds[has_text], out.id_text_embeds[has_text],
                        temperature=self.temperature)

    def _cls(self, out, batch, epoch, words):
        return F.cross_entropy(out.id_logits, batch.pid,
                               label_smoothing=self.config.label_smoothing)

    def _bio(self, out, batch, epoch, words):
        return one_way_info_nce(self.projectors["bio"](out.id_embeds), out.id_text_embeds,
                                temperature=self.temperature)

    def _cloth(self, out, batch, epoch, words):
        return one_way_info_nce(self.projectors["cloth"](out.cloth_embeds),
                                out.cloth_text_embeds, temperature=self.temperature)

    def _cloth_adv(self, out, batch, epoch, words):
        if self.adversary is not None:
            return self.adversary(out.id_embeds, out.cloth_embeds, batch.pid, words["cloth"])
        return cloth_adv_ramp(epoch) * CLOTH_ADVERSARIES[self.config.cloth_adv](
            self.projectors["cloth"](out.cloth_embeds), out.cloth_text_embeds,
            temperature=self.temperature)

    def _cloth_match(self, out, batch, epoch, words):
        image, text = out.cloth_image_embeds, out.cloth_text_embeds
        if self.config.cloth_match == "diagonal":
            return info_nce(image, text, temperature=self.temperature)
        has_text = torch.tensor([bool(t) for t in batch.cloth_text], device=batch.pid.device)
        if (batch.outfit < 0).any():  # outfits unknown: only the described picture is a positive
            return masked_info_nce(image, text, batch.is_matched & has_text,
                                   temperature=self.temperature)
        return multi_positive(image, text, batch.outfit, batch.cloth_outfit,
                              temperature=self.temperature, valid=has_text)

    def _decouple(self, out, batch, epoch, words):
        if self.config.decouple_on == "embedding":
            return self.decouple(out.image_embeds, out.cloth_image_embeds)
        identity, cloth = out.id_embeds, out.cloth_embeds
        if self.config.decouple in PROJECTED:
            identity = self.projectors["decouple_id"](identity)
            cloth = self.projectors["decouple_cloth"](cloth)
        return self.decouple(identity, cloth)

    def _gate_regularization(self, out, batch, epoch, words):
        return gate_regularization(out.gate)

    def _gate_smoothing(self, out, batch, epoch, words):
        return self.gate_mean(out.gate)

    def _fusion_gate(self, out, batch, epoch, words):
        return gate_regularization(out.gate_weights)

    def _summed_score(self, out, batch, epoch, words):
        both = [bool(i and c) for i, c in zip(batch.id_text, batch.cloth_text, strict=True)]
        keep = batch.is_matched & torch.tensor(both, device=batch.pid.device)
        _, key = torch.stack([batch.pid, batch.outfit], 1).unique(dim=0, return_inverse=True)
        return summed_scores([(out.image_embeds[keep], out.id_text_embeds[keep]),
                              (out.cloth_image_embeds[keep], out.cloth_text_embeds[keep])],
                             key[keep], temperature=self.temperature)

    def _id_image(self, out, batch, epoch, words):
        return same_person_other_picture(out.image_embeds, batch.pid,
                                         temperature=self.temperature)

    def _fine_grained(self, out, batch, epoch, words):
        _, key = torch.stack([batch.pid, batch.outfit], 1).unique(dim=0, return_inverse=True)
        same = (key[:, None] == key).float()
        target = same / same.sum(dim=1, keepdim=True)
        logits = out.token_similarity / self.temperature
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def _itm(self, out, batch, epoch, words):
        has_text = torch.tensor([bool(i or c) for i, c in zip(batch.id_text, batch.cloth_text,
                                                          strict=True)], device=batch.pid.device)
        fits = torch.tensor([1.0, 0.0], device=batch.pid.device).expand(len(has_text), 2)
        keep = has_text & batch.is_matched
        return F.binary_cross_entropy_with_logits(out.itm_logits[keep], fits[keep])

    def _words(self, out, batch, epoch, words):
        return (cka_linear(out.image_embeds, words["cloth"])
                + cka_linear(out.cloth_image_embeds, words["id"]))
