"""Each printed part of the text-image notes against its formula: values and gradients, in training
without dropout and in evaluation, at batches of one, two and more."""
import pytest
import torch
from torch import nn

from reidlab.config import Disentangle
from reidlab.disentangle import build_disentangler
from reidlab.disentangle.reversal import alpha_ramp, reverse_gradient
from reidlab.models.modes import evaluating
from reidlab.presets import preset
from reidlab.tasks import build
from tests.as_written import formulas
from tests.conftest import mini

CAPTIONS = ["a tall man", "a woman with long hair and a bag", "a man", "short hair"]


def without_dropout(module: nn.Module, training: bool) -> nn.Module:
    """Ready for a parity check: what is random in training is taken out; in double, since biases in
    front of a BatchNorm get rounding for a gradient."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0
    return module.double().train(training)


def agree(ours, theirs, leaves, seed=0):
    """Values, and the gradients of a random readout, up to the rounding of double."""
    torch.manual_seed(seed)
    readout = [torch.randn_like(value) for value in ours]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    found = [torch.autograd.grad(sum((v * w).sum() for v, w in zip(values, readout, strict=True)),
                                 leaves, allow_unused=True) for values in (ours, theirs)]
    for a, b in zip(*found, strict=True):
        if a is None or b is None:  # a parameter that cannot matter: at most rounding arrives
            assert all(x is None or x.abs().max() < 1e-10 for x in (a, b))
            continue
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.covers("D3", "D1")
def test_gradient_reversal_and_its_schedule():
    x = torch.randn(3, 4, requires_grad=True)
    y = reverse_gradient(x, 0.3)
    assert torch.equal(y, x)
    assert torch.equal(torch.autograd.grad((y * 2).sum(), x)[0], torch.full((3, 4), -0.3 * 2))
    assert [alpha_ramp(e) for e in range(100)] == [min(1.0, 0.1 + e * 0.02) for e in range(100)]


@pytest.mark.covers("R10", "D3")
def test_the_first_epoch_trains_with_the_printed_first_alpha(tmp_path, cache):
    from reidlab.engine.train import train
    from tests.engine.conftest import rows
    train(mini("projection", training__epochs=2, training__batches_per_epoch=1), tmp_path / "run",
          quiet=True)
    assert [row["reversal/alpha"] for row in rows(tmp_path / "run")] == pytest.approx([0.1, 0.12])


IDENTITY = {
    "projection": lambda n, x, t: formulas.relu(formulas.linear(n[0], x)),
    "residual": lambda n, x, t: formulas.relu(formulas.linear(n[4], formulas.relu(
        block(n[2], formulas.relu(block(n[0], x)))))),
    "merged": lambda n, x, t: formulas.relu(formulas.batch_norm(n[8], formulas.linear(
        n[7], formulas.relu(formulas.batch_norm(n[5], formulas.linear(n[4], formulas.relu(
            formulas.linear(n[2], formulas.relu(formulas.linear(n[0], x))))), t))), t)),
}


def block(layer, x):
    first, _, second = layer.block
    return x + formulas.linear(second, formulas.relu(formulas.linear(first, x)))


@pytest.mark.covers("E10", "D2", "D5", "D6")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("design", list(IDENTITY))
def test_image_side_of_note_001_and_of_both_changes_of_note_000(design, training):
    torch.manual_seed(0)
    model = without_dropout(build(mini(design), 7), training)
    model.set_reversal(0.4)
    image = torch.randn(4, 3, 96, 48, dtype=torch.double)
    tokens = model.visual_encoder(image).last_hidden_state.detach().requires_grad_()
    model.visual_encoder.forward = lambda *a, **k: type("Out", (), {"last_hidden_state": tokens})
    out = model(image)
    cls, heads = tokens[:, 0], model.cloth_heads
    identity = IDENTITY[design](model.disentangle.identity, cls, training)
    lowered = formulas.linear(model.disentangle.cloth.linear, cls)
    cloth = formulas.relu(lowered * -0.4 + (lowered * 1.4).detach())  # its gradient times −0.4
    vector = formulas.unit(identity) if design == "merged" else formulas.head(
        heads.shared_mlp, heads.image_mlp, identity, training)
    theirs = [vector, identity, cloth, formulas.linear(model.id_classifier, identity),
              formulas.head(heads.shared_mlp, heads.image_mlp, cloth, training)]
    ours = [out.image_embeds, out.id_embeds, out.cloth_embeds, out.id_logits,
            out.cloth_image_embeds]
    leaves = [tokens, *model.disentangle.parameters(), *model.id_classifier.parameters(),
              heads.shared_mlp.weight, *heads.image_mlp.parameters()]
    agree(ours, theirs, leaves)
    if design == "residual":
        assert (out.id_embeds >= 0).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("design,formula", [("projection", formulas.gated_fusion),
                                            ("attention", formulas.mamba_fusion)])
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_fusions(design, formula, training, rows):
    torch.manual_seed(1)
    fusion = without_dropout(build(mini(design), 7).fusion, training)
    image, text = (torch.randn(rows, 256, dtype=torch.double, requires_grad=True) for _ in range(2))
    agree([fusion(image, text).vector], [formula(fusion, image, text)],
          [image, text, *fusion.parameters()])


def test_the_mamba_fusion_drops_out_behind_its_last_linear():
    fusion, seen = build(mini("attention"), 7).fusion.eval(), {}
    fusion.fc.register_forward_hook(lambda m, given, out: seen.update(fc=out))
    fusion.dropout.register_forward_hook(lambda m, given, out: seen.update(dropped=given[0]))
    fusion(torch.randn(2, 256), torch.randn(2, 256))
    assert seen["dropped"] is seen["fc"]


@pytest.mark.covers("X5", "D8", "D9", "D12", "D10")
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("design", ["attention", "deep_attention"])
def test_attention_branches_and_gate_of_notes_002_and_003(design, rows):
    torch.manual_seed(2)
    config = preset(design, "base").disentangle
    split = without_dropout(build_disentangler(config, 32, (3, 2)), True)
    tokens = torch.randn(rows, 7, 32, dtype=torch.double, requires_grad=True)
    found = split(tokens)
    agree([found.identity, found.cloth, found.gate],
          formulas.two_branches(split, tokens, config.residual_from == "input"),
          [tokens, *split.parameters()])


@pytest.mark.covers("X5", "D9")
def test_cross_layers_in_turn_let_clothing_read_what_identity_has_read():
    torch.manual_seed(3)
    apart = build_disentangler(Disentangle(name="attention", cross_layers=2), 16, (2, 2)).eval()
    turn = build_disentangler(Disentangle(name="attention", cross_layers=2,
                                          cross_order="in_turn"), 16, (2, 2)).eval()
    turn.load_state_dict(apart.state_dict())
    tokens = torch.randn(2, 5, 16)
    i, c = apart.identity(tokens), apart.cloth(tokens)
    for k in range(2):
        i = formulas.layer_norm(apart.identity_norms[k],
                                formulas.attention(apart.identity_cross[k], i, c) + i)
        c = formulas.layer_norm(apart.cloth_norms[k],
                                formulas.attention(apart.cloth_cross[k], c, i) + c)
    torch.testing.assert_close(torch.stack(turn.branches(tokens)), torch.stack([i, c]),
                               rtol=1e-4, atol=1e-5)
    assert (turn(tokens).cloth - apart(tokens).cloth).abs().max() > 1e-3


@pytest.mark.covers("E10", "E6")
@pytest.mark.parametrize("training", [True, False])
def test_text_side_of_note_003(training):
    torch.manual_seed(4)
    model = without_dropout(build(mini("attention"), 7), training)
    encoder, model.text_encoder.frozen = model.text_encoder, None  # its cache holds floats
    ids, mask = encoder.tokens(CAPTIONS)
    states = encoder.bert(input_ids=ids, attention_mask=mask).last_hidden_state.detach()
    mixed = formulas.layer_norm(encoder.attention_norm, states + formulas.attention(
        encoder.attention, states, states, padded=mask == 0))
    pooled = (mixed * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    heads = model.id_heads
    theirs = formulas.head(heads.shared_mlp, heads.text_mlp, pooled, training)
    agree([model.encode_text(CAPTIONS)], [theirs],
          [*encoder.attention.parameters(), *encoder.attention_norm.parameters(),
           heads.shared_mlp.weight, *heads.text_mlp.parameters()])


@pytest.mark.covers("E5")
def test_text_side_of_note_001_takes_cls_and_hears_clothing_first():
    torch.manual_seed(5)
    model = without_dropout(build(mini("projection"), 7), True)
    first = model.id_heads.text_mlp[0]
    means = [model.id_heads.shared_mlp(model.text_encoder.states(texts)[0][:, 0]).mean(0)
             for texts in (CAPTIONS[:2], CAPTIONS[2:])]
    model(cloth_text=CAPTIONS[:2], id_text=CAPTIONS[2:])
    cloth, identity = means
    torch.testing.assert_close(first.running_mean, 0.9 * (0.1 * cloth) + 0.1 * identity,
                               rtol=1e-4, atol=1e-5)


def test_eight_and_ten_outputs_and_a_scale_of_one_number():
    for design, count in (("projection", 8), ("attention", 10)):
        model = build(mini(design), 7).eval()
        found = model(torch.randn(2, 3, 96, 48), CAPTIONS[:2], CAPTIONS[2:]).as_tuple(count)
        assert len(found) == count and all(value is not None for value in found)
        assert model.scale.shape == (1,)
        assert model().as_tuple(count) == (None,) * count
        with evaluating(model):
            model.scale.data.fill_(-2.0)
            fused = model(torch.randn(2, 3, 96, 48), CAPTIONS[:2], CAPTIONS[2:]).fused_embeds
        assert fused.norm(dim=-1).tolist() == pytest.approx([2.0, 2.0], rel=1e-5)
