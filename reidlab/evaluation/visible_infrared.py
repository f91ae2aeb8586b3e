"""The scores of a visible-infrared run: who asks whom, from which cameras, how often drawn.

Shapes: N pictures, D width, Q queries, G gallery pictures, P people in the gallery.
"""
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from reidlab.config import VisibleInfraredExperiment
from reidlab.data.packing import to_tensor
from reidlab.data.records import CrossModalSplit, Record, VisibleInfraredData
from reidlab.encoders.dual_vit import INFRARED, VISIBLE
from reidlab.errors import ReidlabError
from reidlab.evaluation.chance import chance
from reidlab.evaluation.ranking import SCORES, retrieval_metrics
from reidlab.evaluation.reranking import reciprocal_similarity
from reidlab.losses.metric import modality_gap
from reidlab.losses.orthogonality import between_views
from reidlab.models.dealing import Deal
from reidlab.models.modes import evaluating


@dataclass(frozen=True)
class Protocol:
    """One way of scoring; it is written beside every number.

    Attributes:
        data: whose convention.
        direction: ``infrared_to_visible`` or ``visible_to_infrared``.
        gallery_cameras: cameras a gallery picture may come from; None for all.
        gallery_shots: gallery pictures for each person, or each person and camera; None takes all.
        by_camera: draw `gallery_shots` from each camera a person was seen by.
        trials: galleries drawn; scores are their means.
        skipped: (query camera, gallery camera): pictures of that camera are not shown to it.
        same_camera: whether a query sees its own person in its own camera.
        people_once: R@k counts people, each by their best picture, instead of pictures.
        mirror: a picture's vector is averaged with that of its mirror image.
        channels: a visible picture is read once a colour channel, each as a grey picture, and the
            vectors are averaged.
    """

    data: str
    direction: str
    gallery_cameras: tuple[int, ...] | None = None
    gallery_shots: int | None = 1
    by_camera: bool = False
    trials: int = 10
    skipped: tuple[tuple[int, int], ...] = ()
    same_camera: bool = True
    people_once: bool = False
    mirror: bool = False
    channels: bool = False

    def __str__(self) -> str:
        gallery = "all pictures" if self.gallery_shots is None else (
            f"{self.gallery_shots} a person" + (" and camera" if self.by_camera else ""))
        rules = [f"{self.data}, {self.direction.replace('_to_', ' → ')}", f"gallery {gallery}"]
        if self.gallery_cameras:
            rules.append("gallery cameras " + ", ".join(map(str, self.gallery_cameras)))
        rules += [f"queries of camera {a} skip gallery camera {b}" for a, b in self.skipped]
        if not self.same_camera:
            rules.append("same person in the same camera skipped")
        if self.people_once:
            rules.append("R@k over people")
        rules += [text for text, said in (("mirror images averaged", self.mirror),
                                          ("colour channels averaged", self.channels)) if said]
        return "; ".join([*rules, f"{self.trials} trial{'s' if self.trials > 1 else ''}"])

    def tta_images(self, image: Tensor, modality: int) -> list[Tensor]:
        """The pictures whose vectors are averaged: (B, 3, H, W) → each (B, 3 or 1, H, W)."""
        grey = self.channels and modality == VISIBLE
        seen = list(image.split(1, dim=1)) if grey else [image]
        return seen + [image_seen.flip(-1) for image_seen in seen] if self.mirror else seen

    def gallery(self, records: list[Record], trial: int, seed: int = 0) -> np.ndarray:
        """Indices of one trial's gallery among `records`."""
        allowed = [k for k, r in enumerate(records)
                   if self.gallery_cameras is None or r.camid in self.gallery_cameras]
        if self.gallery_shots is None:
            return np.array(allowed, np.int64)
        groups: dict[tuple, list[int]] = {}
        for k in allowed:
            key = (records[k].pid, records[k].camid if self.by_camera else 0)
            groups.setdefault(key, []).append(k)
        rng = np.random.default_rng([seed, trial])
        return np.array([k for key in sorted(groups)
                         for k in rng.permutation(groups[key])[:self.gallery_shots]], np.int64)

    def ignored(self, queries: list[Record], gallery: list[Record]) -> np.ndarray:
        """(Q, G) bool: gallery pictures that a query is not shown."""
        asking, shown = (np.array([r.camid for r in rows]) for rows in (queries, gallery))
        out = np.zeros((len(queries), len(gallery)), bool)
        for a, b in self.skipped:
            out |= (asking == a)[:, None] & (shown == b)[None, :]
        if not self.same_camera:
            who, whom = (np.array([r.pid for r in rows]) for rows in (queries, gallery))
            out |= (who[:, None] == whom) & (asking[:, None] == shown)
        return out


def protocol(experiment: VisibleInfraredExperiment, direction: str | None = None) -> Protocol:
    """The protocol of an experiment's data set.

    Args:
        experiment: data source and scoring fields.
        direction: in place of the experiment's own.

    Source: SYSU-MM01, ICCV 2017; RegDB, Sensors 2017; LLCM, CVPR 2023.
    """
    scoring, name = experiment.scoring, experiment.data.source.partition(":")[0]
    direction = direction or scoring.direction
    shared: dict[str, Any] = {
        "direction": direction,
        "gallery_shots": scoring.gallery_shots,
        "trials": scoring.trials,
        "mirror": scoring.mirror,
        "channels": scoring.channels,
    }
    to_visible = direction == "infrared_to_visible"
    if name == "sysu-mm01":
        cameras = ((1, 2, 4, 5) if scoring.search == "all" else (1, 2)) if to_visible else (3, 6)
        return Protocol(data=f"SYSU-MM01, {scoring.search} search", gallery_cameras=cameras,
                        by_camera=True, people_once=True,
                        skipped=((3, 2),) if to_visible else ((2, 3),), **shared)
    if name == "regdb":
        return Protocol(data=f"RegDB, split {experiment.data.trial}",
                        **shared | {"gallery_shots": None, "trials": 1})
    if name == "llcm":
        return Protocol(data="LLCM", by_camera=True, same_camera=False, people_once=True,
                        **shared)
    return Protocol(data="synthetic", **shared)


def score(similarity: np.ndarray, queries: list[Record], gallery: list[Record], rules: Protocol
          ) -> dict:
    """R@k, mAP and mINP of one gallery, under the rules.

    Args:
        similarity: (Q, G), larger is more alike.

    Returns:
        As `RetrievalMetrics`; with `people_once`, R@k are over people.

    Raises:
        ReidlabError: as `retrieval_metrics`.
    """
    asked, shown = (np.array([r.pid for r in rows]) for rows in (queries, gallery))
    ignore = rules.ignored(queries, gallery)
    report = retrieval_metrics(similarity, asked, shown, ignore).to_dict()
    if not rules.people_once:
        return report
    order = np.argsort(shown, kind="stable")
    people, first = np.unique(shown[order], return_index=True)
    seen = np.where(ignore, similarity.min(), similarity)  # never above what a person is shown
    best = np.maximum.reduceat(seen[:, order], first, axis=1)  # (Q, P) best picture of each
    hidden = np.logical_and.reduceat(ignore[:, order], first, axis=1)
    once = retrieval_metrics(best, asked, people, hidden).to_dict()
    return report | {name: once[name] for name in SCORES if name.startswith("r")}


def score_trials(features: dict[str, np.ndarray], records: dict[str, list[Record]],
                 rules: Protocol, seed: int = 0, similarity=None) -> dict:
    """Means over the trials of a protocol, with chance and the protocol itself.

    Args:
        features: ``visible`` and ``infrared`` → (N, D).
        records: ``visible`` and ``infrared`` → N records.
        rules: the protocol.
        seed: of the galleries.
        similarity: (query features, gallery features) → (Q, G); dot products by default.

    Raises:
        ReidlabError: no gallery is left under the rules.
    """
    similarity = similarity or (lambda a, b: a @ b.T)
    query, gallery = rules.direction.split("_to_")
    asking, reports = records[query], []
    for trial in range(rules.trials):
        chosen = rules.gallery(records[gallery], trial, seed)
        if not len(chosen):
            raise ReidlabError(f"no gallery picture under “{rules}”; have cameras "
                               f"{sorted({r.camid for r in records[gallery]})}")
        shown = [records[gallery][k] for k in chosen]
        reports.append(score(similarity(features[query], features[gallery][chosen]), asking, shown,
                             rules))
        if trial == 0:
            who, whom = (np.array([r.pid for r in rows]) for rows in (asking, shown))
            by_chance = chance(who, whom, rules.ignored(asking, shown), rules.people_once)
    means = {name: float(np.mean([r[name] for r in reports]))
             for name in SCORES}
    return means | {"queries": reports[0]["queries"], "skipped": reports[0]["skipped"],
                    "gallery": reports[0]["gallery"], "chance": by_chance,
                    "protocol": asdict(rules) | {"text": str(rules)}}


NUMBERED = (("visible", VISIBLE), ("infrared", INFRARED))
DIRECTIONS = ("infrared_to_visible", "visible_to_infrared")


@torch.inference_mode()
def embed_pictures(model, images: np.ndarray, modality: int, rules: Protocol) -> Tensor:
    """(B, D) unit-norm test features of (B, H, W, 3) uint8 pictures of one modality, averaged over
    the images_seen of the protocol, by a model at rest."""
    device = next(model.parameters()).device
    with evaluating(model):
        found = torch.stack([model.encode(image_seen, modality).float() for image_seen in
                             rules.tta_images(to_tensor(images).to(device), modality)])
    return F.normalize(found.mean(dim=0), dim=-1)


@torch.inference_mode()
def embed_modalities(model, pair: CrossModalSplit, rules: Protocol, batch_size: int = 128
               ) -> dict[str, np.ndarray]:
    """``visible`` and ``infrared`` → (N, D) unit-norm test features; see `embed_pictures`."""
    vectors = {}
    for name, number in NUMBERED:
        images = getattr(pair, name).images
        deal = Deal(len(images))
        own = [embed_pictures(model, images[[*deal.own[k:k + batch_size]]], number, rules)
               for k in range(0, len(deal.own), batch_size)]
        vectors[name] = deal.whole(torch.cat(own)).cpu().numpy()
    return vectors


def gallery_vectors(experiment: VisibleInfraredExperiment, model, images: np.ndarray,
                    modality: str = "visible") -> np.ndarray:
    """(B, D) float32 of (B, H, W, 3) uint8 pictures of one modality."""
    number = dict(NUMBERED)[modality]
    return embed_pictures(model, images, number, protocol(experiment)).cpu().numpy()


def visible_infrared_scores(experiment: VisibleInfraredExperiment, model,
                            data: VisibleInfraredData) -> dict:
    """Tables of both directions, with and without re-ranking, and what the embedding is like.

    Returns:
        ``{"counts", "tables": {split: {direction: scores}}, "modality_gap", "view_similarity",
        "macs"}``; scores carry their protocol and chance. ``view_similarity`` is None
        for a design of one view.
    """
    tables: dict[str, dict] = {}
    for split in ("val", "test"):
        pair = getattr(data, split)
        features = embed_modalities(model, pair, protocol(experiment))
        records = {name: getattr(pair, name).records for name, _ in NUMBERED}
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
            "macs": macs(model, experiment), **_between_views(model, data.test)}


@torch.inference_mode()
def _between_views(model, pair: CrossModalSplit, most: int = 256) -> dict[str, float | None]:
    device = next(model.parameters()).device
    every = [images[::max(1, len(images) // most)][:most]
             for images in (pair.visible.images, pair.infrared.images)]
    with evaluating(model):
        out = model(*(to_tensor(images).to(device) for images in every))
    rows = out.features[:len(out.modality)]
    return {"modality_gap": modality_gap(rows, out.modality).item(),
            "view_similarity": (between_views(out.views).item()
                                if len(out.views) > 1 else None)}


def macs(model, experiment: VisibleInfraredExperiment) -> float:
    """Multiply-adds of one picture's test features: half of torch's count of operations.

    Gradients stay on: the counter follows modules by them.
    """
    image = torch.zeros(1, 3, experiment.image.height, experiment.image.width,
                        device=next(model.parameters()).device)
    with evaluating(model), FlopCounterMode(display=False) as counter:
        model.encode(image, VISIBLE)
    return counter.get_total_flops() / 2
