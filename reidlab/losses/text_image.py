"""The weighted sum of all terms, with the modules some of them own.

Shapes: B batch, D width of pooled features.
"""
import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.batches.text_image import Batch
from reidlab.config.text_image import Loss
from reidlab.losses.adversarial import CLOTH_ADVERSARIES, RAMPED, IdentityAdversary, cloth_adv_ramp
from reidlab.losses.contrastive import (
    info_nce,
    masked_info_nce,
    multi_positive,
    one_way_info_nce,
    same_person_other_picture,
    sdm,
    summed_scores,
)
from reidlab.losses.controller import PlateauController
from reidlab.losses.decoupling import cka_linear, decoupler
from reidlab.losses.gate import RunningMean, gate_regularization

PROJECTED = ("abs_cosine", "gram", "gram_zero_diagonal")  # these look through projectors
READS = {  # what each term needs of the model's output
    "info_nce": ("image_embeds", "id_text_embeds"), "sdm": ("image_embeds", "id_text_embeds"),
    "cls": ("id_logits",),
    "bio": ("id_embeds", "id_text_embeds"), "cloth": ("cloth_embeds", "cloth_text_embeds"),
    "cloth_adv": ("cloth_embeds", "cloth_text_embeds"),
    "cloth_match": ("cloth_image_embeds", "cloth_text_embeds"),
    "decouple": ("id_embeds", "cloth_embeds"), "gate_regularization": ("gate",),
    "gate_smoothing": ("gate",), "fusion_gate": ("gate_weights",),
    "fusion_gate_smoothing": ("gate_weights",), "id_image": ("image_embeds",),
    "summed_score": ("image_embeds", "id_text_embeds", "cloth_image_embeds", "cloth_text_embeds"),
    "cloth_image": ("cloth_image_embeds",),
    "words": ("image_embeds", "cloth_image_embeds"), "fine_grained": ("token_similarity",),
    "itm": ("itm_logits",)}
SAID = {"words", "itm", *(term for term, reads in READS.items()
                          if any("text" in name or "token" in name for name in reads))}
CLOTHING = {term for term, reads in READS.items()
            if not {"cloth_embeds", "cloth_image_embeds"}.isdisjoint(reads)}


class TextImageLoss(nn.Module):
    """Adds up the terms whose weight is not zero.

    Args:
        config: forms and weights.
        dim: width D of pooled clothing features.
        embedding: width of retrieval vectors.
        identity_width: of pooled identity features; D when not given.
        classes, words: training identities and vocabulary, for the identity adversary.

    Note 001 §2.2.2 has one projector of identity and one of clothing in ``decouple``; that they
    serve ``bio``, ``cloth`` and ``cloth_adv``, too, is assumed. No note says whether they are
    trained; in the ancestor the optimizer gets the model only, which ``projectors="frozen"``
    reproduces.
    """

    def __init__(self, config: Loss, dim: int, embedding: int, identity_width: int | None = None,
                 classes: int = 1, words: int = 1):
        super().__init__()
        identity_width = identity_width or dim
        self.config = config
        self.weights = {k: w for k, w in dataclasses.asdict(config.weights).items() if w}
        self.adversary = None
        if "cloth_adv" in self.weights and config.cloth_adv == "identity_adversary":
            self.adversary = IdentityAdversary(identity_width, dim, classes, words,
                                               config.adversary)
        projected = {"decouple"} if (config.decouple in PROJECTED
                                     and config.decouple_on == "pooled") else set()
        similar = {"cloth"} if self.adversary else {"cloth", "cloth_adv"}
        self.id_embed_projector = self.cloth_embed_projector = None
        if self.weights.keys() & ({"bio"} | projected):
            self.id_embed_projector = nn.Linear(identity_width, embedding)
        if self.weights.keys() & (similar | projected):
            self.cloth_embed_projector = nn.Linear(dim, embedding)
        if config.projectors == "frozen":
            for projector in (self.id_embed_projector, self.cloth_embed_projector):
                if projector is not None:
                    projector.requires_grad_(False)
        self.log_scale = None
        if config.learned_temperature:
            self.log_scale = nn.Parameter(torch.tensor(1 / config.temperature).log())
        self.decouple = decoupler(config.decouple)
        self.controller = PlateauController() if config.decouple_controller else None
        self.gate_mean = RunningMean(dim) if "gate_smoothing" in self.weights else None
        self.fusion_gate_mean = (RunningMean(2) if "fusion_gate_smoothing" in self.weights
                                 else None)

    @property
    def reads_clothing(self) -> bool:
        """Whether a term looks at the clothing of pictures, so that gradients reach it."""
        return not CLOTHING.isdisjoint(self.weights)

    @property
    def reads_words(self) -> bool:
        """Whether a term looks at captions."""
        return not SAID.isdisjoint(self.weights)

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
        """Every term, unweighted, and ``total``; a term whose inputs are absent is 0.

        Args:
            out: model output of the whole batch.
            batch: who, and which caption belongs to whom.
            epoch: from 1; the clock of the notes' ramps.
            progress: share of training done, in [0, 1]; the clock of ``decouple_ramp``.
            words: ``{"id": (B, V), "cloth": (B, V)}`` bags of words, for the ``words`` term.
        """
        terms = {name: self._term(name, out, batch, epoch, words)
                 for name in self.weights if name != "itm" or out.itm_logits is not None}
        ramp = self.ramp(progress)
        scale = {"decouple": ramp, "words": ramp}
        if self.controller is not None:
            scale["decouple"] = self.controller(ramp)
        terms["total"] = sum(self.weights[n] * scale.get(n, 1.0) * t for n, t in terms.items())
        return terms

    def _term(self, name: str, out, batch: Batch, epoch: float, words) -> Tensor:
        absent = name == "cloth_match" and batch.is_matched is None
        if absent or any(getattr(out, needed) is None for needed in READS[name]):
            return torch.zeros((), device=batch.pid.device)
        return getattr(self, f"_{name}")(out, batch, epoch, words)

    def ramp(self, progress: float) -> float:
        """Strength in [0, 1] of the dependence terms; they wait for something to part."""
        since = progress - self.config.decouple_from
        if since < 0:
            return 0.0
        return min(1.0, since / self.config.decouple_ramp) if self.config.decouple_ramp else 1.0

    def schedules(self, epoch: float, progress: float) -> dict[str, float]:
        """Strengths that change while a design trains, for its log."""
        found = {}
        if "cloth_adv" in self.weights and self.config.cloth_adv in RAMPED:
            found["cloth_adv/strength"] = cloth_adv_ramp(epoch)
        if self.weights.keys() & {"decouple", "words"}:
            found["decouple/strength"] = self.ramp(progress)
        return found

    def _info_nce(self, out, batch, epoch, words):
        image, text = out.image_embeds, out.id_text_embeds
        if self.config.positives == "same":
            return multi_positive(image, text, batch.pid, batch.pid,
                                  temperature=self.temperature, valid=batch.says_id)
        own = torch.eye(len(image), dtype=torch.bool, device=image.device)
        return summed_scores([(image, text)], own, batch.says_id, temperature=self.temperature)

    def _sdm(self, out, batch, epoch, words):
        return sdm(out.image_embeds, out.id_text_embeds, batch.pid, temperature=self.temperature,
                   valid=batch.says_id)

    def _cls(self, out, batch, epoch, words):
        return F.cross_entropy(out.id_logits, batch.pid,
                               label_smoothing=self.config.label_smoothing)

    def _bio(self, out, batch, epoch, words):
        return one_way_info_nce(self.id_embed_projector(out.id_embeds), out.id_text_embeds,
                                temperature=self.temperature)

    def _cloth(self, out, batch, epoch, words):
        return one_way_info_nce(self.cloth_embed_projector(out.cloth_embeds),
                                out.cloth_text_embeds, temperature=self.temperature)

    def _cloth_adv(self, out, batch, epoch, words):
        if self.adversary is not None:
            return self.adversary(out.id_embeds, out.cloth_embeds, batch.pid, words["cloth"])
        strength = cloth_adv_ramp(epoch) if self.config.cloth_adv in RAMPED else 1.0
        return strength * CLOTH_ADVERSARIES[self.config.cloth_adv](
            self.cloth_embed_projector(out.cloth_embeds), out.cloth_text_embeds,
            temperature=self.temperature)

    def _cloth_match(self, out, batch, epoch, words):
        image, text = out.cloth_image_embeds, out.cloth_text_embeds
        if self.config.cloth_match == "diagonal":
            return info_nce(image, text, temperature=self.temperature)
        if not batch.outfits_known:  # only the described picture is a positive
            return masked_info_nce(image, text, batch.is_matched & batch.says_cloth,
                                   temperature=self.temperature)
        return multi_positive(image, text, batch.outfit, batch.cloth_outfit,
                              temperature=self.temperature, valid=batch.says_cloth)

    def _decouple(self, out, batch, epoch, words):
        if self.config.decouple_on == "embedding":
            return self.decouple(out.image_embeds, out.cloth_image_embeds)
        identity, cloth = out.id_embeds, out.cloth_embeds
        if self.config.decouple in PROJECTED:
            identity = self.id_embed_projector(identity)
            cloth = self.cloth_embed_projector(cloth)
        return self.decouple(identity, cloth)

    def _gate_regularization(self, out, batch, epoch, words):
        return gate_regularization(out.gate)

    def _gate_smoothing(self, out, batch, epoch, words):
        return self.gate_mean(out.gate)

    def _fusion_gate(self, out, batch, epoch, words):
        return gate_regularization(out.gate_weights)

    def _fusion_gate_smoothing(self, out, batch, epoch, words):
        return self.fusion_gate_mean(out.gate_weights)

    def _summed_score(self, out, batch, epoch, words):
        return summed_scores([(out.image_embeds, out.id_text_embeds),
                              (out.cloth_image_embeds, out.cloth_text_embeds)], _looks_alike(batch),
                             batch.is_matched & batch.says_id & batch.says_cloth,
                             temperature=self.temperature)

    def _id_image(self, out, batch, epoch, words):
        return same_person_other_picture(out.image_embeds, batch.pid,
                                         temperature=self.temperature)

    def _cloth_image(self, out, batch, epoch, words):
        return same_person_other_picture(out.cloth_image_embeds, batch.outfit,
                                         temperature=self.temperature, valid=batch.outfit >= 0)

    def _fine_grained(self, out, batch, epoch, words):
        same = _looks_alike(batch).float()
        target = same / same.sum(dim=1, keepdim=True)
        logits = out.token_similarity / self.temperature
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    def _itm(self, out, batch, epoch, words):
        keep = (batch.says_id | batch.says_cloth) & batch.is_matched
        fits = torch.tensor([1.0, 0.0], device=keep.device).expand(len(keep), 2)
        found = F.binary_cross_entropy_with_logits(out.itm_logits, fits, reduction="none")
        return (found.mean(dim=1) * keep).sum() / keep.sum().clamp(min=1)

    def _words(self, out, batch, epoch, words):
        return (cka_linear(out.image_embeds, words["cloth"])
                + cka_linear(out.cloth_image_embeds, words["id"]))


def _looks_alike(batch: Batch) -> Tensor:
    """(B, B) bool: one person in one outfit."""
    return ((batch.pid[:, None] == batch.pid) & (batch.outfit[:, None] == batch.outfit))
