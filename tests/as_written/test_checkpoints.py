"""A checkpoint with the notes' names goes in, and the model computes what theirs would.

The notes' names are written down here once more, independently, as their modules nest.
"""
import re

import pytest
import torch

from reidlab.runs.checkpoint import load_param
from reidlab.tasks import build
from tests.conftest import mini

BLOCK = {"q_proj": "attention.attention.query", "k_proj": "attention.attention.key",
         "v_proj": "attention.attention.value", "o_proj": "attention.output.dense",
         "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
PREFIXES = {
    "text_encoder.bert.": "text_encoder.", "text_encoder.attention.": "text_attn.",
    "text_encoder.attention_norm.": "text_attn_norm.", "disentangle.cloth.linear.": None,
    "id_heads.joint.": "", "id_heads.": "", "cloth_heads.": "",
    "fusion.layers.": "fusion.mamba_layers.", "fusion.norms.": "fusion.mamba_norms."}


def as_the_note_calls_it(name: str, design: str) -> str:
    if name.startswith("visual_encoder.layers."):
        for ours, theirs in BLOCK.items():
            name = name.replace(f".attention.{ours}.", f".{theirs}.").replace(
                f".{ours}.", f".{theirs}.")
        return name.replace(".layers.", ".encoder.layer.")
    if design in ("projection", "merged", "residual"):
        name = re.sub(r"^disentangle\.cloth\.linear\.", "cloth_projection.", name)
        first = "id_projection." if design == "projection" else r"id_projection.0."
        name = re.sub(r"^disentangle\.identity\.0\.", first, name)
        name = re.sub(r"^disentangle\.identity\.", "id_projection.", name)
    several = design == "deep_attention"
    for side, short in (("identity", "id"), ("cloth", "cloth")):
        count = r"\1." if several else ""
        plural = "_layers." if several else "."
        for ours, theirs in ((rf"{side}\.layers\.(\d)\.", f"{short}_attn"),
                             (rf"{side}\.norms\.(\d)\.", f"{short}_norm"),
                             (rf"{side}_cross\.(\d)\.", f"{short}_cross_attn"),
                             (rf"{side}_norms\.(\d)\.", f"{short}_cross_norm")):
            name = re.sub(rf"^disentangle\.{ours}", f"disentangle.{theirs}{plural}{count}", name)
        name = re.sub(rf"^disentangle\.{side}\.linear\.", f"disentangle.{short}_linear.", name)
    name = name.replace("disentangle.gate.to_gate.", "disentangle.gate.0.")
    for ours, theirs in PREFIXES.items():
        if theirs is not None and name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


@pytest.mark.covers("E15")
@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "model", "module"])
@pytest.mark.parametrize("design", ["projection", "merged", "residual", "attention",
                                    "deep_attention"])
def test_weights_under_the_notes_names_give_the_same_outputs(design, wrapped, tmp_path):
    theirs = build(mini(design, seed=1), 7).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    named = {as_the_note_calls_it(name, design): value for name, value in
             theirs.state_dict().items()}
    assert "id_classifier.weight" in named and "shared_mlp.weight" in named
    assert not any(name.startswith(("id_heads", "cloth_heads", "visual_encoder.layers"))
                   for name in named)
    if wrapped == "module":
        named = {f"module.{name}": value for name, value in named.items()}
    torch.save(named if wrapped in ("plain", "module") else {wrapped: named}, tmp_path / "w.pth")
    ours = build(mini(design, seed=2), 7).eval()
    assert load_param(ours, tmp_path / "w.pth") == []
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    given = torch.randn(2, 3, 96, 48), ["a red coat", "blue jeans"], ["a man", "a woman"]
    for a, b in zip(ours(*given).as_tuple(10), theirs(*given).as_tuple(10), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.covers("E15")
def test_what_only_the_note_has_is_named(tmp_path):
    model = build(mini("projection"), 7)
    named = {"id_projection.weight": torch.ones(128, 128), "id_projection.bias": torch.ones(9),
             "text_encoder.pooler.dense.weight": torch.ones(2)}
    torch.save(named, tmp_path / "w.pth")
    told = load_param(model, tmp_path / "w.pth")
    assert model.disentangle.identity[0].weight.eq(1).all()
    assert "text_encoder.pooler.dense.weight: unknown here" in told
    assert "disentangle.identity.0.bias: (9,) given, (128,) needed" in told


@pytest.mark.covers("E15")
@pytest.mark.parametrize("held,wanted", [("projection", "attention"), ("projection", "merged"),
                                         ("merged", "projection"), ("residual", "projection"),
                                         ("projection", "residual")])
def test_weights_of_another_design_do_not_pass_for_this_ones(held, wanted, tmp_path):
    theirs = build(mini(held, seed=1), 7)
    named = {as_the_note_calls_it(name, held): value for name, value in
             theirs.state_dict().items()}
    torch.save(named, tmp_path / "w.pth")
    ours = build(mini(wanted, seed=2), 7)
    before = {name: value.clone() for name, value in ours.disentangle.state_dict().items()}
    told = load_param(ours, tmp_path / "w.pth")
    for name, value in ours.disentangle.state_dict().items():  # notes 000 share 001's clothing
        assert torch.equal(value, before[name]) or (
            name.startswith("cloth.") and wanted != "attention"), name
    assert any(line.startswith("id_projection") and "unknown here" in line for line in told)
