"""What the parts of the design ask of trained models, measured run by run.

``python -m tests.studies NAME RUN…`` prints the scores of each run as JSON: ``occlusion``,
``salience``, ``layers``, ``looks``, ``blur`` or ``people``. They are kept in
``docs/comparison/experiments.json``, those of ``people`` in ``people.json`` beside it.
"""
import json
import sys
from collections.abc import Callable

import numpy as np

from reidlab import load, load_data
from reidlab.data.text_image import TextImageData
from reidlab.evaluation.attention_maps import branch_maps, mass_inside, on_patches
from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.studies import (
    blurred,
    layer_probes,
    mean_gate,
    occluded,
    robustness,
    salient,
    text_weight,
)
from reidlab.evaluation.text_image import query_outfit_mask, score_same_clothes
from reidlab.synthetic.world import PARTS, World

REGIONS = {"hair, skin": tuple(PARTS.index(p) for p in ("skin", "hair")),
           "garments": tuple(PARTS.index(p) for p in ("upper", "lower"))}


def _drawn(data: TextImageData, count: int = 200) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pictures, true parts and identity captions of people nobody was trained on, world 0."""
    world = World(0, data.test.images.shape[1:3])
    drawings = [world.draw(person, person, 0) for person in range(1500, 1500 + count)]
    return (np.stack([d.image for d in drawings]), np.stack([d.parts for d in drawings]),
            [d.id_caption for d in drawings])


def occlusion(model, data: TextImageData) -> dict[str, float]:
    """R1, text → image, with a grey block over a share of each picture's height."""
    found = robustness(model, data.test, occluded, (0.0, 0.25, 0.5))
    return {f"R1, {of['dose']:.0%} covered": of["r1"] for of in found}


def salience(model, data: TextImageData) -> dict[str, float]:
    """Mean share of identity in the gate, with garments grey, as they are, and vivid."""
    images, parts, _ = _drawn(data)
    return {f"identity's share, garments {name}":
            mean_gate(model, salient(images, parts, REGIONS["garments"], gain))
            for name, gain in (("grey", 0.0), ("as they are", 1.0), ("vivid", 2.0))}


def layers(model, data: TextImageData) -> dict[str, float]:
    """What can be read after each layer of both branches, above chance, on people of test."""
    return {f"{factor.split('/')[1].replace('_', ' ')} after {layer}": above
            for layer, of in layer_probes(model, data.val, data.test).items()
            for factor, above in of.items()}


def looks(model, data: TextImageData) -> dict[str, float]:
    """Attention of each branch to a region, as a multiple of its area; on grey pictures, too."""
    images, parts, _ = _drawn(data, 64)
    grid = (images.shape[1] // 16, images.shape[2] // 16)
    found = {}
    for name, pictures in (("", images), (", empty picture", np.full_like(images, 128))):
        for branch, maps in branch_maps(model, pictures).items():
            seen = on_patches(maps.mean(dim=(1, 2)), grid)
            for region, which in REGIONS.items():
                mass, area = mass_inside(seen, parts, which)
                found[f"{branch} on {region}{name}"] = mass / area
    return found


def blur(model, data: TextImageData) -> dict[str, float]:
    """Mean weight that the fusion gives the text, as pictures lose what is to be seen in them."""
    images, _, texts = _drawn(data)
    return {f"text's weight, blur of {sigma:g} pixels":
            text_weight(model, blurred(images, sigma), texts) for sigma in (0.0, 2.0, 6.0)}


def people(model, data: TextImageData) -> dict[str, list[float]]:
    """R1 of each test person's queries, people in one order: for intervals over people."""
    found = embed(model, data.test, mirror=True)
    keep, pids = query_outfit_mask(found.records), found.pids
    ways = {"R1 text → image": score_same_clothes(found, 1.0)["text_to_image"],
            "R1 image → image, clothes-changing": (
                found.id_image[keep] @ found.id_image[~keep].T, pids[keep], pids[~keep])}
    hits = {name: (wanted[similarity.argmax(axis=1)] == asked, asked)
            for name, (similarity, asked, wanted) in ways.items()}
    return {name: [float(hit[asked == person].mean()) for person in np.unique(asked)]
            for name, (hit, asked) in hits.items()}


STUDIES: dict[str, Callable[..., dict]] = {
    study.__name__: study for study in (occlusion, salience, layers, looks, blur, people)}


if __name__ == "__main__":
    name, runs = sys.argv[1], sys.argv[2:]
    print(json.dumps([STUDIES[name](load(run), load_data(run)) for run in runs]))
