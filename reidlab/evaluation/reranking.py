"""Let the matcher look again at the best hits. Shapes: Q queries, G gallery pictures, k hits."""
import numpy as np
import torch

from reidlab.data.augmentation import to_tensor
from reidlab.data.records import Split
from reidlab.models.modes import evaluating


@torch.inference_mode()
def rerank(model, similarity: np.ndarray, texts: list[str], split: Split, pictures: np.ndarray,
           best: int = 10, weight: float = 1.0, batch_size: int = 512) -> np.ndarray:
    """Similarities in which the best hits of each query are sorted anew.

    Args:
        model: a TextImageModel with a matcher.
        similarity: (Q, G).
        texts: Q whole descriptions.
        split: where the pictures are.
        pictures: (G,) their indices.
        best: hits of a query that are looked at again; no other hit moves.
        weight: of the matcher's probability, added to the similarity.

    Returns:
        (Q, G) float32; what was among the best stays among the best.
    """
    with evaluating(model):
        device, best = next(model.parameters()).device, min(best, similarity.shape[1])
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :best]      # (Q, k)
        tokens = torch.cat([model.split(to_tensor(split.images[pictures[k:k + batch_size]]
                                                  ).to(device))[1]
                            for k in range(0, len(pictures), batch_size)])
        fits = np.empty(order.shape, np.float32)
        for q in range(0, len(texts), step := max(1, batch_size // best)):
            hits = torch.from_numpy(order[q:q + step]).to(device)
            states, mask = model.text_encoder.states(texts[q:q + step])
            logits = model.matcher(tokens[hits.flatten()], states.repeat_interleave(best, dim=0),
                                   mask.repeat_interleave(best, dim=0))
            fits[q:q + step] = logits.sigmoid().view(hits.shape).float().cpu().numpy()
        rows = np.arange(len(similarity))[:, None]
        anew = similarity.astype(np.float32, copy=True)
        found = anew[rows, order]
        # what was first stays above what was not among the best
        anew[rows, order] = found + weight * fits + (found.max() - found.min() + weight)
        return anew
