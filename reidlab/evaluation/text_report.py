"""The scores of a text-image run: tables, probes, dependence."""
import numpy as np
import torch

from reidlab.config import Experiment, Scoring
from reidlab.data.records import Split, TextImageData
from reidlab.evaluation.chance import chance
from reidlab.evaluation.dependence import dependence, permutation_level
from reidlab.evaluation.embeddings import Embeddings, embed
from reidlab.evaluation.probes import probe_matrix
from reidlab.evaluation.protocols import described, id_accuracy, score_as_dressed, tables
from reidlab.evaluation.ranking import rank
from reidlab.evaluation.reranking import rerank


def text_image_scores(experiment: Experiment, model, data: TextImageData) -> dict:
    """Tables with chance and ceiling, probe matrix and dependence of a trained model.

    The checkpoint was chosen on val; probes are fitted on val people and judged, like every
    table, on test people.
    """
    val, test = embed(model, data.val), embed(model, data.test)
    weight = experiment.scoring.cloth_weight
    found = {
        "protocol": {
            "score": f"cos(id) + {weight:g} * cos(cloth)", "similarity": "float32 cosine",
            "ties": "a tied non-match counts first", "checkpoint": "best mAP on val",
            "as_dressed": "query: id and cloth caption; gallery: one outfit a person",
            "any_clothes": "query: id caption; gallery: the person's other outfits",
            "across_outfits": "query: picture; gallery: the person's other outfits",
            "probes": "fitted on val people, judged on test people"},
        "counts": {name: {"people": len(set(split.pids.tolist())), "pictures": len(split.records)}
                   for name, split in (("train", data.train), ("val", data.val),
                                       ("test", data.test))},
        "tables": {"val": tables(val, weight), "test": tables(test, weight)},
        "classification": id_accuracy(test),
        "probes": probe_matrix(val, test),
        "dependence": _dependence(test),
    }
    if model.matcher is not None:
        for name, embedded, split in (("val", val, data.val), ("test", test, data.test)):
            table = found["tables"][name]
            table["as_dressed_reranked"] = _reranked(model, embedded, split, experiment.scoring)
            if "ceiling" in (plain := table["as_dressed"]["text_to_image"]):
                table["as_dressed_reranked"]["text_to_image"]["ceiling"] = plain["ceiling"]
    return found


def _reranked(model, found: Embeddings, split: Split, scoring: Scoring) -> dict:
    """The as-dressed table, text to image, after the matcher looked at the best hits."""
    keep = described(found.records)
    texts, pictures = np.flatnonzero(keep[found.picture]), np.flatnonzero(keep)
    similarity, asked, wanted = score_as_dressed(found, scoring.cloth_weight)["text_to_image"]
    said = [(found.records[found.picture[t]], found.caption[t]) for t in texts]
    said = [f"{r.id_captions[c]} {r.cloth_captions[c]}".strip() for r, c in said]
    anew = rerank(model, similarity, said, split, pictures, scoring.rerank, scoring.match_weight)
    return {"text_to_image": rank(anew, asked, wanted).to_dict()
            | {"chance": chance(asked, wanted)}}


def _dependence(found: Embeddings, most: int = 1000) -> dict:
    """Dependence of the two test embeddings, with the level that shuffled pairs reach."""
    every = max(1, -(-len(found.records) // most))
    x, y = (torch.from_numpy(v[::every]) for v in (found.id_image, found.cloth_image))
    return dependence(x, y) | {"cka_permutation_95": permutation_level(x, y)}
