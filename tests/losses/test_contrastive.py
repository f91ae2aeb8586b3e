"""Each test states one fact about a contrastive loss that a reader can check by hand."""
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from reidlab.config.text_image import Loss, Weights
from reidlab.losses.adversarial import cloth_adv_ramp, negative_info_nce, off_diagonal
from reidlab.losses.contrastive import (
    info_nce,
    masked_info_nce,
    multi_positive,
    one_way_info_nce,
    same_person_other_picture,
    sdm,
    summed_scores,
)
from reidlab.losses.gate import gate_regularization
from reidlab.losses.text_image import TextImageLoss


def pairs(n=6, d=5, seed=0):
    torch.manual_seed(seed)
    return torch.randn(n, d), torch.randn(n, d)


@pytest.mark.covers("L1")
def test_info_nce_is_log_batch_for_equal_rows_and_zero_for_separated_matches():
    same = torch.ones(8, 4)
    assert info_nce(same, same).item() == pytest.approx(math.log(8))
    assert info_nce(torch.eye(8), torch.eye(8), temperature=0.01).item() < 1e-6


@pytest.mark.covers("L1")
def test_info_nce_by_hand_and_symmetric():
    image, text = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    s = 1 / math.sqrt(2)
    rows = [-1 + math.log(math.exp(1) + math.exp(s)), -s + math.log(math.exp(0) + math.exp(s))]
    columns = [-1 + math.log(math.exp(1) + math.exp(0)), -s + math.log(2 * math.exp(s))]
    assert info_nce(image, text, temperature=1.0).item() == pytest.approx(sum(rows + columns) / 4)
    a, b = pairs()
    assert info_nce(a, b).item() == pytest.approx(info_nce(b, a).item())


@pytest.mark.covers("L3", "L4")
def test_one_way_loss_is_the_image_half_of_info_nce():
    a, b = pairs()
    both = (one_way_info_nce(a, b) + one_way_info_nce(b, a)) / 2
    assert both.item() == pytest.approx(info_nce(a, b).item())
    assert one_way_info_nce(a, b).item() != pytest.approx(one_way_info_nce(b, a).item())


@pytest.mark.covers("V23")
def test_multi_positive_equals_a_slow_loop_over_pairs():
    image, text = pairs(6)
    keys = torch.tensor([0, 0, 1, 2, 2, 2])
    logits = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / 0.1

    def loop(scores):
        total = 0.0
        for i in range(6):
            others = [j for j in range(6) if keys[j] == keys[i]]
            log_p = scores[i] - torch.logsumexp(scores[i], 0)
            total -= sum(log_p[j].item() for j in others) / len(others)
        return total / 6

    expected = (loop(logits) + loop(logits.T)) / 2
    assert multi_positive(image, text, keys, keys).item() == pytest.approx(expected, rel=1e-5)


def test_two_pictures_of_one_person_are_both_positives():
    perfect = torch.eye(2).repeat_interleave(2, dim=0)
    keys = torch.tensor([0, 0, 1, 1])
    best = multi_positive(perfect, perfect, keys, keys, temperature=0.01)
    assert best.item() == pytest.approx(math.log(2))
    assert multi_positive(*pairs(4), torch.arange(4), torch.arange(4)).item() == pytest.approx(
        info_nce(*pairs(4)).item())


def test_texts_that_say_nothing_are_neither_row_nor_column():
    image, text = pairs(5)
    keys, said = torch.arange(5), torch.tensor([1, 1, 0, 1, 1]).bool()
    changed = text.clone()
    changed[2] = 100.0
    a = multi_positive(image, text, keys, keys, valid=said)
    assert a.item() == multi_positive(image, changed, keys, keys, valid=said).item()
    nothing = multi_positive(image, text, keys, keys, valid=torch.zeros(5).bool())
    assert nothing.item() == 0


@pytest.mark.covers("L6")
@pytest.mark.parametrize(("loss", "pulled"), [("masked", False), ("diagonal", True)])
def test_an_unmatched_picture_is_not_moved_by_the_text_it_was_given(loss, pulled):
    image, text = pairs(4, seed=1)
    matched, moved = torch.tensor([1, 1, 0, 1]).bool(), []
    for other in (text[2], -text[2]):
        picture, said = torch.nn.Parameter(image.clone()), text.clone()
        said[2] = other
        value = (masked_info_nce(picture, said, matched) if loss == "masked"
                 else info_nce(picture, said))
        value.backward()
        moved.append(picture.grad[2])
    assert torch.allclose(*moved, atol=1e-6) == (not pulled)


@pytest.mark.covers("L6")
def test_is_matched_ignored_pulls_declared_negatives_in():
    torch.manual_seed(0)
    texts = F.normalize(torch.randn(8, 16), dim=1)
    wrong = texts.roll(1, 0)  # each picture once with its own text, once with another's
    close = {}
    for name in ("diagonal", "masked"):
        image = torch.nn.Parameter(torch.randn(8, 16))
        step = torch.optim.Adam([image], lr=0.05)
        for _ in range(300):
            rows, said = torch.cat([image, image]), torch.cat([texts, wrong])
            matched = torch.arange(16) < 8
            loss = (info_nce(rows, said) if name == "diagonal"
                    else masked_info_nce(rows, said, matched))
            step.zero_grad()
            loss.backward()
            step.step()
        own, other = (F.cosine_similarity(image, t).mean().item() for t in (texts, wrong))
        close[name] = own - other
    assert abs(close["diagonal"]) < 0.1 and close["masked"] > 3 * abs(close["diagonal"])


def test_pictures_of_one_person_attract_each_other():
    person = torch.tensor([0, 0, 1, 1])
    near = torch.eye(2).repeat_interleave(2, dim=0)
    assert same_person_other_picture(near, person, temperature=0.05).item() < 1e-6
    far = torch.eye(2).repeat(2, 1)
    assert same_person_other_picture(far, person, temperature=0.05).item() > 10
    alone = same_person_other_picture(torch.randn(3, 4), torch.arange(3))
    assert alone.item() == 0


@pytest.mark.covers("L2")
def test_classification_is_cross_entropy_with_smoothing():
    logits, label = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
    log_p = torch.log_softmax(logits, 1)[0]
    alone = Weights(info_nce=0, bio=0, cloth=0, cloth_adv=0, cloth_match=0, decouple=0,
                    gate_regularization=0)

    def cls(smoothing):
        loss = TextImageLoss(Loss(weights=alone, label_smoothing=smoothing), 4, 4)
        return loss(SimpleNamespace(id_logits=logits), SimpleNamespace(pid=label), 1)["cls"].item()

    assert cls(0.0) == pytest.approx(-log_p[0].item())
    assert cls(0.1) == pytest.approx(-(0.9 * log_p[0] + 0.1 * log_p.mean()).item())


@pytest.mark.covers("L9")
def test_gate_regularization_is_zero_at_half_and_a_quarter_at_the_ends():
    assert gate_regularization(torch.full((2, 3), 0.5)).item() == 0
    assert gate_regularization(torch.tensor([0.0, 1.0])).item() == 0.25


@pytest.mark.covers("L5")
def test_ramp_of_the_adversary():
    assert cloth_adv_ramp(1) == pytest.approx(0.25)
    assert cloth_adv_ramp(16) == cloth_adv_ramp(80) == 1.0 > cloth_adv_ramp(15)


@pytest.mark.covers("L5")
def test_negative_info_nce_cancels_cloth_exactly_at_equal_weight():
    cloth, text = (torch.nn.Parameter(t.double()) for t in pairs())
    alone = torch.autograd.grad(one_way_info_nce(cloth, text), [cloth, text])
    both = torch.autograd.grad(one_way_info_nce(cloth, text) + negative_info_nce(cloth, text),
                               [cloth, text])
    assert all(g.abs().max() > 0.1 for g in alone)
    assert all(g.abs().max() < 1e-15 for g in both)


@pytest.mark.covers("L5")
def test_bounds_of_both_adversaries():
    opposite = torch.tensor([[1.0, 0], [-1.0, 0]])
    lowest = negative_info_nce(opposite, -opposite, temperature=0.1).item()
    assert lowest == pytest.approx(-math.log(1 + math.exp(20)), rel=1e-5)
    orthogonal = off_diagonal(torch.eye(4), torch.eye(4).roll(1, 0) * 0 + torch.eye(4))
    assert orthogonal.item() == pytest.approx(math.log(4))
    assert off_diagonal(*pairs()).item() > math.log(6)


def test_wrong_shape_says_what_it_got():
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(3, 2\)"):
        info_nce(torch.randn(4, 2), torch.randn(3, 2))


def test_summed_scores_add_the_cosines_of_both_sides():
    (a, b), (c, d), keys = pairs(5, seed=1), pairs(5, seed=2), torch.tensor([0, 1, 2, 3, 3])
    same = keys[:, None] == keys
    one = summed_scores([(a, b)], same)
    assert one.item() == pytest.approx(multi_positive(a, b, keys, keys).item())
    joined = [torch.cat([F.normalize(x, dim=1), F.normalize(y, dim=1)], 1) for x, y in
              ((a, c), (b, d))]  # the cosine of joined unit vectors is half the sum
    assert summed_scores([(a, b), (c, d)], same, temperature=0.2).item() == pytest.approx(
        multi_positive(*joined, keys, keys, temperature=0.1).item(), rel=1e-5)


def test_rows_that_take_no_part_are_as_if_they_were_not_there():
    """Masked and not cut out, since to count rows would make the processor wait for the device."""
    (a, b), keep = pairs(6, seed=1), torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    who = torch.tensor([0, 0, 1, 1, 2, 0])
    same = who[:, None] == who
    left = summed_scores([(a[keep], b[keep])], same[keep][:, keep])
    assert summed_scores([(a, b)], same, keep).item() == pytest.approx(left.item(), rel=1e-6)
    left = same_person_other_picture(a[keep], who[keep])
    assert same_person_other_picture(a, who, valid=keep).item() == pytest.approx(left.item(),
                                                                                 rel=1e-6)
    left = multi_positive(a[keep], b[keep], who[keep], who[keep])
    assert multi_positive(a, b, who, who, valid=keep, valid_images=keep).item() == pytest.approx(
        left.item(), rel=1e-6)


def test_sdm_is_zero_where_scores_are_spread_as_labels_and_is_worked_by_hand():
    x = torch.eye(4)[[0, 0, 1]]
    keys = torch.tensor([7, 7, 9])
    assert sdm(x, x, keys, temperature=0.02).item() == pytest.approx(0, abs=1e-5)
    # two people whose every score is equal: each row gives half to somebody whose share is 0
    flat = torch.ones(2, 3)
    by_hand = 2 * (0.5 * math.log(0.5 / (1 + 1e-8)) + 0.5 * math.log(0.5 / 1e-8))
    assert sdm(flat, flat, torch.tensor([1, 2])).item() == pytest.approx(by_hand, rel=1e-5)


def test_sdm_reads_both_ways_and_leaves_silent_texts_out():
    image, text = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    keys, valid = torch.tensor([0, 0, 1, 1, 2, 3]), torch.tensor([True] * 5 + [False])
    assert sdm(image, text, keys).item() == pytest.approx(sdm(text, image, keys).item(), rel=1e-5)
    found = sdm(image, text, keys, temperature=0.2, valid=valid)
    changed = torch.cat([text[:5], -text[5:]])
    assert torch.equal(found, sdm(image, changed, keys, temperature=0.2, valid=valid))
    rows = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T / 0.2

    def slow(scores, positive):
        total = []
        for score, same in zip(scores, positive, strict=True):
            if same.any():
                share = score.softmax(0)
                wanted = same / same.sum()
                total.append(sum(float(p) * (math.log(p) - math.log(q + 1e-8))
                                 for p, q in zip(share, wanted, strict=True)))
        return sum(total) / len(total)
    same = keys[:, None] == keys
    one = slow(rows[:, :5], same[:, :5])
    other = slow(rows.T[:5], same.T[:5])
    assert found.item() == pytest.approx(one + other, rel=1e-4)
