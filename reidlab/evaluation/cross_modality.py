"""Protocols of visible-infrared retrieval: who asks whom, from which cameras, how often drawn.

Shapes: Q probes, G gallery pictures, P people in the gallery.
"""
from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor

from reidlab.config import InfraredExperiment
from reidlab.data.records import Record
from reidlab.encoders.dual_vit import VISIBLE
from reidlab.errors import ReidlabError
from reidlab.evaluation.chance import chance
from reidlab.evaluation.ranking import rank


@dataclass(frozen=True)
class Protocol:
    """One way of scoring; it is written beside every number.

    Attributes:
        data: whose convention.
        direction: ``infrared_to_visible`` or ``visible_to_infrared``.
        gallery_cameras: cameras a gallery picture may come from; None for all.
        shots: gallery pictures for each person, or each person and camera; None takes all.
        by_camera: draw `shots` from each camera a person was seen by.
        trials: galleries drawn; scores are their means.
        skipped: (probe camera, gallery camera): pictures of that camera are not shown to it.
        same_camera: whether a probe sees its own person in its own camera.
        people_once: R@k counts people, each by their best picture, instead of pictures.
        mirror: a picture's vector is averaged with that of its mirror image.
        channels: a visible picture is read once a colour channel, each as a grey picture, and the
            vectors are averaged.
    """

    data: str
    direction: str
    gallery_cameras: tuple[int, ...] | None = None
    shots: int | None = 1
    by_camera: bool = False
    trials: int = 10
    skipped: tuple[tuple[int, int], ...] = ()
    same_camera: bool = True
    people_once: bool = False
    mirror: bool = False
    channels: bool = False

    def __str__(self) -> str:
        gallery = "all pictures" if self.shots is None else (
            f"{self.shots} a person" + (" and camera" if self.by_camera else ""))
        rules = [f"{self.data}, {self.direction.replace('_to_', ' → ')}", f"gallery {gallery}"]
        if self.gallery_cameras:
            rules.append("gallery cameras " + ", ".join(map(str, self.gallery_cameras)))
        rules += [f"probes of camera {a} skip gallery camera {b}" for a, b in self.skipped]
        if not self.same_camera:
            rules.append("same person in the same camera skipped")
        if self.people_once:
            rules.append("R@k over people")
        rules += [text for text, said in (("mirror images averaged", self.mirror),
                                          ("colour channels averaged", self.channels)) if said]
        return "; ".join([*rules, f"{self.trials} trial{'s' if self.trials > 1 else ''}"])

    def looks(self, image: Tensor, modality: int) -> list[Tensor]:
        """The pictures whose vectors are averaged: (B, 3, H, W) → each (B, 3 or 1, H, W)."""
        grey = self.channels and modality == VISIBLE
        seen = list(image.split(1, dim=1)) if grey else [image]
        return seen + [look.flip(-1) for look in seen] if self.mirror else seen

    def gallery(self, records: list[Record], trial: int, seed: int = 0) -> np.ndarray:
        """Indices of one trial's gallery among `records`."""
        allowed = [k for k, r in enumerate(records)
                   if self.gallery_cameras is None or r.camid in self.gallery_cameras]
        if self.shots is None:
            return np.array(allowed, np.int64)
        groups: dict[tuple, list[int]] = {}
        for k in allowed:
            key = (records[k].pid, records[k].camid if self.by_camera else 0)
            groups.setdefault(key, []).append(k)
        rng = np.random.default_rng([seed, trial])
        return np.array([k for key in sorted(groups)
                         for k in rng.permutation(groups[key])[:self.shots]], np.int64)

    def ignored(self, probes: list[Record], gallery: list[Record]) -> np.ndarray:
        """(Q, G) bool: gallery pictures that a probe is not shown."""
        asking, shown = (np.array([r.camid for r in rows]) for rows in (probes, gallery))
        out = np.zeros((len(probes), len(gallery)), bool)
        for a, b in self.skipped:
            out |= (asking == a)[:, None] & (shown == b)[None, :]
        if not self.same_camera:
            who, whom = (np.array([r.pid for r in rows]) for rows in (probes, gallery))
            out |= (who[:, None] == whom) & (asking[:, None] == shown)
        return out


def protocol(experiment: InfraredExperiment, direction: str | None = None) -> Protocol:
    """The protocol of an experiment's data set.

    Args:
        experiment: data source and scoring fields.
        direction: in place of the experiment's own.

    Source: protocols.md §5; SYSU-MM01, ICCV 2017; RegDB, Sensors 2017; LLCM, CVPR 2023.
    """
    scoring, name = experiment.scoring, experiment.data.source.partition(":")[0]
    direction = direction or scoring.direction
    shared = {"direction": direction, "shots": scoring.shots, "trials": scoring.trials,
              "mirror": scoring.mirror, "channels": scoring.channels}
    to_visible = direction == "infrared_to_visible"
    if name == "sysu-mm01":
        cameras = ((1, 2, 4, 5) if scoring.search == "all" else (1, 2)) if to_visible else (3, 6)
        return Protocol(data=f"SYSU-MM01, {scoring.search} search", gallery_cameras=cameras,
                        by_camera=True, people_once=True,
                        skipped=((3, 2),) if to_visible else ((2, 3),), **shared)
    if name == "regdb":
        return Protocol(data=f"RegDB, split {experiment.data.trial}",
                        **shared | {"shots": None, "trials": 1})
    if name == "llcm":
        return Protocol(data="LLCM", by_camera=True, same_camera=False, people_once=True,
                        **shared)
    return Protocol(data="drawn", **shared)


def score(similarity: np.ndarray, probes: list[Record], gallery: list[Record], rules: Protocol
          ) -> dict:
    """R@k, mAP and mINP of one gallery, under the rules.

    Args:
        similarity: (Q, G), larger is more alike.

    Returns:
        As `RankReport`; with `people_once`, ``r1 r5 r10`` are over people.

    Raises:
        ReidlabError: as `rank`.
    """
    asked, shown = (np.array([r.pid for r in rows]) for rows in (probes, gallery))
    ignore = rules.ignored(probes, gallery)
    report = rank(similarity, asked, shown, ignore).to_dict()
    if not rules.people_once:
        return report
    order = np.argsort(shown, kind="stable")
    people, first = np.unique(shown[order], return_index=True)
    seen = np.where(ignore, similarity.min(), similarity)  # never above what a person is shown
    best = np.maximum.reduceat(seen[:, order], first, axis=1)  # (Q, P) best picture of each
    hidden = np.logical_and.reduceat(ignore[:, order], first, axis=1)
    once = rank(best, asked, people, hidden).to_dict()
    return report | {name: once[name] for name in ("r1", "r5", "r10")}


def score_trials(features: dict[str, np.ndarray], records: dict[str, list[Record]],
                 rules: Protocol, seed: int = 0, similarity=None) -> dict:
    """Means over the trials of a protocol, with chance and the protocol itself.

    Args:
        features: ``visible`` and ``infrared`` → (N, D).
        records: ``visible`` and ``infrared`` → N records.
        rules: the protocol.
        seed: of the galleries.
        similarity: (probe features, gallery features) → (Q, G); dot products by default.

    Raises:
        ReidlabError: no gallery is left under the rules.
    """
    similarity = similarity or (lambda a, b: a @ b.T)
    probe, gallery = rules.direction.split("_to_")
    asking, reports = records[probe], []
    for trial in range(rules.trials):
        chosen = rules.gallery(records[gallery], trial, seed)
        if not len(chosen):
            raise ReidlabError(f"no gallery picture under “{rules}”; have cameras "
                               f"{sorted({r.camid for r in records[gallery]})}")
        shown = [records[gallery][k] for k in chosen]
        reports.append(score(similarity(features[probe], features[gallery][chosen]), asking, shown,
                             rules))
        if trial == 0:
            ids = [np.array([r.pid for r in rows]) for rows in (asking, shown)]
            by_chance = chance(*ids, rules.ignored(asking, shown), rules.people_once)
    means = {name: float(np.mean([r[name] for r in reports]))
             for name in ("r1", "r5", "r10", "map", "minp")}
    return means | {"queries": reports[0]["queries"], "skipped": reports[0]["skipped"],
                    "gallery": reports[0]["gallery"], "chance": by_chance,
                    "protocol": asdict(rules) | {"text": str(rules)}}
