"""This person, wearing that: identity from a picture, clothing from words.

Shapes: Q queries, N pictures.
"""
from collections.abc import Callable

import numpy as np

from reidlab.evaluation.chance import chance
from reidlab.evaluation.embeddings import Embeddings
from reidlab.evaluation.ranking import retrieval_metrics, with_random_ties

Agreement = Callable[[np.ndarray, np.ndarray], np.ndarray]


def composed_queries(found: Embeddings) -> tuple[np.ndarray, np.ndarray]:
    """Each picture, with the first caption of the same person's next outfit.

    Returns:
        (Q,) pictures and (Q,) captions; a person who is seen in one outfit asks nothing.
    """
    said: dict[int, dict[int, int]] = {}  # person → outfit → the first caption of it
    for caption, picture in enumerate(found.picture.tolist()):
        worn = said.setdefault(int(found.pids[picture]), {})
        worn.setdefault(int(found.outfits[picture]), caption)
    pictures, captions = [], []
    for picture, (person, outfit) in enumerate(zip(found.pids.tolist(), found.outfits.tolist(),
                                                   strict=True)):
        others = [k for k in sorted(said[person]) if k != outfit] if person in said else []
        if others:
            pictures.append(picture)
            captions.append(said[person][min(others, key=lambda k: (k < outfit, k))])
    return np.array(pictures, int), np.array(captions, int)


def composed_table(found: Embeddings, cloth_weight: float, agreement: Agreement | None = None
                   ) -> dict:
    """Find the person of a picture in the clothes that words name, and both halves alone.

    The picture itself is no answer and is left out; the person's other pictures in its clothes stay
    in the gallery as distractors, and so does whoever else wears what the words say.

    Args:
        found: vectors of a split.
        cloth_weight: λ of the clothing score.
        agreement: (pictures, captions) → (Q, N) how much an oracle finds of what is asked in each
            picture; None where factors are unknown.

    Returns:
        ``{"photo_and_words", "photo", "words"}`` → scores with chance, the first with the oracle's
        ``ceiling``; empty where outfits are unknown or nobody has two.
    """
    if (found.outfits < 0).any():
        return {}
    pictures, captions = composed_queries(found)
    if not len(pictures):
        return {}
    people, outfits = found.pids, found.outfits
    codes = {pair: k for k, pair in enumerate(dict.fromkeys(zip(people.tolist(), outfits.tolist(),
                                                                strict=True)))}
    shown = np.array([codes[pair] for pair in zip(people.tolist(), outfits.tolist(), strict=True)])
    wanted = shown[found.picture[captions]]
    itself = pictures[:, None] == np.arange(len(people))
    by_photo = found.id_image[pictures] @ found.id_image.T
    by_words = cloth_weight * (found.cloth_text[captions] @ found.cloth_image.T)
    hopeless = chance(wanted, shown, itself)
    table = {name: retrieval_metrics(scores, wanted, shown, itself).to_dict()
             | {"chance": hopeless} for name, scores in (
                 ("photo_and_words", by_photo + by_words), ("photo", by_photo),
                 ("words", by_words))}
    if agreement is not None:
        table["photo_and_words"]["ceiling"] = with_random_ties(
            agreement(pictures, captions), wanted, shown, itself)
    return table
