"""What is watched while a model trains is what training made, before anything is erased."""
import copy

import pytest
import torch

from reidlab.data.records import Split
from reidlab.evaluation.dependence import dependence
from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.monitor import Monitor
from reidlab.tasks import build
from tests.conftest import mini


@pytest.fixture(scope="module")
def watched(data):
    """A model whose erasure was fitted once, long ago, and a look at it."""
    model = build(mini("corrected"), data.classes)
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(256, 256)).Q[:, :100]
    model.concept_eraser.projection.copy_(torch.eye(256) - basis @ basis.T)
    return model, Monitor(Split(data.val.records[:48], data.val.images[:48]))


def test_an_erasure_of_older_weights_does_not_reach_the_curves(watched):
    model, monitor = watched
    never = copy.deepcopy(model)
    never.concept_eraser.reset()
    assert monitor(model) == monitor(never)
    left = model.concept_eraser.projection.diagonal().sum().item()
    assert left == pytest.approx(156, rel=1e-4)  # of 256: the erasure itself is as it was


@pytest.mark.covers("R8")
def test_what_is_watched_is_what_the_penalty_reads(watched):
    """In training the erasure is silent: the curve and the loss look at the same vectors."""
    model, monitor = watched
    with torch.no_grad():
        model.eval()
        parts, _ = model.image_features(monitor.image)
        silent = model.embed(parts, concept_erasure=False)
        erased = model.embed(parts)
    seen = monitor(model)
    assert seen["monitor/embedding_cka"] == pytest.approx(dependence(*silent)["cka"], rel=1e-4)
    raw = dependence(parts.identity, parts.cloth)
    for name in ("abs_cosine", "cka"):  # of the pooled features, before any head
        assert seen[f"monitor/id_cloth_{name}"] == pytest.approx(raw[name], rel=1e-4)
    assert abs(raw["cka"] - dependence(*silent)["cka"]) > 1e-3
    assert not torch.allclose(silent[0], erased[0], atol=1e-3)
    assert torch.equal(silent[1], erased[1])
    model.concept_eraser.train()
    assert torch.equal(model.embed(parts)[0], silent[0])
    model.eval()


def test_retrieval_still_erases(watched, data):
    model, _ = watched
    few = Split(data.val.records[:8], data.val.images[:8])
    erased = embed(model, few).id_image
    never = copy.deepcopy(model)
    never.concept_eraser.reset()
    assert abs(erased - embed(never, few).id_image).max() > 1e-3
