"""Attention that entangles, gates that weigh nothing, blocks that keep gradients alive."""
import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn
from transformers import BertTokenizer

from reidlab.config import Disentangle
from reidlab.disentangle import build_disentangler
from reidlab.disentangle.gate import GatedDisentangler
from reidlab.disentangle.projection import ResidualBlock
from reidlab.encoders.pooling import MaskedMean, build_pooling
from reidlab.losses.decoupling import cka_linear
from reidlab.models.heads import build_heads
from reidlab.models.text_image import TextImageModel
from reidlab.presets import preset


def test_a1_softmax_of_half_the_identity_is_nearly_uniform():
    row = (0.5 * torch.eye(4)).softmax(dim=-1)[0]
    assert row.tolist() == pytest.approx([0.35466] + 3 * [0.21511], abs=1e-5)
    big = (0.5 * torch.eye(576)).softmax(dim=-1)[0]
    assert big[0] == pytest.approx(0.00286, abs=1e-5)
    assert 1 / 576 == pytest.approx(0.00174, abs=1e-5)
    for n, score in ((4, 5.69), (576, 10.95)):  # what one token needs to reach .99
        assert math.log(99 * (n - 1)) == pytest.approx(score, abs=0.01)


@pytest.mark.covers("V34", "V32")
def test_a1_the_worked_example_with_two_heads():
    """Two pictures, four patches, width 8, two heads: with Q = K = V = the first four channels."""
    x = torch.eye(4, 8).repeat(2, 1, 1)                           # (2, 4, 8), and not 8 × 8
    first = x[..., :4]
    weights = (first @ first.transpose(1, 2) / 4 ** 0.5).softmax(dim=-1)
    head = weights @ first
    assert (head - first).abs().max().item() == pytest.approx(1 - 0.35466, abs=1e-4)  # not V
    module = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.cat([torch.eye(8)] * 3))
        module.out_proj.weight.copy_(torch.eye(8))
    whole, maps = module(x, x, x, average_attn_weights=False)
    assert torch.allclose(whole[..., :4], head, atol=1e-6)
    assert torch.allclose(maps[:, 0], weights, atol=1e-6)
    assert torch.allclose(maps[:, 1], torch.full((2, 4, 4), 0.25))  # head 2 sees zeros: all alike
    row = (4 * torch.eye(4)).softmax(dim=-1)[0, 0].item()
    assert row < 0.99 < (5.7 * torch.eye(4)).softmax(dim=-1)[0, 0].item()


@pytest.mark.covers("V33")
def test_a3_other_weights_may_give_the_same_attention():
    torch.manual_seed(0)
    x = torch.randn(10, 16, dtype=torch.float64)
    q, k, v = (torch.randn(16, 16, dtype=torch.float64) for _ in range(3))
    g = torch.randn(16, 16, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64)).Q
    one = (x @ q @ (x @ k).T / 4).softmax(dim=-1)
    other = (x @ (q @ g) @ (x @ (k @ torch.linalg.inv(g).T)).T / 4).softmax(dim=-1)
    assert (q - q @ g).abs().max() > 1 and torch.allclose(one, other, atol=1e-6)
    assert cka_linear(one @ x @ v, other @ x @ v @ turn) == pytest.approx(1.0, abs=1e-6)


def readable(features, labels):
    """Held-out linear reading."""
    half = len(labels) // 2
    probe = LogisticRegression(max_iter=2000).fit(features[:half], labels[:half])
    return probe.score(features[half:], labels[half:])


@pytest.mark.covers("D9", "D15")
def test_h3_one_untrained_cross_layer_undoes_a_perfect_separation():
    """Identity tokens without clothing, clothing tokens without identity; six outfits."""
    torch.manual_seed(0)
    worn, who = torch.randint(6, (600,)), torch.randint(8, (600,))
    cloths, people = 2 * torch.randn(6, 32), 2 * torch.randn(8, 32)
    identity = people[who][:, None] + torch.randn(600, 8, 32)
    cloth = cloths[worn][:, None] + torch.randn(600, 8, 32)
    split = build_disentangler(Disentangle(), 32).eval()
    with torch.no_grad():
        crossed = split.identity_norms[0](
            identity + split.identity_cross[0](identity, cloth, cloth)[0])
        gated = split.gate(identity.mean(dim=1), cloth.mean(dim=1)).identity
    apart, gate, cross = (readable(x, worn) for x in (
        identity.mean(dim=1), gated, crossed.mean(dim=1)))
    assert apart < 0.25 and cross > 0.95          # chance is .167
    assert apart < gate < cross


@pytest.mark.covers("D11")
def test_h4_n2_a_query_finds_the_one_telling_patch_where_a_mean_drowns_it():
    def accuracy(name):
        torch.manual_seed(0)
        pool, head = build_pooling(name, 24), nn.Linear(24, 6)
        step = torch.optim.Adam([*pool.parameters(), *head.parameters()], lr=0.02)
        kinds, mark = torch.randn(6, 24), 3 * torch.randn(24)
        for k in range(401):
            label = torch.randint(6, (128,))
            tokens = 1.5 * torch.randn(128, 16, 24)
            tokens[torch.arange(128), torch.randint(16, (128,))] = kinds[label] + mark
            logits = head(pool(tokens))
            if k < 400:
                step.zero_grad()
                F.cross_entropy(logits, label).backward()
                step.step()
        return (logits.argmax(dim=1) == label).float().mean().item()
    assert accuracy("attention") > 0.95
    assert accuracy("masked_mean") < 0.9


def test_h1_a_constant_gate_is_absorbed_by_what_follows():
    torch.manual_seed(0)
    heads = build_heads(preset("attention").heads, 64)[0].train()
    for module in heads.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = torch.randn(64, 64)
    with torch.no_grad():
        heads.shared_mlp.bias.zero_()
        full, tenth = heads.image(x), heads.image(0.1 * x)
    assert F.cosine_similarity(full, tenth).min() > 0.999
    gate = GatedDisentangler(64)
    share = gate.to_gate(torch.randn(4, 128)).sigmoid()
    assert share.shape == (4, 64)


@pytest.mark.covers("D6")
def test_m1_residual_blocks_keep_the_gradient_alive():
    def at_input(block, depth, between):
        torch.manual_seed(0)
        net = nn.Sequential(*[m for _ in range(depth) for m in (block(), between())])
        x = torch.randn(32, 64, requires_grad=True)
        (net(x) * torch.randn(32, 64)).mean(dim=0).sum().backward()
        return x.grad.norm().item()

    def plain():
        return ResidualBlock(64).block
    for depth in (2, 8):
        bare = at_input(plain, depth, nn.Identity)
        note = at_input(lambda: ResidualBlock(64), depth, nn.ReLU)
        free = at_input(lambda: ResidualBlock(64), depth, nn.Identity)
        assert bare < 0.3 * note and note < free
    block = ResidualBlock(8)
    for p in block.parameters():
        nn.init.zeros_(p)
    assert torch.equal(block(torch.ones(2, 8)), torch.ones(2, 8))


@pytest.mark.covers("E6")
def test_n1_the_masked_mean_ignores_padding_and_cls_is_one_token_of_many():
    x, mask = torch.randn(3, 64, 8), torch.zeros(3, 64)
    mask[:, :9] = 1
    true = x[:, :9].mean(dim=1)
    assert torch.allclose(MaskedMean()(x, mask), true, atol=1e-6)
    assert not torch.allclose(x.mean(dim=1), true, atol=0.1)
    assert 1 / 197 == pytest.approx(0.005, abs=2e-4)


def test_q_one_batchnorm_for_two_streams_fits_neither():
    torch.manual_seed(0)
    shared, own = nn.BatchNorm1d(32), nn.BatchNorm1d(32)
    for _ in range(200):
        identity, cloth = torch.randn(64, 32) + 2, 3 * torch.randn(64, 32) - 2
        shared(identity), shared(cloth), own(identity)
    x = torch.randn(512, 32) + 2
    with torch.no_grad():
        train = own(x)
        for norm, near in ((shared.eval(), 0.9), (own.eval(), 0.99)):
            cosine = F.cosine_similarity(norm(x), train).mean()
            assert (cosine > near) == (norm is own)


def test_s2_chinese_words_are_cut_into_characters_even_when_the_vocabulary_has_them():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红色", "夹克", "红", "色", "夹", "克"]
    tokenizer = BertTokenizer(vocab={w: k for k, w in enumerate(words)})
    assert tokenizer.tokenize("红色夹克") == ["红", "色", "夹", "克"]


@pytest.mark.covers("D3")
def test_o_the_alpha_schedule_reaches_one_only_after_45_epochs():
    from reidlab.disentangle.reversal import alpha_ramp
    assert alpha_ramp(1) == pytest.approx(0.12) and alpha_ramp(45) == 1.0 > alpha_ramp(44)
    thirty = [alpha_ramp(e) for e in range(30)]
    assert thirty[-1] == pytest.approx(0.68) and sum(thirty) / 30 == pytest.approx(0.39)


@pytest.mark.covers("E8", "L15")
def test_p_frozen_bert_gets_nothing_and_vit_gets_from_match_and_decouple_alone(data):
    from reidlab.batches.text_image import Batches
    from reidlab.losses.text_image import TextImageLoss
    from reidlab.tasks import build
    from tests.conftest import mini
    for term in ("cloth_match", "decouple"):
        only = {f"loss__weights__{n}": 0.0 for n in (
            "info_nce", "cls", "bio", "cloth", "cloth_adv", "gate_regularization", "cloth_match",
            "decouple")} | {f"loss__weights__{term}": 1.0}
        experiment = mini("attention", **only)
        model: TextImageModel = build(experiment, data.classes)
        batch = Batches(data.train, experiment)(0)
        out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text)
        TextImageLoss(experiment.loss, 128, 256)(out, batch, 1)["total"].backward()
        assert model.visual_encoder.embeddings.position_embeddings.grad.abs().max() > 0, term
        assert all(p.grad is None for p in model.text_encoder.bert.parameters())
