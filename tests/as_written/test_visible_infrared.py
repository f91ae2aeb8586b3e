"""What note 004 prints, against its formula; what had to be rebuilt, against what is left of it."""
import dataclasses

import pytest
import torch

from reidlab.config import Expansion
from reidlab.encoders.dual_vit import STAGES
from reidlab.errors import ReidlabError
from reidlab.expansion import build_expansion
from reidlab.fusion.mfa import MFA
from reidlab.presets import preset
from reidlab.tasks import build
from tests.as_written import formulas
from tests.as_written.test_parts import agree, without_dropout

SMALL = {"image__height": 32, "image__width": 32, "image__dim": 32, "image__layers": 4,
         "image__heads": 4, "image__stem": False}


def tokens(rows=4, count=6, dim=24):
    return torch.randn(rows, count, dim, dtype=torch.double, requires_grad=True)


def expansion(name, rows=4, **fields):
    torch.manual_seed(0)
    module = build_expansion(Expansion(name=name, **fields), 24, (3, 2))
    return without_dropout(module, True), torch.arange(rows) % 2


@pytest.mark.covers("V15")
def test_tmhee_attends_over_the_batch():
    module, modality = expansion("tmhee_over_batch")
    x = tokens()
    across = formulas.attention(module.attention, x.transpose(0, 1), x.transpose(0, 1))
    theirs = formulas.layer_norm(module.norm, across.transpose(0, 1) + x) * module.scale
    agree([module(x, modality).tokens], [theirs], [x, *module.parameters()])


@pytest.mark.covers("V6")
def test_dee_is_three_dilated_convolutions_along_the_sequence():
    module, modality = expansion("dee")
    x = tokens()
    padded = torch.cat([torch.zeros(4, 3, 24), x, torch.zeros(4, 3, 24)], 1)
    sums = []
    for dilation, conv in zip((1, 2, 3), module.view.convolutions, strict=True):
        taps = [padded[:, 3 + (k - 1) * dilation:9 + (k - 1) * dilation] for k in range(3)]
        sums.append(sum(torch.einsum("bni,oi->bno", tap, conv.weight[:, :, k])
                        for k, tap in enumerate(taps)) + conv.bias)
    narrow = formulas.relu(sum(sums) / 3)
    theirs = (torch.einsum("bni,oi->bno", narrow, module.view.out.weight[:, :, 0])
              + module.view.out.bias) * module.scale
    agree([module(x, modality).tokens], [theirs], [x, *module.parameters()])


@pytest.mark.covers("V19")
def test_rebuilt_cmatm_is_one_shared_attention_whose_answer_every_patch_gets():
    module, modality = expansion("cmatm_rebuilt", heads=8, views=3)
    assert module.tokens.shape == (2, 1, 24) and module.attention.num_heads == 8
    x = tokens()
    answer = formulas.attention(module.attention, module.tokens[1 - modality], x)
    view = formulas.layer_norm(module.norm, answer + x)
    found = module(x, modality)
    agree([found.tokens, *found.views], [view * module.scale, *[view.mean(1)] * 3],
          [x, *module.parameters()])
    module.attention.dropout = 0.5  # in training views differ by dropout, as printed
    views = module(x, modality).views
    assert (views[0] - views[1]).abs().max() > 1e-3
    views = module.eval()(x, modality).views
    assert torch.equal(views[0], views[1])


@pytest.mark.covers("V22")
def test_rebuilt_ssdec_masks_single_numbers_and_neither_scales_nor_adds_the_input():
    module, modality = expansion("ssdec_rebuilt", heads=8, views=3)
    x = tokens()
    torch.manual_seed(7)
    found = module(x, modality)
    torch.manual_seed(7)
    branches = [layer(x * (torch.rand(x.shape) > 0.3)) for layer in module.layers]
    joined = torch.cat([formulas.linear(cut, b) for cut, b in
                        zip(module.cuts, branches, strict=True)], -1)
    theirs = formulas.layer_norm(module.norm, joined) * module.scale
    agree([found.tokens, *found.views], [theirs, *[b.mean(1) for b in branches]],
          [x, *module.parameters()])
    kept = [(module.fixed[k].double().mean()) for k in range(3)]
    assert all(0.5 < share < 0.9 for share in kept)
    module.eval()
    assert torch.equal(module(x, modality).tokens[:1], module(x[:1], modality[:1]).tokens)
    assert torch.equal(module(x, modality).tokens, module(x, modality).tokens)


def test_rebuilt_ssdec_shares_out_widths_that_do_not_divide():
    module = build_expansion(Expansion(name="ssdec_rebuilt", heads=8, views=3), 128, (6, 3))
    assert [cut.out_features for cut in module.cuts] == [43, 43, 42]


@pytest.mark.covers("V4", "V8")
def test_embednet_runs_every_stage_on_the_images_and_has_no_norm_after_stage_4():
    torch.manual_seed(0)
    model = without_dropout(build(preset("embednet", "base", image__pretrained=None, **SMALL), 5),
                            True)
    visible, infrared = (torch.randn(2, 3, 32, 32, dtype=torch.double) for _ in range(2))
    for mfa in model.aggregations.values():  # awake: their last norm starts at zero
        torch.nn.init.normal_(mfa.cnl.out.norm.weight)
        torch.nn.init.normal_(mfa.pnl.out.norm.weight)
    stage = [model.backbone.stage(model.backbone.both(visible, infrared), k) for k in range(STAGES)]
    x = model.expansion(model.aggregations["3"](stage[3], stage[0]), torch.tensor([0, 0, 1, 1]))
    last = model.stage4.layers[0](x.tokens)
    pooled = last.mean(1)
    neck = model.neck.layers
    feature = formulas.relu(formulas.batch_norm(neck[1], formulas.linear(neck[0], pooled), True))
    out = model(visible, infrared)
    logits = formulas.linear(model.classifier, feature)
    agree([out.pooled, out.features, out.logits], [pooled, feature, logits],
          [p for n, p in model.named_parameters() if p.requires_grad])
    ours, given, loss = out.as_tuple(training=True)
    assert ours is out.pooled and given is out.logits
    unit = formulas.unit(out.tokens)
    alike = (unit @ unit.transpose(1, 2)).abs()
    count = unit.shape[1]
    assert loss.item() == pytest.approx(
        ((alike.sum() - alike.diagonal(dim1=1, dim2=2).sum()) / (count * (count - 1))).item())
    for vector, raw in zip(out.as_tuple(training=False), (pooled, feature), strict=True):
        torch.testing.assert_close(vector, formulas.unit(raw))
    assert model.classifier.bias is not None
    assert build(preset("deen", "tiny"), 5).classifier.bias is None


@pytest.mark.covers("V5")
def test_mfa_of_the_note_attends_and_then_attends_to_a_pyramid():
    torch.manual_seed(0)
    mfa = MFA(24, form="cross_pyramid").double().eval()
    high, low = tokens(2, 16), tokens(2, 16)
    torch.testing.assert_close(mfa(high, low), high)
    for part in (mfa.cnl, mfa.pnl):
        torch.nn.init.normal_(part.out.norm.weight)

    def non_local(part, high, low):
        q, k, v = (formulas.linear(layer, x) for layer, x in
                   ((part.query, high), (part.key, low), (part.value, low)))
        scores = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).exp()
        seen = formulas.linear(part.out.linear, scores / scores.sum(-1, keepdim=True) @ v)
        return high + formulas.batch_norm(part.out.norm, seen.flatten(0, 1), False).view_as(high)

    levels = torch.cat([low.mean(1, keepdim=True), low.view(2, 4, 4, 24).mean(2), low], 1)
    theirs = non_local(mfa.pnl, non_local(mfa.cnl, high, low), levels)
    agree([mfa(high, low)], [theirs], [high, low, *mfa.parameters()])


@pytest.mark.parametrize("design,fields,said", [
    ("embednet_tmhee", {"loss__orthogonality": "views"}, "expansion.name=tmhee_over_batch"),
    ("embednet_corrected", {"expansion__name": "none"}, "expansion.name=none"),
    ("embednet_corrected", {"expansion__heads": 1}, "expansion.heads=1"),
    ("deen", {"expansion__views": 1}, "expansion.views=1")])
def test_a_term_without_two_views_is_refused(design, fields, said):
    with pytest.raises(ReidlabError, match="orthogonality") as refused:
        preset(design, **fields)
    assert said in str(refused.value) and design in str(refused.value)


def test_a_term_that_reads_what_a_design_has_not_is_refused():
    for design, field, value in (
            ("projection", "gate_smoothing", 0.1), ("projection", "gate_regularization", 0.1),
            ("corrected", "fusion_gate_smoothing", 0.1), ("attention", "itm", 1.0)):
        with pytest.raises(ReidlabError, match=f"loss.weights.{field}") as refused:
            preset(design, **{f"loss__weights__{field}": value})
        assert design in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(ReidlabError, match="data.pairs"):
        preset("attention", data__mismatched_fraction=0.2)
    for fields in ({"fusion__mixer": "performer"}, {"fusion__gate_groups": 2}):
        with pytest.raises(ReidlabError, match="attention_gated"):
            preset("attention", **fields)
    kept = preset("attention", data__mismatched_fraction=0.2, data__pairs="sampled")
    assert dataclasses.asdict(kept)["data"]["pairs"] == "sampled"
