"""Whoever looks at a model leaves every part of it in the mode it was in, on its device."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from reidlab.data.loading import synthetic_visible_infrared
from reidlab.data.records import Split
from reidlab.disentangle.gate import DisentangledFeatures
from reidlab.errors import ReidlabError
from reidlab.evaluation.attention_maps import branch_maps, encoder_maps
from reidlab.evaluation.attribution import attribute
from reidlab.evaluation.embeddings import embed, embed_images
from reidlab.evaluation.monitor import Monitor
from reidlab.evaluation.reranking import rerank
from reidlab.evaluation.studies import layer_features, mean_gate, text_weight
from reidlab.evaluation.text_image import query_outfit_mask
from reidlab.evaluation.visible_infrared import _between_views, embed_modalities, macs, protocol
from reidlab.models.modes import evaluating
from reidlab.tasks import build
from tests.conftest import MATCHING, mini


def modes(model):
    return {name: part.training for name, part in model.named_modules()}


def mixed(model):
    """In training, but for one part that its owner put to rest."""
    model.train()
    next(model.children()).eval()
    return model


@pytest.fixture(scope="module")
def few(data):
    return Split(data.test.records[:12], data.test.images[:12])


LOOKS = {  # who looks → (design, what is called with the model and twelve pictures)
    "encoder_maps": ("corrected", lambda m, s: encoder_maps(m, s.images)),
    "branch_maps": ("corrected", lambda m, s: branch_maps(m, s.images)),
    "credit": ("corrected", lambda m, s: attribute(m, s.images[0], "a tall man", "identity")),
    "mean_gate": ("attention", lambda m, s: mean_gate(m, s.images)),
    "text_weight": ("projection", lambda m, s: text_weight(m, s.images, ["a man"] * 12)),
    "layer_features": ("attention", lambda m, s: layer_features(m, s.images)),
    "embed": ("corrected", embed),
    "embed_images": ("corrected", lambda m, s: embed_images(m, s.images, range(12))),
    "monitor": ("attention", lambda m, s: Monitor(s)(m)),
}


@pytest.mark.covers("R6")
@pytest.mark.parametrize("look", LOOKS)
def test_every_look_puts_every_mode_back(data, few, look):
    design, ask = LOOKS[look]
    model = mixed(build(mini(design), data.classes))
    before = modes(model)
    ask(model, few)
    assert modes(model) == before and len(set(before.values())) == 2


def test_reranking_puts_every_mode_back(data, few):
    model = mixed(build(mini("corrected", **MATCHING), data.classes))
    before, shown = modes(model), np.flatnonzero(query_outfit_mask(few.records))
    rerank(model, np.zeros((2, len(shown))), ["a man", "a woman"], few, shown, best=2)
    assert modes(model) == before


def test_looks_at_the_visible_infrared_system_put_every_mode_back(cache):
    experiment = mini("embednet_corrected")
    pair, before = synthetic_visible_infrared(0, (96, 48), "test", 4, 2), {}
    for look in (lambda m: embed_modalities(m, pair, protocol(experiment)),
                 lambda m: _between_views(m, pair), lambda m: macs(m, experiment)):
        model = mixed(build(experiment, 4))
        before = modes(model)
        look(model)
        assert modes(model) == before


def test_modes_are_put_back_when_the_look_fails(data, few):
    model = mixed(build(mini("corrected"), data.classes))
    before = modes(model)
    with pytest.raises(ReidlabError, match="says nothing"):
        attribute(model, few.images[0], " ", "identity")
    with pytest.raises(RuntimeError), evaluating(model):
        assert not any(modes(model).values())
        raise RuntimeError
    assert modes(model) == before


def test_pictures_are_embedded_in_eval_mode(data, few):
    """In training the BatchNorm of the heads would mix the pictures of a batch."""
    model = build(mini("corrected"), data.classes)
    resting = embed_images(model.eval(), few.images, range(12))
    training = embed_images(model.train(), few.images, range(12))
    assert all(np.array_equal(a, b) for a, b in zip(resting, training, strict=True))
    assert torch.equal(*(heads.image_head[1].num_batches_tracked
                         for heads in (model.id_heads, build(mini("corrected"), 4).id_heads)))


class Elsewhere(nn.Module):
    """Its weights lie on a device of their own; it notes where pictures arrive."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.ones(1, device="meta")), []

    def image_features(self, image):
        self.seen.append(image.device.type)
        half = torch.full((len(image), 2), 0.5)
        return DisentangledFeatures(half, half, gate=half), torch.ones(len(image), 3, 2)

    def forward(self, image, id_text):
        self.seen.append(image.device.type)
        return SimpleNamespace(gate_weights=torch.full((2, 2), 0.5))


def test_studies_bring_pictures_to_the_models_device():
    model, images = Elsewhere(), np.zeros((2, 8, 4, 3), np.uint8)
    assert mean_gate(model, images) == text_weight(model, images, ["a", "b"]) == 0.5
    branch = SimpleNamespace(norms=[])
    model.disentangle = SimpleNamespace(identity=branch, cloth=branch, identity_norms=[],
                                        cloth_norms=[])
    layer_features(model, images)
    assert model.seen == ["meta"] * 3
