"""Examples to look at: people in their outfits, and queries with the people found for them."""
import numpy as np

from reidlab.data.records import Split
from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.protocols import described


def rows_of_people(split: Split, people: int = 4, pictures: int = 12) -> list[list[np.ndarray]]:
    """The first pictures of the first people, one list a person."""
    pids = split.pids
    chosen = list(dict.fromkeys(pids.tolist()))[:people]
    return [[split.images[k] for k in np.flatnonzero(pids == pid)[:pictures]] for pid in chosen]


def ranked_examples(model, split: Split, count: int = 5, hits: int = 8,
                    cloth_weight: float = 1.0) -> list[dict]:
    """Evenly spaced captions of a split with their best hits among people as dressed.

    Returns:
        ``[{"text": caption, "hits": [(picture, score, is the right person), …]}, …]``.
    """
    keep = np.flatnonzero(described(split.records))
    found = embed(model, split, pictures=keep)
    queries = np.linspace(0, len(found.picture) - 1, count).astype(int)
    similarity = (found.id_text[queries] @ found.id_image.T
                  + cloth_weight * found.cloth_text[queries] @ found.cloth_image.T)
    examples = []
    for q, row in zip(queries, similarity, strict=True):
        record = found.records[found.picture[q]]
        best = np.argsort(-row, kind="stable")[:hits]
        examples.append({
            "text": record.captions[found.caption[q]],
            "hits": [(split.images[keep[k]], float(row[k]), found.records[k].pid == record.pid)
                     for k in best]})
    return examples
