"""Score a trained visible-infrared run once on its test people. Shapes: N pictures, D width."""
import numpy as np
import torch
import torch.nn.functional as F

from reidlab.config import InfraredExperiment
from reidlab.data.augmentation import to_tensor
from reidlab.data.pairs import Pair, VisibleInfraredData
from reidlab.encoders.dual_vit import INFRARED, VISIBLE
from reidlab.evaluation.cost import multiplications
from reidlab.evaluation.cross_modality import Protocol, protocol, score_trials
from reidlab.evaluation.reciprocal import reciprocal_similarity
from reidlab.losses.metric import modality_gap
from reidlab.losses.orthogonality import between_views
from reidlab.models.modes import evaluating

KINDS = (("visible", VISIBLE), ("infrared", INFRARED))
DIRECTIONS = ("infrared_to_visible", "visible_to_infrared")


@torch.inference_mode()
def embed_pair(model, pair: Pair, rules: Protocol, batch_size: int = 128
               ) -> dict[str, np.ndarray]:
    """``visible`` and ``infrared`` → (N, D) unit-norm test features, averaged over the looks of
    the protocol, by a model at rest."""
    device = next(model.parameters()).device

    def encode(images: np.ndarray, kind: int) -> np.ndarray:
        looks = rules.looks(to_tensor(images).to(device), kind)
        found = torch.stack([model.encode(look, kind).float() for look in looks]).mean(dim=0)
        return F.normalize(found, dim=-1).cpu().numpy()

    with evaluating(model):
        return {name: np.concatenate([encode(images[k:k + batch_size], kind)
                                      for k in range(0, len(images), batch_size)])
                for name, kind in KINDS for images in [getattr(pair, name).images]}


def infrared_scores(experiment: InfraredExperiment, model, data: VisibleInfraredData) -> dict:
    """Tables of both directions, with and without re-ranking, and what the embedding is like.

    Returns:
        ``{"counts", "tables": {split: {direction: scores}}, "modality_gap", "view_similarity",
        "multiplications"}``; scores carry their protocol and chance. ``view_similarity`` is None
        for a design of one view.
    """
    tables = {}
    for split in ("val", "test"):
        pair = getattr(data, split)
        features = embed_pair(model, pair, protocol(experiment))
        records = {name: getattr(pair, name).records for name, _ in KINDS}
        tables[split] = {}
        for direction in DIRECTIONS:
            rules = protocol(experiment, direction)
            tables[split][direction] = score_trials(features, records, rules)
            if split == "test":
                tables[split][f"{direction}_reranked"] = score_trials(
                    features, records, rules, similarity=lambda a, b: reciprocal_similarity(
                        a, b, k1=experiment.scoring.reciprocal))
    counts = {name: {"people": len(set(getattr(data, name).visible.pids.tolist())),
                     "visible": len(getattr(data, name).visible.records),
                     "infrared": len(getattr(data, name).infrared.records)}
              for name in ("train", "val", "test")}
    return {"counts": counts, "tables": tables,
            "multiplications": multiplications(model, experiment), **_likeness(model, data.test)}


@torch.inference_mode()
def _likeness(model, pair: Pair, most: int = 256) -> dict[str, float | None]:
    device = next(model.parameters()).device
    every = [images[::max(1, len(images) // most)][:most]
             for images in (pair.visible.images, pair.infrared.images)]
    with evaluating(model):
        out = model(*(to_tensor(images).to(device) for images in every))
    rows = out.features[:len(out.modality)]
    return {"modality_gap": modality_gap(rows, out.modality).item(),
            "view_similarity": (between_views(out.branches).item()
                                if len(out.branches) > 1 else None)}
