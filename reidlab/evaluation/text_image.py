"""The scores of a text-image run: which queries meet which gallery, chance, ceiling, probes.

Shapes: N pictures, T captions.
"""
from typing import Any

import numpy as np
import torch

from reidlab.config import TextImageExperiment
from reidlab.config.text_image import Scoring
from reidlab.data.records import Record, Split, TextImageData
from reidlab.evaluation.chance import chance
from reidlab.evaluation.clothes_changing import outfit_tables
from reidlab.evaluation.composed import Agreement, composed_table
from reidlab.evaluation.dependence import dependence, permutation_level
from reidlab.evaluation.embeddings import Embeddings, embed
from reidlab.evaluation.probes import probe_matrix
from reidlab.evaluation.ranking import retrieval_metrics, with_random_ties
from reidlab.evaluation.reranking import rerank

IDENTITY_TRAITS = ("sex", "build", "height", "skin", "hair_colour", "hair_style", "beard",
                   "glasses")


def query_outfit_mask(records: list[Record]) -> np.ndarray:
    """(N,) bool: pictures in the outfit of their person's first record.

    Where outfits are unknown every picture counts, as the public protocols have it.
    """
    first: dict[int, int] = {}
    return np.array([r.outfit < 0 or first.setdefault(r.pid, r.outfit) == r.outfit
                     for r in records])


def says_anything(records: list[Record]) -> bool:
    """Whether any picture has a caption."""
    return any(any(r.captions) for r in records)


def score_same_clothes(found: Embeddings, cloth_weight: float) -> dict:
    """Text → image and image → text where people wear what the caption describes."""
    keep = query_outfit_mask(found.records)
    images, texts = np.flatnonzero(keep), np.flatnonzero(keep[found.picture])
    similarity = (found.id_text[texts] @ found.id_image[images].T
                  + cloth_weight * found.cloth_text[texts] @ found.cloth_image[images].T)
    pids = found.pids
    return {"text_to_image": (similarity, pids[found.picture[texts]], pids[images]),
            "image_to_text": (similarity.T, pids[images], pids[found.picture[texts]])}


def tables(found: Embeddings, cloth_weight: float) -> dict:
    """Every retrieval table of a split.

    ``same_clothes`` scores identity and clothing together, ``same_clothes_id_only`` identity
    alone (λ = 0). Where outfits are known, ``clothes_changing`` asks for the person in other
    outfits: ``text_to_image`` with an ID caption, ``image_to_image`` with a picture. Both count
    how often the first hit is a same-outfit distractor.

    Returns:
        ``{table: {direction: {r1, …, chance: {…}, ceiling: {…}, same_outfit_at_1}}}``; ceilings
        only where factors are known, ``same_outfit_at_1`` only under ``clothes_changing``.
    """
    out = {}
    for name, weight in (("same_clothes", cloth_weight), ("same_clothes_id_only", 0.0)):
        out[name] = {direction: _scored(*asked) for direction, asked in
                     score_same_clothes(found, weight).items()}
    keep, records = query_outfit_mask(found.records), found.records
    known = all(r.factors for r in records)
    images, texts = np.flatnonzero(keep), np.flatnonzero(keep[found.picture])
    if known:
        agree = _agreement(found, texts, images, ("person/", "outfit/"))
        by_id = _agreement(found, texts, images, ("person/",))
        for name, reach in (("same_clothes", agree), ("same_clothes_id_only", by_id)):
            _add_ceiling(out[name]["text_to_image"], reach, *_ids(found, texts, images))
            _add_ceiling(out[name]["image_to_text"], reach.T, *_ids(found, texts, images)[::-1])
    others = np.flatnonzero(~keep)
    if not len(others):
        return out
    pids, outfits = found.pids, found.outfits
    asked, wanted = _ids(found, texts, others)
    by_text = found.id_text[texts] @ found.id_image[others].T
    by_image = found.id_image[images] @ found.id_image[others].T
    changing = out["clothes_changing"] = {
        "text_to_image": _scored(by_text, asked, wanted) | {"same_outfit_at_1": same_outfit_at_1(
            by_text, outfits[found.picture[texts]], outfits[others])},
        "image_to_image": _scored(by_image, pids[images], pids[others]) | {
            "same_outfit_at_1": same_outfit_at_1(by_image, outfits[images], outfits[others])}}
    if known:
        _add_ceiling(changing["text_to_image"],
                     _agreement(found, texts, others, ("person/",)), asked, wanted)
        _add_ceiling(changing["image_to_image"], _alike(records, images, others), pids[images],
                     pids[others])
    return out


def nearest_centroid_accuracy(found: Embeddings) -> dict:
    """Naming unseen people: each picture in another outfit goes to the person whose mean identity
    vector, over the pictures in the described outfit, is nearest.

    Returns:
        ``accuracy``, ``chance``, ``people``, ``pictures``; empty where outfits are unknown.
    """
    keep, pids = query_outfit_mask(found.records), found.pids
    if keep.all():
        return {}
    people, group = np.unique(pids[keep], return_inverse=True)
    centres = np.zeros((len(people), found.id_image.shape[1]))
    np.add.at(centres, group, found.id_image[keep])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    named = people[(found.id_image[~keep] @ centres.T).argmax(axis=1)]
    return {"accuracy": float((named == pids[~keep]).mean()), "chance": 1 / len(people),
            "people": len(people), "pictures": int((~keep).sum())}


def same_outfit_at_1(similarity: np.ndarray, query_outfits: np.ndarray, gallery_outfits: np.ndarray
              ) -> float:
    """Share of queries whose best hit wears the query's outfit, in a gallery where the person
    asked for never does: every such hit is somebody else."""
    return float((gallery_outfits[similarity.argmax(axis=1)] == query_outfits).mean())


def validation_pictures(split: Split) -> np.ndarray:
    """Pictures that a look at the validation split needs: those of the same-clothes table."""
    return np.flatnonzero(query_outfit_mask(split.records))


def _ids(found: Embeddings, texts: np.ndarray, images: np.ndarray):
    return found.pids[found.picture[texts]], found.pids[images]


def _scored(similarity, query_ids, gallery_ids) -> dict:
    return retrieval_metrics(similarity, query_ids, gallery_ids).to_dict() | {
        "chance": chance(query_ids, gallery_ids)}


def _add_ceiling(table: dict, agreement, query_ids, gallery_ids) -> None:
    table["ceiling"] = with_random_ties(agreement, query_ids, gallery_ids)


def _agreement(found: Embeddings, texts, images, sides: tuple[str, ...]) -> np.ndarray:
    """(T, N) how many of a caption's stated facts hold for a picture: a perfect reader's rank."""
    facts = [{k: v for k, v in found.records[p].facts[c].items() if k.startswith(sides)}
             for p, c in zip(found.picture[texts], found.caption[texts], strict=True)]
    coded = _coded(facts + [found.records[k].factors for k in images],
                   names=sorted({name for f in facts for name in f}))
    stated, true = coded[:len(facts)], coded[len(facts):]
    return sum(((stated[:, k][:, None] == true[:, k]) & (stated[:, k] >= 0)[:, None]
                ).astype(np.int16) for k in range(coded.shape[1]))


def _alike(records: list[Record], images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m) how many traits of the person two pictures share."""
    traits = _coded([{f"person/{n}": r.factors[f"person/{n}"] for n in IDENTITY_TRAITS}
                     for r in records])
    return sum((traits[images, k][:, None] == traits[others, k]).astype(np.int16)
               for k in range(traits.shape[1]))


def composed_agreement(found: Embeddings) -> Agreement | None:
    """What an oracle of `composed_table` sees: traits of the person in the photo, and clothes that
    the words state; None where factors are unknown."""
    if not all(r.factors for r in found.records):
        return None
    every = np.arange(len(found.records))
    return lambda pictures, captions: (_alike(found.records, pictures, every)
                                       + _agreement(found, captions, every, ("outfit/",)))


def _coded(rows: list[dict], names: list[str] | None = None) -> np.ndarray:
    """Factor values as integers, −1 where absent: (rows, names)."""
    names = sorted({n for row in rows for n in row}) if names is None else names
    codes: list[dict] = [{} for _ in names]
    return np.array([[codes[k].setdefault(row[n], len(codes[k])) if n in row else -1
                      for k, n in enumerate(names)] for row in rows])


def text_image_scores(experiment: TextImageExperiment, model, data: TextImageData) -> dict:
    """Tables with chance and ceiling, probe matrix and dependence of a trained model.

    The checkpoint was chosen on val; probes are fitted on val people and judged, like every
    table, on test people.
    """
    mirror, weight = experiment.scoring.mirror, experiment.scoring.cloth_weight
    val, test = (embed(model, split, mirror=mirror) for split in (data.val, data.test))
    said = says_anything(data.test.records)
    found: dict[str, Any] = {
        "protocol": {
            "score": f"cos(id) + {weight:g} * cos(cloth)", "similarity": "float32 cosine",
            "pictures": "averaged with their mirror images" if mirror else "as they are",
            "ties": "a tied non-match counts first", "checkpoint": "best mAP on val",
            "same_clothes": "query: id and cloth caption; gallery: one outfit a person",
            "clothes_changing": "query: id caption or picture; gallery: the person's other outfits",
            "probes": "fitted on val people, judged on test people"} if said else {
                "similarity": "float32 cosine of identity vectors",
                "pictures": "averaged with their mirror images" if mirror else "as they are",
                "ties": "a tied non-match counts first", "checkpoint": "best mAP on val"},
        "counts": {name: {"people": len(set(split.pids.tolist())), "pictures": len(split.records)}
                   for name, split in (("train", data.train), ("val", data.val),
                                       ("test", data.test))},
        "tables": {"val": tables(val, weight), "test": tables(test, weight)} if said else {
            "val": {}, "test": {}},
        "outfits": {"val": outfit_tables(val, data.source),
                    "test": outfit_tables(test, data.source)},
        "identification": nearest_centroid_accuracy(test),
        "composed": composed_table(test, weight, composed_agreement(test)) if said else {},
        "probes": probe_matrix(val, test),
        "dependence": _dependence(test),
    }
    if model.itm_head is not None and said:
        for name, embedded, split in (("val", val, data.val), ("test", test, data.test)):
            table = found["tables"][name]
            table["same_clothes_reranked"] = _reranked(model, embedded, split, experiment.scoring)
            if "ceiling" in (plain := table["same_clothes"]["text_to_image"]):
                table["same_clothes_reranked"]["text_to_image"]["ceiling"] = plain["ceiling"]
    return found


def _reranked(model, found: Embeddings, split: Split, scoring: Scoring) -> dict:
    """The same-clothes table, text to image, after the ITM head looked at the best hits."""
    keep = query_outfit_mask(found.records)
    texts, pictures = np.flatnonzero(keep[found.picture]), np.flatnonzero(keep)
    similarity, asked, wanted = score_same_clothes(found, scoring.cloth_weight)["text_to_image"]
    pairs = [(found.records[found.picture[t]], found.caption[t]) for t in texts]
    captions = [f"{r.id_captions[c]} {r.cloth_captions[c]}".strip() for r, c in pairs]
    reranked = rerank(
        model, similarity, captions, split, pictures, scoring.rerank, scoring.itm_weight
    )
    return {"text_to_image": retrieval_metrics(reranked, asked, wanted).to_dict()
            | {"chance": chance(asked, wanted)}}


def _dependence(found: Embeddings, most: int = 1000) -> dict:
    """Dependence of the two test embeddings, with the level that shuffled pairs reach."""
    every = max(1, -(-len(found.records) // most))
    x, y = (torch.from_numpy(v[::every]) for v in (found.id_image, found.cloth_image))
    return dependence(x, y) | {"cka_permutation_95": permutation_level(x, y)}
