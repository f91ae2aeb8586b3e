"""Flow charts hold the edges that exist, all of them, and no others."""
import pytest
import torch

from reidlab.errors import ReidlabError
from reidlab.evaluation.flow import _direct_sources, flow
from reidlab.presets import preset


def test_a_source_is_direct_where_a_path_meets_no_other():
    x = torch.ones(3, requires_grad=True)
    y = 2 * x
    chain, both = y.square(), y.square() + x
    named = {"x": x, "y": y}
    assert _direct_sources(chain, named) == {"y"}
    assert _direct_sources(both, named) == {"x", "y"}  # x explains y, and reaches beyond it
    assert _direct_sources(y, named) == {"x"}


def test_a_detached_tensor_is_no_source():
    x = torch.ones(3, requires_grad=True)
    y = 2 * x
    z = y.detach() + x
    assert _direct_sources(z, {"x": x, "y": y, "z": z}) == {"x"}
    assert _direct_sources(y.detach(), {"x": x}) == set()


@pytest.mark.covers("X1")
def test_the_corrected_sides_meet_in_losses_only():
    found = flow(preset("corrected", "tiny"))
    assert {e for e in found.edges if not e[1].startswith("loss")} == {
        ("picture", "image tokens"), ("image tokens", "identity feature"),
        ("image tokens", "clothing feature"), ("identity feature", "identity vector"),
        ("clothing feature", "clothing vector"), ("identity caption", "identity text vector"),
        ("clothing caption", "clothing text vector"), ("identity feature", "ID logits")}
    assert found.reads["info_nce"] == ["identity text vector", "identity vector"]
    assert found.reads["id_image"] == ["identity vector"]
    assert found.reads["cloth_match"] == ["clothing text vector", "clothing vector"]
    assert found.losses["info_nce"][0] == 2.0


def test_the_fusion_of_the_notes_ends_nowhere_and_their_gate_mixes():
    found = flow(preset("attention", "tiny"))
    assert not [b for a, b in found.edges if a in ("fused vector", "fusion weights")]
    assert {a for a, b in found.edges if b == "fused vector"} == {  # and no caption at once
        "identity vector", "identity text vector"}
    assert {("gate", "identity feature"), ("image tokens", "identity feature")} <= set(found.edges)
    projection = flow(preset("projection", "tiny")).edges
    assert ("fusion weights", "fused vector") in projection  # attention-gated fusion uses its gate


def test_other_systems_are_refused():
    with pytest.raises(ReidlabError, match="embednet is a visible-infrared design"):
        flow(preset("embednet", "tiny"))
