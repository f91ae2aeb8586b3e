"""The attention viewer: which layer, head, branch or word looks where, beside an untrained twin."""
from functools import lru_cache

import ipywidgets
import numpy as np
from torch import Tensor

from reidlab.errors import ReidlabError
from reidlab.evaluation.attention_maps import branch_maps, encoder_maps, on_patches, rollout
from reidlab.evaluation.attribution import SIDES, Attribution, attribute
from reidlab.plots.attention import overlays
from reidlab.synthetic.world import Drawing
from reidlab.widgets.panel import Panel

MAPS = {"identity branch": "attention weight", "clothing branch": "attention weight",
         "encoder, from CLS": "attention weight", "rollout, from CLS": "share of flow",
         "word → patch": "added to the score"}
BRANCHES = {"identity branch": "identity", "clothing branch": "cloth"}


def attention_viewer(model, untrained, drawings: list[Drawing]) -> Panel:
    """A panel over some synthetic people.

    Args:
        model: a trained `TextImageModel`; word → patch needs a design like ``corrected``.
        untrained: the same design with random weights, drawn beside as a control.
        drawings: whom to look at.
    """
    images = np.stack([d.image for d in drawings])
    size = model.visual_encoder.config.patch_size
    grid = (images.shape[1] // size, images.shape[2] // size)
    layers, _, heads, *_ = encoder_maps(untrained, images[:1]).shape

    @lru_cache(maxsize=2)
    def seen(trained: bool) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        twin = model if trained else untrained
        maps = encoder_maps(twin, images)
        return maps, branch_maps(twin, images), rollout(maps)

    def weights(trained: bool, person: int, kind: str, layer: int, head: str) -> np.ndarray:
        maps, branches, flow = seen(trained)
        if kind.startswith("rollout"):
            return on_patches(flow[person, 0], grid)
        if kind in BRANCHES and BRANCHES[kind] not in branches:
            raise ReidlabError("the branches of this design give no weight to single tokens; "
                               "choose a map of the encoder")
        found = branches[BRANCHES[kind]][person] if kind in BRANCHES else (
            maps[layer - 1, person][:, :1])                                   # (heads, Q, N)
        found = found.mean(dim=0) if head == "mean" else found[int(head) - 1]
        return on_patches(found.mean(dim=0), grid)

    @lru_cache(maxsize=256)
    def shared(trained: bool, person: int, side: str) -> Attribution:
        drawing = drawings[person]
        text = drawing.id_caption if side == "identity" else drawing.cloth_caption
        return attribute(model if trained else untrained, drawing.image, text, side)

    def view(person, kind, layer, head, word, strength):
        signed = kind == "word → patch"
        if signed:
            side, number = SIDES[0], word
            words = shared(True, person, side).words
            if number >= len(words):
                side, number = SIDES[1], number - len(words)
                words = shared(True, person, side).words
            number = min(number, len(words) - 1)
            name = f"“{words[number]}”, " + ("clothing" if side == "cloth" else side)
            maps = {name: shared(True, person, side).patches(number),
                    "the same,\nuntrained": shared(False, person, side).patches(number)}
        else:
            maps = {title: weights(trained, person, kind, layer, head) for title, trained in
                    (("trained", True), ("untrained", False))}
        return overlays([(drawings[person].image, maps)], label=MAPS[kind], signed=signed,
                        parts=[drawings[person].parts], strength=strength)

    def slider(name, least, most, value):
        return ipywidgets.IntSlider(value=value, min=least, max=most, description=name,
                                    continuous_update=False)
    return Panel(
        "attention", view,
        person=slider("person", 0, len(drawings) - 1, 0),
        kind=ipywidgets.Dropdown(options=list(MAPS), description="map"),
        layer=slider("layer", 1, layers, layers),
        head=ipywidgets.Dropdown(options=["mean", *map(str, range(1, heads + 1))],
                                 description="head"),
        word=slider("word", 0, 60, 8),
        strength=ipywidgets.FloatSlider(value=0.65, min=0, max=1, step=0.05,
                                        description="strength", continuous_update=False))
