"""The weighted sum of the visible-infrared terms. Shapes: R rows, S sets of them, D width."""
import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config.visible_infrared import Loss
from reidlab.losses.clustering import OnlineClusters
from reidlab.losses.contrastive import multi_positive, same_person_other_picture
from reidlab.losses.metric import batch_hard_triplet, centre_pairs, modality_gap
from reidlab.losses.orthogonality import between_patches, between_views, between_views_inner

ORTHOGONALITY = {"views": lambda out: between_views(out.views),
                 "inner": lambda out: between_views_inner(out.views),
                 "patches": lambda out: between_patches(out.tokens)}


class VisibleInfraredLoss(nn.Module):
    """Adds up the terms whose weight is not zero.

    Pictures without a name take part in the terms that need none, and in ``contrast`` by the
    groups that are found among them.

    Args:
        config: forms and weights.
        dim: width D behind the neck, for the groups; needed with ``clusters``.
    """

    def __init__(self, config: Loss, dim: int = 0):
        super().__init__()
        self.config = config
        self.groups = OnlineClusters(dim, config.clusters) if config.clusters else None
        self.weights = {k: w for k, w in dataclasses.asdict(config.weights).items() if w}

    def forward(self, out, labels: Tensor, progress: float = 1.0, aligned: bool = False
                ) -> dict[str, Tensor]:
        """Every term that has set in, unweighted, and ``total``.

        Args:
            out: an `VisibleInfraredOutput` of both modalities.
            labels: (R,) training labels in the rows' order, −1 where nobody knows; repeated here
                for added sets.
            progress: share of training done, in [0, 1]; the clock of ``metric_from``.
            aligned: whether row i of both modalities is one shot, where it has a name; ``patches``
                needs it.
        """
        waiting = set() if progress >= self.config.metric_from else {"triplet", "cpm"}
        waiting |= set() if aligned else {"patches"}
        terms = {name: getattr(self, f"_{name}")(out, labels) for name in self.weights
                 if name not in waiting}
        terms["total"] = sum(self.weights[n] * term for n, term in terms.items()
                             ) if terms else out.pooled.sum() * 0
        return terms

    def _cls(self, out, labels):
        return F.cross_entropy(out.logits, labels.repeat(out.sets), ignore_index=-1,
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
        return torch.stack([
            centre_pairs(plain, made, labels, out.modality, margin=self.config.cpm_margin)
            for made in generated]).mean()

    def _orthogonality(self, out, labels):
        return ORTHOGONALITY[self.config.orthogonality](out)

    def _contrast(self, out, labels):
        rows, taking_part = out.features[:len(labels)], labels >= 0
        if self.groups is not None:
            found = self.groups(rows)  # −2, −3, …: never a name
            labels = torch.where(labels < 0, -2 - found, labels)
            taking_part = torch.ones_like(taking_part)
        if self.config.contrast_over == "all":
            return same_person_other_picture(rows, labels, temperature=self.config.temperature,
                                             valid=taking_part)
        count = out.visible_rows
        return multi_positive(rows[:count], rows[count:], labels[:count], labels[count:],
                              temperature=self.config.temperature, valid=taking_part[count:],
                              valid_images=taking_part[:count])

    def _alignment(self, out, labels):
        return modality_gap(out.features[:len(labels)], out.modality)

    def _patches(self, out, labels):
        """Row i of both modalities shows one scene: patch k of one is patch k of the other. Rows
        without a name were drawn apart, each of anybody, and stay out."""
        known = (labels >= 0).repeat_interleave(out.patches.shape[1])         # (R·N,)
        seen = out.patches.flatten(0, 1)                                      # (R·N, d)
        seen = seen - known.to(seen.dtype) @ seen / known.sum()
        place = torch.arange(len(seen) // 2, device=seen.device)
        return multi_positive(*seen.chunk(2), place, place, temperature=self.config.temperature,
                              valid=known.chunk(2)[1], valid_images=known.chunk(2)[0])

    def _cut_mix(self, out, labels):
        said = out.mixed_logits.log_softmax(dim=1)
        total = 0
        for share, names in ((out.kept, labels), (1 - out.kept, labels[out.partner])):
            each = F.nll_loss(said, names, ignore_index=-1, reduction="none")
            total = total + (share * each).sum() / (names >= 0).sum()
        return total
