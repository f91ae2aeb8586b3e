"""Note 003's fusion as written: what it weighs, what it wastes."""
import logging

import pytest
import torch

from reidlab.config import Fusion
from reidlab.fusion import build_fusion
from reidlab.fusion.mamba import MambaFusion


@pytest.fixture(scope="module")
def fusion():
    torch.manual_seed(0)
    return MambaFusion(Fusion(), 256)


@pytest.mark.covers("F4")
def test_parameter_count_is_the_notes(fusion):
    assert sum(p.numel() for p in fusion.parameters()) == 4_838_402


@pytest.mark.covers("F2", "F4")
def test_shapes_and_gate_weights(fusion):
    out = fusion(torch.randn(5, 256), torch.randn(5, 256))
    assert out.vector.shape == (5, 256) and out.gate_weights.shape == (5, 2)
    assert (out.gate_weights >= 0).all()
    assert torch.allclose(out.gate_weights.sum(1), torch.ones(5))


def test_as_written_gate_and_gate_attention_change_nothing(fusion):
    fusion.eval()
    image, text = torch.randn(3, 256), torch.randn(3, 256)
    before = fusion(image, text)
    fusion.zero_grad()
    before.vector.sum().backward()
    dead = {n.split(".")[0] for n, p in fusion.named_parameters() if p.grad is None}
    assert dead == {"gate", "gate_attn"}
    count = sum(p.numel() for n, p in fusion.named_parameters() if n.startswith("gate"))
    assert count == 1_182_466
    with torch.no_grad():
        for name, p in fusion.named_parameters():
            if name.startswith("gate"):
                p.normal_()
    after = fusion(image, text)
    assert (after.vector == before.vector).all()
    assert not torch.equal(after.gate_weights, before.gate_weights)


@pytest.mark.covers("L10")
def test_fusion_gate_can_be_regularised_and_is_not_by_default():
    from reidlab.losses.text_image import TextImageLoss
    from reidlab.models.text_image_output import TextImageOutput
    from tests.conftest import mini
    assert "fusion_gate" not in TextImageLoss(mini("attention").loss, 8, 8).weights
    weights = {f"loss__weights__{n}": 0.0 for n in (
        "info_nce", "cls", "bio", "cloth", "cloth_adv", "cloth_match", "decouple",
        "gate_regularization")}
    loss = TextImageLoss(mini("attention", **weights, loss__weights__fusion_gate=2.0).loss, 8, 8)
    out = TextImageOutput(gate_weights=torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    terms = loss(out, None, 1)
    assert terms["fusion_gate"].item() == 0.125 and terms["total"].item() == 0.25


@pytest.mark.covers("F3")
def test_fusions_by_name():
    assert build_fusion(None, 256) is None and build_fusion(Fusion(name="none"), 256) is None
    assert isinstance(build_fusion(Fusion(name="mamba", layers=1), 8), MambaFusion)
    with pytest.raises(ValueError, match="unknown fusion.name 'concat'; known: none"):
        build_fusion(Fusion(name="concat"), 256)


@pytest.mark.covers("F3")
def test_a_fusion_ignores_what_is_said_of_others():
    """Settings of Mamba beside attention change nothing: no parameter, no number."""
    made = []
    for beside in ({}, {"layers": 7, "d_state": 99, "d_conv": 9, "expand": 5, "gate": "applied"}):
        torch.manual_seed(0)
        made.append(build_fusion(Fusion(name="attention_gated", **beside), 256).eval())
    assert sum(p.numel() for p in made[1].parameters()) == 725_506
    image, text = torch.randn(2, 256), torch.randn(2, 256)
    assert torch.equal(*(fusion(image, text).vector for fusion in made))


@pytest.mark.covers("E14")
def test_scale_and_fusion_are_logged(caplog):
    from reidlab.tasks import build
    from tests.conftest import mini
    with caplog.at_level(logging.INFO):
        build(mini("attention"), classes=4)
    assert "fusion: mamba, scale: 1.0000" in caplog.text
