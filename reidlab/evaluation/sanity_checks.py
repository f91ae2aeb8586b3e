"""Is a score too good to be true? Four checks that any retrieval experiment should pass."""
from dataclasses import replace

import numpy as np

from reidlab.data.records import Split, TextImageData
from reidlab.evaluation.chance import chance
from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.ranking import retrieval_metrics


def shared_people(data: TextImageData) -> dict[tuple[str, str], set[int]]:
    """People that two splits share; every set must be empty."""
    people = {name: set(getattr(data, name).pids.tolist()) for name in ("train", "val", "test")}
    return {(a, b): people[a] & people[b]
            for a, b in (("train", "val"), ("train", "test"), ("val", "test"))}


def gallery_reads_captions(model, split: Split, seed: int = 0) -> float:
    """How far picture vectors move when captions are dealt out again among the pictures.

    Anything but 0 means that text reaches the gallery, and that the score is not text to image.
    """
    order = np.random.default_rng(seed).permutation(len(split.records))
    dealt = [replace(record, captions=split.records[k].captions,
                     id_captions=split.records[k].id_captions,
                     cloth_captions=split.records[k].cloth_captions)
             for record, k in zip(split.records, order, strict=True)]
    true, shuffled = embed(model, split), embed(model, Split(dealt, split.images))
    return float(max(np.abs(true.id_image - shuffled.id_image).max(),
                     np.abs(true.cloth_image - shuffled.cloth_image).max()))


def permuted_queries(similarity: np.ndarray, query_ids: np.ndarray, gallery_ids: np.ndarray,
                     seed: int = 0) -> dict[str, float]:
    """R1 after the queries' persons are shuffled, beside chance; both should be alike.

    Args:
        similarity: (Q, G).
        query_ids, gallery_ids: (Q,) and (G,).
    """
    shuffled = np.random.default_rng(seed).permutation(query_ids)
    return {"r1": retrieval_metrics(similarity, shuffled, gallery_ids).r1,
            "chance": chance(shuffled, gallery_ids)["r1"]}


def repeats(model, split: Split) -> bool:
    """Whether embedding the same split twice gives the same numbers, bit for bit."""
    one, two = embed(model, split), embed(model, split)
    return all(np.array_equal(getattr(one, name), getattr(two, name))
               for name in ("id_image", "cloth_image", "id_text", "cloth_text"))
