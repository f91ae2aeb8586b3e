"""EmbedNet and DEEN: stages that learn or do not, features that stand alone, every parameter."""
import pytest
import torch
import torch.nn.functional as F

from reidlab.batches.visible_infrared import VisibleInfraredBatch
from reidlab.config.changes import change
from reidlab.encoders.dual_vit import INFRARED, VISIBLE
from reidlab.errors import ReidlabError
from reidlab.expansion.ssdec import cut_mix
from reidlab.fusion.mfa import MFA
from reidlab.losses.visible_infrared import VisibleInfraredLoss
from reidlab.models.necks import build_neck
from reidlab.presets import preset
from reidlab.presets.visible_infrared import DESIGNS
from reidlab.tasks import build

CLASSES = 5


def make(name, **changes):
    experiment = change(preset(name), {k.replace("__", "."): v for k, v in changes.items()})
    return build(experiment, CLASSES), experiment


def batch(channels=3):
    rng = torch.Generator().manual_seed(0)
    return VisibleInfraredBatch(torch.randn(8, 3, 96, 48, generator=rng),
                     torch.randn(8, channels, 96, 48, generator=rng),
                     torch.tensor([0, 0, 1, 1, 2, 2, 3, 3] * 2))


def step(model, experiment, given):
    loss = VisibleInfraredLoss(experiment.loss)
    loss(model(given.visible, given.infrared), given.pid)["total"].backward()


def still(model):
    return sorted(n for n, p in model.named_parameters()
                  if p.requires_grad and (p.grad is None or not p.grad.any()))


@pytest.fixture(scope="module", params=sorted(DESIGNS))
def design(request):
    return make(request.param)


@pytest.mark.covers("V4", "V8")
def test_shapes_norms_and_both_directions(design):
    model, experiment = design
    given, model = batch(), model.eval()
    out = model(given.visible, given.infrared)
    rows, width = 16 * out.sets, experiment.image.dim
    sides = 1 if experiment.stages.retrieve == "neck" else 2
    assert out.pooled.shape == out.features.shape == (rows, width)
    assert (out.logits is None) == (experiment.loss.weights.cls == 0)
    assert out.logits is None or out.logits.shape == (rows, CLASSES)
    assert out.modality.tolist() == [VISIBLE] * 8 + [INFRARED] * 8
    for kind, image in ((VISIBLE, given.visible), (INFRARED, given.infrared)):
        found = model.encode(image, kind)
        assert found.shape == (8, sides * out.sets * width)
        assert torch.allclose(found.norm(dim=1), torch.ones(8), atol=1e-5)
    vectors = [[v for part in (("features",), ("pooled", "features"))[sides - 1]
                for v in getattr(model(*pictures), part).split(8)]
               for pictures in ((given.visible, None), (None, given.infrared))]
    cosines = [F.cosine_similarity(a[:1], b[:1]).item() for a, b in zip(*vectors, strict=True)]
    score = (model.encode(given.visible, VISIBLE) @ model.encode(given.infrared, INFRARED).T)[0, 0]
    assert score.item() == pytest.approx(sum(cosines) / len(cosines), abs=1e-4)


@pytest.mark.covers("V2", "V4")
def test_a_feature_does_not_depend_on_its_batch_but_as_written_it_does(design):
    model, experiment = design
    given, model = batch(), model.eval()
    together = model.encode(given.visible, VISIBLE)
    alone = torch.cat([model.encode(given.visible[k:k + 1], VISIBLE) for k in range(8)])
    if experiment.expansion.name == "tmhee_over_batch":
        assert (together - alone).abs().max() > 1e-3
    else:
        assert (together - alone).abs().max() < 1e-5


@pytest.mark.covers("V37")
def test_infrared_of_one_channel_is_infrared_of_three(design):
    model, one = design[0].eval(), batch(channels=1).infrared
    assert torch.equal(model.encode(one, INFRARED),
                       model.encode(one.expand(-1, 3, -1, -1), INFRARED))


@pytest.mark.covers("V4", "V7", "V38")
@pytest.mark.parametrize("changes", [
    {}, {"loss__weights__cls": 1.0, "loss__weights__triplet": 1.0, "loss__weights__cpm": 0.8},
    {"expansion__name": "cmatm"}, {"expansion__name": "ssdec"}, {"expansion__name": "deen"},
    {"expansion__learned_view_weights": True, "expansion__interaction": True}, {"stages__depth": 3},
    {"stages__low": "stage0"}, {"loss__weights__alignment": 0.1, "loss__weights__cut_mix": 0.5}])
def test_every_parameter_of_the_corrected_design_learns(changes):
    model, experiment = make("embednet_corrected", **changes)
    given = batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):  # a block that starts as the identity passes nothing back in its first step
        optimizer.zero_grad()
        step(model, experiment, given)
        optimizer.step()
    assert still(model) == []


@pytest.mark.covers("V38")
def test_without_its_modality_tokens_a_model_gives_other_vectors():
    model, _ = make("embednet_corrected", expansion__name="cmatm")
    model.eval()
    with torch.no_grad():
        before = [model.encode(batch().visible, kind) for kind in (VISIBLE, INFRARED)]
        model.expansion.tokens.zero_()
        after = [model.encode(batch().visible, kind) for kind in (VISIBLE, INFRARED)]
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, after, strict=True))


@pytest.mark.covers("V10")
def test_every_parameter_of_deen_learns():
    model, experiment = make("deen")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        step(model, experiment, batch())
        optimizer.step()
    assert still(model) == []


@pytest.mark.covers("V4", "V5")
def test_l2_as_written_stages_1_and_2_and_three_aggregations_never_learn():
    """Each stage embeds the picture again, so that the last one alone is heard; stage 0 is, too,
    through the lower view of the last aggregation."""
    model, experiment = make("embednet")
    with torch.no_grad():  # past the first step, when aggregation is no longer the identity
        for block in model.aggregations.values():
            for part in (block.cnl, block.pnl):
                part.out.norm.weight.fill_(0.5)
    step(model, experiment, batch())
    assert {name.split(".")[3] for name in still(model) if ".layers." in name} == {"1", "2"}
    dead, names = set(still(model)), [n for n, p in model.named_parameters() if p.requires_grad]
    assert {n for n in names if ".layers." in n and n.split(".")[3] in "12"} <= dead  # all of them
    assert {name.split(".")[1] for name in still(model) if name.startswith("aggregations")} == {
        "0", "1", "2"}


@pytest.mark.covers("V5")
def test_aggregation_starts_as_the_identity_and_then_hears_the_lower_view():
    torch.manual_seed(0)
    block = MFA(16, 8)
    high, low = torch.randn(4, 6, 16), torch.randn(4, 6, 8)
    assert torch.equal(block(high, low), high)
    optimizer = torch.optim.SGD(block.parameters(), lr=1.0)
    (block(high, low) * torch.randn(4, 6, 16)).sum().backward()
    optimizer.step()
    other = torch.randn(4, 6, 8)
    assert (block.eval()(high, low) - block(high, other)).abs().max() > 1e-4


def awake(part):
    """A block past its first step: a BatchNorm that starts at zero would let nothing through."""
    with torch.no_grad():
        part.out.norm.weight.normal_()
        part.out.norm.running_mean.normal_()
        part.out.norm.running_var.uniform_(0.5, 2)
    return part.eval()


@pytest.mark.covers("V5")
def test_non_local_blocks_against_slow_loops():
    """Channels ask channels and are divided by their number, positions ask positions and by
    theirs; then Linear, BatchNorm, and the block's own input is added."""
    torch.manual_seed(0)
    block = MFA(6, 4)
    high, low = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    part = awake(block.cnl)
    q, k, v = part.query(high), part.key(low), part.value(low)
    slow = torch.zeros(2, 5, 4)
    for r in range(2):
        for c in range(4):
            for d in range(4):
                slow[r, :, c] += (q[r, :, c] @ k[r, :, d]) / 4 * v[r, :, d]
    asked = part(high, low)
    assert torch.allclose(asked, high + part.out(slow), atol=1e-5)
    assert (asked - high).abs().max() > 0.1
    part = awake(block.pnl)
    q, k, v = part.query(asked), part.key(low), part.value(low)
    slow = torch.stack([torch.stack([sum((q[r, i] @ k[r, j]) / 5 * v[r, j] for j in range(5))
                                     for i in range(5)]) for r in range(2)])
    found = part(asked, low)
    assert torch.allclose(found, asked + part.out(slow), atol=1e-5)
    assert (found - asked).abs().max() > 0.1
    assert torch.equal(block.eval()(high, low), found)  # channels first, then positions
    norm, linear = part.out.norm, part.out.linear
    by_hand = (linear(slow) - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    assert torch.allclose(part.out(slow), by_hand * norm.weight + norm.bias, atol=1e-5)


@pytest.mark.covers("V12", "V11", "V29", "V7")
def test_the_lower_view_the_depth_and_the_expansion_are_one_field_each():
    given = batch()
    sizes = []
    for changes in ({}, {"stages__low": "stage0"}, {"stages__low": "none"}, {"stages__depth": 2},
                    {"expansion__name": "dee"},
                    {"expansion__name": "none", "loss__weights__orthogonality": 0.0},
                    {"stages__neck": "linear"}):
        model, _ = make("embednet_corrected", **changes)
        sizes.append(sum(p.numel() for p in model.parameters()))
        assert model.eval()(given.visible, given.infrared).pooled.shape == (16, 128)
    assert len(set(sizes)) == 7
    first = make("embednet_corrected", stages__low="stage0")[0].aggregations.keys()
    assert list(first) == ["0", "1", "2", "3"]
    assert list(make("embednet_corrected")[0].aggregations.keys()) == ["1", "2", "3"]
    assert [len(make("embednet_corrected", stages__depth=k)[0].stage4.layers)
            for k in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.covers("V28", "V29")
def test_each_design_has_the_expansion_that_its_name_says():
    assert {name: preset(name).expansion.name for name in DESIGNS} == {
        "deen": "deen", "embednet": "dee", "embednet_tmhee": "tmhee_over_batch",
        "embednet_cmatm": "cmatm_rebuilt", "embednet_ssdec": "ssdec_rebuilt",
        "embednet_corrected": "tmhee"}


@pytest.mark.covers("V12")
@pytest.mark.parametrize("low", ["previous", "stage0"])
def test_each_aggregation_reads_the_stage_that_its_field_says(low):
    model, _ = make("embednet_corrected", stages__low=low)
    for block in model.aggregations.values():
        for part in (block.cnl, block.pnl):
            awake(part)
    gave, read = {}, {}
    stage = model.backbone.stage

    def noted(tokens, number, *rest):
        gave[number] = stage(tokens, number, *rest)
        return gave[number]
    model.backbone.stage = noted
    for name, block in model.aggregations.items():
        block.register_forward_hook(
            lambda m, given, out, name=name: read.update({int(name): given[1]}))
        block.register_forward_hook(lambda m, given, out, name=name: gave.update(
            {f"behind {name}": out}))
    given = batch()
    model.eval()(given.visible, given.infrared)
    for k, lower in read.items():
        if low == "stage0":
            wanted = gave[0]
        else:
            wanted = gave.get(f"behind {k - 1}", gave[k - 1])
        assert torch.equal(lower, wanted), (low, k)
    assert set(read) == ({0, 1, 2, 3} if low == "stage0" else {1, 2, 3})


@pytest.mark.covers("V13")
@pytest.mark.parametrize("size", [(96, 48), (128, 64), (192, 96)])
def test_other_resolutions_need_no_other_weights(size):
    model, _ = make("embednet_corrected")
    found = model.eval().encode(torch.randn(2, 3, *size), INFRARED)
    assert found.shape == (2, 128) and torch.isfinite(found).all()


def test_no_pictures_is_one_line():
    with pytest.raises(ReidlabError, match="got neither"):
        make("embednet_corrected")[0]()


@pytest.mark.parametrize("name", ["bnneck_by_modality", "linear_by_modality"])
def test_a_norm_a_modality_reads_its_own_rows_of_every_set(name):
    torch.manual_seed(0)
    neck = build_neck(name, 4)
    pooled = torch.cat([torch.randn(3, 6, 4), 5 + 2 * torch.randn(3, 10, 4)], dim=1)
    out = neck(pooled, 6)                             # three sets of six visible and ten infrared
    for rows in (out[:, :6], out[:, 6:]):
        assert torch.allclose(rows.mean(dim=(0, 1)), torch.zeros(4), atol=1e-5)
        assert torch.allclose(rows.var(dim=(0, 1), correction=0), torch.ones(4), atol=1e-3)
    together = neck.eval()(pooled, 6)
    assert torch.allclose(neck(pooled[:, :6], 6), together[:, :6], atol=1e-6)    # visible alone
    assert torch.allclose(neck(pooled[:, 6:], 0), together[:, 6:], atol=1e-6)    # infrared alone
    assert not torch.allclose(neck(pooled[:, 6:], 10), together[:, 6:], atol=1e-2)


@pytest.mark.covers("V25")
def test_patches_are_mixed_within_a_modality_and_classified_as_slow_loops_do(monkeypatch):
    model, _ = make("embednet_corrected", loss__weights__cut_mix=1.0, expansion__dropout=0.0)
    seen = {}

    def watched(tokens, partner, share, grid):
        seen["own"], (mixed, kept) = tokens, cut_mix(tokens, partner, share, grid)
        seen["cut"] = (mixed[0] != tokens[0]).any(dim=-1).tolist()
        return mixed, kept
    monkeypatch.setattr("reidlab.models.cross_modal.cut_mix", watched)
    for _ in range(9):  # until row 0 meets somebody else
        out = model.train()(torch.randn(4, 3, 96, 48), torch.randn(6, 3, 96, 48))
        if out.partner[0] != 0:
            break
    partners = out.partner.tolist()
    assert sorted(partners[:4]) == [0, 1, 2, 3] and sorted(partners[4:]) == [4, 5, 6, 7, 8, 9]
    assert 0 < sum(seen["cut"]) and out.kept.tolist() == pytest.approx(
        [1 - sum(seen["cut"]) / 18] * 10)
    slow = torch.stack([torch.stack([
        seen["own"][partners[row] if cut else row, place] for place, cut in enumerate(seen["cut"])])
        for row in range(10)])
    logits = model.classifier(model.neck(model.pool(model.last_stage(slow))[None], 4)[0])
    assert torch.allclose(logits, out.mixed_logits, atol=1e-5)


@pytest.mark.covers("V7")
@pytest.mark.parametrize("depth", [1, 3])
def test_the_last_stage_keeps_its_shape_and_runs_every_layer(depth):
    model, given = make("embednet_corrected", stages__depth=depth)[0].eval(), batch()
    shapes, ran = [], []
    model.stage4.register_forward_hook(
        lambda module, given, out: shapes.append((given[0].shape, out.shape)))
    for layer in model.stage4.layers:
        layer.register_forward_hook(lambda module, given, out: ran.append(module))
    out = model(given.visible, given.infrared)
    assert shapes == [((16, 18, 128),) * 2] and out.tokens.shape == (16, 18, 128)
    assert len(ran) == depth
