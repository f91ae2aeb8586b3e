"""The weighted sum of the visible-infrared terms. Shapes: R rows, S sets of them, D width."""
import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import InfraredLoss
from reidlab.losses.contrastive import multi_positive
from reidlab.losses.identity import classification
from reidlab.losses.metric import batch_hard_triplet, centre_pairs, modality_gap
from reidlab.losses.orthogonality import between_patches, between_views, between_views_inner

ORTHOGONALITY = {"branches": lambda out: between_views(out.branches),
                 "inner": lambda out: between_views_inner(out.branches),
                 "patches": lambda out: between_patches(out.tokens)}


class InfraredTotalLoss(nn.Module):
    """Adds up the terms whose weight is not zero.

    Args:
        config: forms and weights.
    """

    def __init__(self, config: InfraredLoss):
        super().__init__()
        self.config = config
        self.weights = {k: w for k, w in dataclasses.asdict(config.weights).items() if w}

    def forward(self, out, labels: Tensor) -> dict[str, Tensor]:
        """Every term, unweighted, and ``total``.

        Args:
            out: an `InfraredOutput` of both kinds.
            labels: (R,) training labels in the rows' order; repeated here for added sets.
        """
        terms = {name: getattr(self, f"_{name}")(out, labels) for name in self.weights}
        terms["total"] = sum(self.weights[n] * term for n, term in terms.items())
        return terms

    def _cls(self, out, labels):
        return classification(out.logits, labels.repeat(out.sets),
                              label_smoothing=self.config.label_smoothing)

    def _triplet(self, out, labels):
        return batch_hard_triplet(out.pooled, labels.repeat(out.sets), margin=self.config.margin)

    def _cpm(self, out, labels):
        """Added sets against the rows they came from; a fused set against what went in."""
        rows = len(labels)
        if out.sets > 1:
            plain, generated = out.pooled[:rows], out.pooled[rows:].split(rows)
        else:
            plain, generated = out.before, out.after
        return torch.stack([centre_pairs(plain, made, labels, out.modality,
                                         margin=self.config.cpm_margin)
                            for made in generated]).mean()

    def _orthogonality(self, out, labels):
        return ORTHOGONALITY[self.config.orthogonality](out)

    def _contrast(self, out, labels):
        visible, infrared = out.modality == 0, out.modality == 1
        rows = out.features[:len(labels)]
        return multi_positive(rows[visible], rows[infrared], labels[visible], labels[infrared],
                              temperature=self.config.temperature)

    def _alignment(self, out, labels):
        return modality_gap(out.features[:len(labels)], out.modality)

    def _cut_mix(self, out, labels):
        stayed = F.cross_entropy(out.mixed_logits, labels)
        came = F.cross_entropy(out.mixed_logits, labels[out.partner])
        return out.kept * stayed + (1 - out.kept) * came
