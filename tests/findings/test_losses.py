"""What the notes' losses can and cannot do, by optimising nothing but the vectors themselves."""
import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn

from reidlab.config import Disentangle, Fusion
from reidlab.disentangle.projection import ProjectionDisentangler, ReversedProjection
from reidlab.fusion import build_fusion
from reidlab.losses.adversarial import IdentityAdversary, negative_info_nce, off_diagonal
from reidlab.losses.contrastive import info_nce, masked_info_nce, multi_positive, one_way_info_nce
from reidlab.losses.decoupling import abs_cosine, cka_linear, decoupler, gram
from reidlab.losses.gate import gate_regularization


def free(*shapes):
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(*shape)) for shape in shapes]


def descend(loss, parameters, steps, lr=0.05):
    step = torch.optim.Adam(parameters, lr=lr)
    for _ in range(steps):
        step.zero_grad()
        loss().backward()
        step.step()
    return loss().item()


# f: dependence --------------------------------------------------------------------------------
@pytest.mark.covers("L7", "D15")
def test_f1_a_rotated_copy_is_invisible_to_abs_cosine_and_plain_to_cka():
    x = torch.randn(128, 64)
    turned = torch.stack([-x[:, 1::2], x[:, 0::2]], dim=2).flatten(1)
    assert abs_cosine(x, turned) < 1e-6
    assert cka_linear(x, turned) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.covers("L7")
def test_f2_projected_abs_cosine_reads_the_same_for_identical_and_independent_features():
    torch.manual_seed(0)
    one, other = nn.Linear(768, 256), nn.Linear(768, 256)
    x, y = torch.randn(512, 768), torch.randn(512, 768)
    level = math.sqrt(2 / (256 * math.pi))
    with torch.no_grad():
        assert abs_cosine(one(x), other(x)).item() == pytest.approx(level, abs=0.005)
        assert abs_cosine(one(x), other(y)).item() == pytest.approx(level, abs=0.005)
        assert abs_cosine(x.relu(), y.relu()).item() == pytest.approx(1 / math.pi, abs=0.01)


@pytest.mark.covers("L7")
def test_f3_abs_cosine_falls_to_nothing_and_the_two_still_tell_everything():
    torch.manual_seed(0)
    x = torch.randn(256, 32)
    identity, cloth = nn.Linear(32, 32), nn.Linear(32, 32)
    cloth.load_state_dict(identity.state_dict())
    with torch.no_grad():
        cloth.weight.add_(0.01 * torch.randn(32, 32))
    start = abs_cosine(identity(x), cloth(x)).item()
    end = descend(lambda: abs_cosine(identity(x), cloth(x)),
                  [*identity.parameters(), *cloth.parameters()], 200, lr=0.01)
    assert start > 0.95 and end < 0.05
    with torch.no_grad():  # either is still a linear map of the other
        one, other = identity(x), cloth(x)
        left = one - other @ torch.linalg.lstsq(other, one).solution
        assert left.var() / one.var() < 0.02


@pytest.mark.covers("L8")
def test_f4_the_uncentred_form_measures_a_common_offset():
    torch.manual_seed(0)
    values = {"note": [], "unbiased": []}
    for _ in range(20):
        x, y = torch.randn(64, 256).relu(), torch.randn(64, 256).relu()
        values["note"].append([gram(x, x).item(), gram(x, y).item()])
        values["unbiased"].append([cka_linear(x, x).item(), cka_linear(x, y).item()])
    note, unbiased = (torch.tensor(values[k]).mean(dim=0) for k in ("note", "unbiased"))
    assert note[1] / note[0] > 0.7            # independent reads nearly as much as identical
    off = note - 1 / 64                       # and does so without the diagonal
    assert off[1] / off[0] > 0.7
    assert unbiased[0] > 0.99 and abs(unbiased[1]) < 0.03


@pytest.mark.covers("L8")
def test_f4_only_the_rbf_form_sees_a_squared_dependence():
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    y = x.square() + 0.1 * torch.randn(256, 8)
    null = torch.stack([decoupler("cka_rbf")(x, y[torch.randperm(256)]) for _ in range(20)])
    assert decoupler("cka_rbf")(x, y) > null.mean() + 5 * null.std()
    assert cka_linear(x, y).abs() < 0.1


@pytest.mark.covers("R8", "D15")
def test_f5_dose_and_response():
    torch.manual_seed(0)
    identity, cloth = torch.randn(1024, 32), torch.randn(1024, 32)
    project, other = nn.Linear(32, 256), nn.Linear(32, 256)
    cka, cosine = [], []
    with torch.no_grad():
        for dose in (0.0, 0.4, 1.0, 1.5):
            mixed = identity + dose * cloth
            cka.append(cka_linear(mixed, cloth).item())
            cosine.append(abs_cosine(project(mixed), other(cloth)).item())
    assert cka == sorted(cka) and cka[0] < 0.02 and cka[-1] > 0.5
    assert max(cosine) - min(cosine) < 0.05   # what the notes would log hardly moves


# g: the adversarial term ----------------------------------------------------------------------
@pytest.mark.covers("L5")
def test_g1_negative_info_nce_turns_positives_around():
    cloth, text = free((64, 32), (64, 32))
    end = descend(lambda: negative_info_nce(cloth, text), [cloth, text], 1500)
    bound = -math.log(1 + 63 * math.exp(2 / 0.1))
    assert bound < end < 0.9 * bound
    assert F.cosine_similarity(cloth, text).mean() < -0.95


@pytest.mark.covers("L5")
def test_g1_off_diagonal_is_least_where_nothing_is_told_apart():
    cloth, text = free((16, 8), (16, 8))
    assert descend(lambda: off_diagonal(cloth, text), [cloth, text], 800) == pytest.approx(
        math.log(16), abs=0.02)


@pytest.mark.covers("L5")
def test_g2_at_the_end_of_the_ramp_cloth_and_its_adversary_cancel():
    cloth, text = free((8, 16), (8, 16))
    total = (0.5 * one_way_info_nce(cloth, text) + 0.5 * one_way_info_nce(cloth, text)
             + 1.0 * negative_info_nce(cloth, text))
    total.backward()
    assert cloth.grad.abs().max() < 1e-7


# e: reversal in the wrong place ---------------------------------------------------------------
@pytest.mark.covers("D1")
def test_e_reversal_before_clothing_keeps_clothing_from_being_learned():
    def match(reversed_):
        torch.manual_seed(0)
        words, noise = torch.randn(6, 16), torch.Generator().manual_seed(1)
        mix, head = nn.Linear(32, 32), nn.Linear(32, 16)
        cloth = ReversedProjection(32, reversed_)
        step = torch.optim.Adam([*mix.parameters(), *head.parameters(), *cloth.parameters()],
                                lr=3e-3)
        for _ in range(250):
            worn = torch.arange(6)[torch.randperm(6, generator=noise)]
            x = torch.cat([words[worn], torch.randn(6, 16, generator=noise)], dim=1)
            loss = info_nce(head(cloth(mix(x))), words[worn])
            step.zero_grad()
            loss.backward()
            step.step()
        with torch.no_grad():
            x = torch.cat([words.repeat(50, 1), torch.randn(300, 16, generator=noise)], dim=1)
            seen = F.normalize(head(cloth(mix(x))), dim=1) @ F.normalize(words, dim=1).T
            return (seen.argmax(dim=1) == torch.arange(6).repeat(50)).float().mean().item()
    assert match(reversed_=False) > 0.9
    assert match(reversed_=True) < 0.5


@pytest.mark.covers("D1")
def test_e2_the_reversal_also_turns_the_decoupling_gradient_of_clothing():
    grads = {}
    for reversal in (True, False):
        torch.manual_seed(0)
        split = ProjectionDisentangler(Disentangle(pooling="cls", reversal=reversal), 16)
        parts = split(torch.randn(32, 3, 16, generator=torch.Generator().manual_seed(2)))
        abs_cosine(parts.identity, parts.cloth).backward()
        grads[reversal] = (split.cloth.linear.weight.grad, split.identity[0].weight.grad)
    cosines = [F.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()
               for a, b in zip(grads[True], grads[False], strict=True)]
    assert cosines == pytest.approx([-1, 1], abs=1e-4)


def identity_left(penalty, steps=600):
    """Held-out linear reading of four people from clothing features, and the error of the task."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    cloth, task = nn.Linear(16, 16), nn.Linear(16, 12)
    adversary = IdentityAdversary(8, 16, 4, 5, strength=1.0)
    step = torch.optim.Adam([{"params": [*cloth.parameters(), *task.parameters()]},
                             {"params": adversary.parameters(), "lr": 1e-2}], lr=3e-3)

    def draw(n):
        who = torch.randint(4, (n,), generator=rng)
        worn = torch.randn(n, 12, generator=rng)
        return who, torch.cat([F.one_hot(who, 4) * 3.0, worn], dim=1), worn

    for _ in range(steps):
        who, x, worn = draw(128)
        features = cloth(x)
        loss = (task(features) - worn).square().mean() + penalty(adversary, features, who)
        step.zero_grad()
        loss.backward()
        step.step()
    with torch.no_grad():
        who, x, worn = draw(1024)
        features = cloth(x)
        error = (task(features) - worn).square().mean().item()
        fooled = F.cross_entropy(adversary.who(features), who).item()
    probe = LogisticRegression(max_iter=500).fit(features[:512], who[:512])
    return probe.score(features[512:], who[512:]), error, fooled


@pytest.mark.slow
@pytest.mark.covers("D4", "L5")
def test_e3_an_adversary_is_fooled_and_a_fresh_probe_is_not():
    nothing, adversary, labels = (identity_left(p) for p in (
        lambda reader, x, who: 0.0,
        lambda reader, x, who: reader(torch.zeros(len(x), 8), x, who, torch.zeros(len(x), 5)),
        lambda reader, x, who: cka_linear(x, F.one_hot(who, 4).float())))
    assert nothing[0] > 0.95
    assert adversary[2] > 1.0 and adversary[0] > 0.9   # log 4 is 1.39: the reader knows little
    assert labels[0] < 0.45 and labels[1] < 0.2        # dependence on labels: near chance, .25


# h, i, j --------------------------------------------------------------------------------------
@pytest.mark.covers("L9")
def test_h2_the_gate_term_is_too_weak_to_matter():
    gate = torch.tensor([0.01, 0.99, 0.5], requires_grad=True)
    (0.01 * gate_regularization(gate)).backward()
    assert 0.01 * gate_regularization(torch.tensor([0.0, 1.0])) == pytest.approx(0.0025)
    assert gate.grad.abs().max() < 0.004


@pytest.mark.covers("L6")
def test_i1_the_diagonal_pulls_wrong_pairs_together_and_the_mask_does_not():
    own = torch.arange(32) % 16          # each picture twice: with its own text, with another's
    said = torch.cat([torch.arange(16), (torch.arange(16) + 5) % 16])
    matched = own == said

    def margin(loss):
        image, text = free((16, 32), (16, 32))
        descend(lambda: loss(image[own], text[said]), [image, text], 2000)
        with torch.no_grad():
            i, t = F.normalize(image, dim=1), F.normalize(text, dim=1)
            right = (i[own[matched]] * t[said[matched]]).sum(dim=1).mean()
            wrong = (i[own[~matched]] * t[said[~matched]]).sum(dim=1).mean()
        return right.item(), wrong.item()
    right, wrong = margin(info_nce)
    assert right > 0.7 and abs(right - wrong) < 0.02        # the wrong text is as near as the own
    right, wrong = margin(lambda i, t: masked_info_nce(i, t, matched))
    assert right > 0.9 and wrong < 0.3


@pytest.mark.covers("L1")
@pytest.mark.parametrize("k", [2, 4])
def test_i2_several_pictures_a_person_leave_a_floor_of_log_k(k):
    who = torch.arange(16) % (16 // k)
    image, text = free((16 // k, 32), (16 // k, 32))
    floor = descend(lambda: info_nce(image[who], text[who]), [image, text], 600)
    assert floor == pytest.approx(math.log(k), abs=0.02)
    image, text = free((16 // k, 32), (16 // k, 32))
    assert descend(lambda: multi_positive(image[who], text[who], who, who), [image, text], 600
                   ) <= floor + 0.02


@pytest.mark.covers("E13")
def test_j_no_normalising_loss_sees_the_scale():
    torch.manual_seed(0)
    scale = nn.Parameter(torch.ones(()))
    fusion = build_fusion(Fusion(name="mamba"), 64)
    text = torch.randn(16, 64)
    vector = fusion(torch.randn(16, 64), text).vector
    info_nce(scale * F.normalize(vector, dim=-1), text).backward()
    assert scale.grad.abs() < 1e-6


@pytest.mark.slow
def test_j3_a_contrast_of_fused_and_text_is_solved_without_the_picture():
    torch.manual_seed(0)
    fusion = build_fusion(Fusion(name="attention_gated", dropout=0.0), 32)
    texts = F.normalize(torch.randn(64, 32), dim=1)
    step = torch.optim.Adam(fusion.parameters(), lr=3e-3)
    for _ in range(300):
        noise = F.normalize(torch.randn(64, 32), dim=1)
        loss = info_nce(fusion(noise, texts).vector, texts)
        step.zero_grad()
        loss.backward()
        step.step()
    assert loss < 0.3  # log 64 is 4.16, and there was no picture at all
