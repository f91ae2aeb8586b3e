"""Image → image across outfits as the field scores it: general, same clothes, other clothes.

Shapes: Q queries, G gallery pictures.
"""
from collections.abc import Sequence

import numpy as np

from reidlab.data.records import Record
from reidlab.evaluation.chance import chance
from reidlab.evaluation.embeddings import Embeddings
from reidlab.evaluation.ranking import SCORES, retrieval_metrics

TRIALS = 10  # galleries of one picture a person that PRCC's authors draw
Table = dict[str, dict]


def ignored(queries: Sequence[Record], gallery: Sequence[Record], kind: str) -> np.ndarray:
    """(Q, G) bool: gallery pictures that a query is not shown.

    Args:
        queries, gallery: records.
        kind: ``general`` leaves out the query's person in the query's camera, and the query itself;
            ``clothes_changing`` this person in the query's outfit besides, ``same_clothes`` this
            person in other outfits besides. Camera 0 is unknown and equals none, nor does
            outfit −1.

    Source: LTCC (ACCV 2020) as Simple-CCReID scores it, https://github.com/guxinqian/Simple-CCReID.
    """
    def known(name: str, rows: Sequence[Record]) -> np.ndarray:
        return np.array([getattr(r, name) for r in rows], np.int64)

    same = known("pid", queries)[:, None] == known("pid", gallery)
    asking, shown = known("camid", queries)[:, None], known("camid", gallery)
    worn, wearing = known("outfit", queries)[:, None], known("outfit", gallery)
    itself = np.array([r.path for r in queries])[:, None] == np.array([r.path for r in gallery])
    out = itself | (same & (asking == shown) & (asking > 0))
    alike = (worn == wearing) & (worn >= 0)
    if kind == "clothes_changing":
        return out | (same & alike)
    return out | (same & ~alike) if kind == "same_clothes" else out


def outfit_tables(found: Embeddings, source: str) -> Table:
    """Image → image scores of a split by identity vectors.

    Args:
        found: vectors of a split.
        source: data source; PRCC has rules of its own.

    Returns:
        ``general``, ``same_clothes`` and ``clothes_changing`` (of PRCC the last two, each also
        ``_single_shot``) → scores with chance and protocol. A kind that no query can be asked in is
        left out; where an outfit is unknown, all but ``general``.
    """
    known = not (found.outfits < 0).any()
    asking = _with_role(found.records, "query")
    shown = _with_role(found.records, "gallery")
    if known and source.partition(":")[0] == "prcc" and any(r.role for r in found.records):
        return _prcc(found, asking, shown)
    records = found.records
    similarity = found.id_image[asking] @ found.id_image[shown].T
    queries, gallery = [records[k] for k in asking], [records[k] for k in shown]
    tables = {}
    for kind in ("general", "same_clothes", "clothes_changing") if known else ("general",):
        left_out = ignored(queries, gallery, kind)
        if scored := _scored(similarity, queries, gallery, left_out):
            tables[kind] = scored | {"protocol": f"{kind.replace('_', ' ')}: the query's person in "
                                     "its camera left out" + {
                                         "same_clothes": ", and in other outfits",
                                         "clothes_changing": ", and in its outfit"}.get(kind, "")}
    return tables


def _with_role(records: Sequence[Record], role: str) -> np.ndarray:
    """Pictures that ask, or are shown: as the data set says, else all."""
    chosen = [k for k, r in enumerate(records) if r.role in ("", role)]
    return np.array(chosen, np.int64)


def _scored(similarity, queries, gallery, left_out=None) -> dict:
    """Scores and chance; empty where no query has a match."""
    asked, wanted = ([r.pid for r in rows] for rows in (queries, gallery))
    match = np.array(asked)[:, None] == np.array(wanted)
    if not (match if left_out is None else match & ~left_out).any():
        return {}
    return retrieval_metrics(similarity, asked, wanted, left_out).to_dict() | {
        "chance": chance(asked, wanted, left_out)}


def _prcc(found: Embeddings, asking: np.ndarray, shown: np.ndarray) -> Table:
    """Gallery camera A; camera B asks in the same clothes, C in others."""
    records, tables = found.records, {}
    gallery = [records[k] for k in shown]
    for kind, camera in (("same_clothes", 2), ("clothes_changing", 3)):
        chosen = np.array([k for k in asking if records[k].camid == camera], np.int64)
        if not len(chosen):
            continue
        queries = [records[k] for k in chosen]
        similarity = found.id_image[chosen] @ found.id_image[shown].T
        name = f"camera {'ABC'[camera - 1]} asks, gallery camera A"
        if whole := _scored(similarity, queries, gallery):
            tables[kind] = whole | {"protocol": f"{name}, all pictures"}
            tables[f"{kind}_single_shot"] = _single_shot(similarity, queries, gallery) | {
                "protocol": f"{name}, one picture a person, mean of {TRIALS} draws"}
    return tables


def _single_shot(similarity: np.ndarray, queries: list[Record], gallery: list[Record],
                 seed: int = 0) -> dict:
    """Means over galleries of one picture a person, chosen by lot."""
    pictures: dict[int, list[int]] = {}
    for k, record in enumerate(gallery):
        pictures.setdefault(record.pid, []).append(k)
    trials = []
    for trial in range(TRIALS):
        rng = np.random.default_rng([seed, trial])
        drawn = [int(rng.choice(pictures[pid])) for pid in sorted(pictures)]
        trials.append(_scored(similarity[:, drawn], queries, [gallery[k] for k in drawn]))
    return trials[0] | {name: float(np.mean([t[name] for t in trials])) for name in SCORES}
