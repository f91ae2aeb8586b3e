"""Rankings looked at again: by the ITM head, or by neighbours that choose each other.

Shapes: Q queries, G gallery pictures, T = Q + G.
"""
import numpy as np
import torch

from reidlab.data.packing import to_tensor
from reidlab.data.records import Split
from reidlab.errors import ReidlabError
from reidlab.models.modes import evaluating


@torch.inference_mode()
def rerank(model, similarity: np.ndarray, texts: list[str], split: Split, pictures: np.ndarray,
           best: int = 10, weight: float = 1.0, batch_size: int = 512) -> np.ndarray:
    """Similarities in which the best hits of each query are sorted again.

    Args:
        model: a TextImageModel with a ITM head.
        similarity: (Q, G).
        texts: Q whole descriptions.
        split: where the pictures are.
        pictures: (G,) their indices.
        best: hits of a query that are looked at again; no other hit moves.
        weight: of the ITM head's probability, added to the similarity.

    Returns:
        (Q, G) float32; what was among the best stays among the best.
    """
    with evaluating(model):
        device, best = next(model.parameters()).device, min(best, similarity.shape[1])
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :best]      # (Q, k)
        tokens = torch.cat([model.image_features(to_tensor(split.images[pictures[k:k + batch_size]]
                                                  ).to(device))[1]
                            for k in range(0, len(pictures), batch_size)])
        fits = np.empty(order.shape, np.float32)
        for q in range(0, len(texts), step := max(1, batch_size // best)):
            hits = torch.from_numpy(order[q:q + step]).to(device)
            states, mask = model.text_encoder.states(texts[q:q + step])
            logits = model.itm_head(tokens[hits.flatten()], states.repeat_interleave(best, dim=0),
                                   mask.repeat_interleave(best, dim=0))
            fits[q:q + step] = logits.sigmoid().view(hits.shape).float().cpu().numpy()
        rows = np.arange(len(similarity))[:, None]
        reranked = similarity.astype(np.float32, copy=True)
        found = reranked[rows, order]
        # what was first stays above what was not among the best
        reranked[rows, order] = found + weight * fits + (found.max() - found.min() + weight)
        return reranked


def reciprocal_similarity(
    query_vectors: np.ndarray,
    gallery: np.ndarray,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> np.ndarray:
    """Similarity after comparing neighbourhoods.

    Every picture is described by the pictures that it and they choose each other among their `k1`
    nearest; two pictures are alike when these descriptions overlap (Jaccard). The distance of the
    vectors themselves keeps `weight` of the say.

    Args:
        query_vectors: (Q, D), gallery: (G, D), unit norm.
        k1: neighbours looked at; k2: neighbours a description is averaged over.
        weight: in [0, 1]; 1 leaves the ranking as it is.

    Returns:
        (Q, G), larger is more alike.

    Raises:
        ReidlabError: a weight outside [0, 1].

    Source: arXiv:1701.08398.
    """
    if not 0 <= weight <= 1:
        raise ReidlabError(f"the weight of the own distance must be in [0, 1]; got {weight}")
    everyone = np.concatenate([query_vectors, gallery]).astype(np.float32)
    distance = np.maximum(2 - 2 * everyone @ everyone.T, 0)
    distance /= distance.max(axis=0, keepdims=True).clip(min=1e-12)
    distance = distance.T
    k1, count = min(k1, len(everyone) - 1), len(everyone)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k1 + 1]
    half = order[:, :max(1, round(k1 / 2)) + 1]
    among, among_half = (_mutual(found, count) for found in (order, half))
    described = np.zeros((count, count), np.float32)
    for k in range(count):
        mine = np.flatnonzero(among[k])
        chosen = among[k].copy()
        for other in mine:  # a neighbour's own circle joins, where it is mostly mine already
            theirs = among_half[other]
            if (theirs & among[k]).sum() > 2 / 3 * theirs.sum():
                chosen |= theirs
        nearness = np.exp(-distance[k, chosen])
        described[k, chosen] = nearness / nearness.sum()
    if k2 > 1:
        described = np.stack([described[order[k, :k2]].mean(axis=0) for k in range(count)])
    queries = len(query_vectors)
    overlap = np.empty((queries, count - queries), np.float32)
    for k in range(queries):
        overlap[k] = np.minimum(described[k], described[queries:]).sum(axis=1)
    jaccard = 1 - overlap / (2 - overlap)
    return -((1 - weight) * jaccard + weight * distance[:queries, queries:])


def _mutual(order: np.ndarray, count: int) -> np.ndarray:
    """(T, T) bool: both have each other among their nearest."""
    chosen = np.zeros((count, count), bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen & chosen.T
