"""Triplets, centres, views and modalities: by hand, against slow loops, and as printed."""
import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlab.batches.visible_infrared import VisibleInfraredBatches
from reidlab.config.visible_infrared import Loss, Weights
from reidlab.data.loading import synthetic_visible_infrared
from reidlab.losses.clustering import OnlineClusters
from reidlab.losses.contrastive import multi_positive
from reidlab.losses.decoupling import cka_linear
from reidlab.losses.metric import batch_hard_triplet, centre_pairs, modality_gap
from reidlab.losses.orthogonality import between_patches, between_views, between_views_inner
from reidlab.losses.visible_infrared import VisibleInfraredLoss
from reidlab.models.cross_modal import VisibleInfraredOutput
from tests.conftest import mini

LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
MODALITY = torch.tensor([0] * 6 + [1] * 6)


def rows(seed=0, count=12, width=8):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.covers("V30")
def test_triplet_by_hand_and_against_a_slow_loop():
    line = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    # own: 0–1 and 3–10; farthest own 1, 1, 7, 7; nearest other 3, 2, 2, 9
    assert batch_hard_triplet(line, torch.tensor([0, 0, 1, 1]), margin=0.3).item() == pytest.approx(
        (0 + 0 + 5.3 + 0) / 4)
    x = rows()
    slow = []
    for a in range(12):
        own = max((x[a] - x[b]).norm() for b in range(12) if b != a and LABELS[b] == LABELS[a])
        other = min((x[a] - x[b]).norm() for b in range(12) if LABELS[b] != LABELS[a])
        slow.append(max(0.0, (own - other + 0.3).item()))
    assert batch_hard_triplet(x, LABELS).item() == pytest.approx(np.mean(slow), rel=1e-5)
    same = torch.zeros(4, 3, requires_grad=True)
    loss = batch_hard_triplet(same, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3) and torch.isfinite(same.grad).all()


@pytest.mark.covers("V30")
def test_centre_pairs_by_a_slow_loop_over_people():
    plain, made, m = rows(0), rows(1), 0.2

    def centre(x, p, kind):
        return x[(LABELS == p) & (MODALITY == kind)].mean(dim=0)

    def nearest(x, p, kind):
        return min((centre(x, p, kind) - centre(x, q, kind)).norm() for q in range(3) if q != p)
    slow = 0.0
    for p, kind in itertools.product(range(3), range(2)):
        near = (centre(plain, p, 1 - kind) - centre(made, p, kind)).norm()
        own = (centre(plain, p, kind) - centre(made, p, kind)).norm()
        slow += max(0, m + near - own) + 0.5 * max(0, m + near - nearest(made, p, kind)) \
            + 0.5 * max(0, m + near - nearest(plain, p, kind))
    assert centre_pairs(plain, made, LABELS, MODALITY).item() == pytest.approx(
        (slow / 6).item(), rel=1e-5)


@pytest.mark.covers("V30")
def test_centres_count_people_whom_both_modalities_show_and_somebody_has_named():
    plain, made = rows(0), rows(1)
    assert centre_pairs(plain, made, LABELS, torch.zeros(12)).item() == 0
    labels, modality = LABELS.clone(), MODALITY.clone()
    labels[labels == 2] = -1                         # nobody's
    named = labels >= 0
    assert centre_pairs(plain, made, labels, modality).item() == pytest.approx(
        centre_pairs(plain[named], made[named], labels[named], modality[named]).item(), rel=1e-6)
    modality[LABELS == 1] = 0                        # seen by day alone
    one = LABELS == 0                                # and one person has nobody to keep away from
    assert centre_pairs(plain, made, labels, modality).item() == pytest.approx(
        centre_pairs(plain[one], made[one], labels[one], modality[one]).item(), rel=1e-6)


@pytest.mark.covers("V30")
def test_triplets_leave_out_rows_that_nobody_has_named():
    x, labels = rows(0), LABELS.clone()
    labels[::3] = -1
    named = labels >= 0
    assert batch_hard_triplet(x, labels).item() == pytest.approx(
        batch_hard_triplet(x[named], labels[named]).item(), rel=1e-6)


@pytest.mark.covers("V9", "V16", "V24", "V35")
def test_views_orthogonal_identical_and_the_same_for_any_batch():
    eye = torch.eye(3)[:, None, :].expand(3, 4, 3)
    assert between_views(eye).item() == 0.0
    assert between_views(torch.ones(3, 4, 5)).item() == pytest.approx(1.0)
    x = rows(count=6).view(3, 2, 8)
    assert between_views(x.repeat(1, 64, 1)).item() == pytest.approx(between_views(x).item())
    assert between_views(x[:1]).item() == 0.0
    by_hand = np.mean([abs(F.cosine_similarity(x[i, r], x[j, r], dim=0).item())
                       for i, j in ((0, 1), (0, 2), (1, 2)) for r in range(2)])
    assert between_views(x).item() == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.covers("V35", "V9")
def test_k2_the_printed_form_counts_the_batch():
    x = rows(count=4).view(1, 4, 8)
    gram = F.normalize(x[0], dim=1) @ F.normalize(x[0], dim=1).T
    by_hand = sum(abs(gram[i, j].item()) for i in range(4) for j in range(4) if i != j) / 12
    assert between_patches(x).item() == pytest.approx(by_hand, rel=1e-5)
    assert between_patches(x.repeat(64, 1, 1)).item() == pytest.approx(64 * by_hand, rel=1e-4)
    assert between_patches(torch.ones(2, 5, 3)).item() == pytest.approx(2.0)


@pytest.mark.covers("V9")
def test_the_signed_inner_product_is_unbounded_below():
    x = torch.stack([rows(count=4), -rows(count=4)])
    values = [between_views_inner(scale * x).item() for scale in (1, 10, 100)]
    assert values[0] < 0 and values[1] == pytest.approx(100 * values[0], rel=1e-4)
    assert values[2] == pytest.approx(10_000 * values[0], rel=1e-4)


def test_k_patches_pushed_apart_cancel_in_the_mean():
    """Patches that nearly agree are pooled at full length. The printed form makes them orthogonal,
    and n orthogonal unit patches have a mean of norm 1/√n: what is pooled is what was weakened."""
    tokens = nn.Parameter(rows(0, 1, 64) + 0.3 * rows(1, 3 * 16, 64).view(3, 16, 64))

    def pooled():
        return F.normalize(tokens.detach(), dim=-1).mean(dim=1).norm(dim=-1)
    assert (pooled() > 0.9).all()
    step = torch.optim.Adam([tokens], lr=0.02)
    for _ in range(400):
        step.zero_grad()
        between_patches(tokens).backward()
        step.step()
    assert between_patches(tokens).item() < 0.01
    assert pooled().tolist() == pytest.approx([1 / 16 ** 0.5] * 3, rel=0.02)


@pytest.mark.slow
@pytest.mark.covers("V16", "V24", "V33")
def test_k1_the_printed_form_parts_patches_and_the_heads_stay_alike():
    """Head views of one attention, starting equal, with each loss alone beside a small task."""
    from reidlab.config import Expansion
    from reidlab.expansion import build_expansion

    def train(penalty, name="tmhee"):
        torch.manual_seed(0)
        module = build_expansion(Expansion(name=name, dropout=0.0, drop=0.0), 32, (4, 2))
        if name == "tmhee":
            with torch.no_grad():  # equal heads
                weight = module.attention.in_proj_weight.view(3, 4, 8, 32)
                weight.copy_(weight[:, :1].expand(-1, 4, -1, -1).clone())
        head, rng = nn.Linear(32, 6), torch.Generator().manual_seed(1)
        kinds = torch.randn(6, 8, 32, generator=rng)
        step = torch.optim.Adam([*module.parameters(), *head.parameters()], lr=2e-3)
        for _ in range(200):
            label = torch.randint(6, (32,), generator=rng)
            x = kinds[label] + 0.5 * torch.randn(32, 8, 32, generator=rng)
            out = module(x, torch.zeros(32, dtype=torch.long))
            loss = F.cross_entropy(head(out.tokens.mean(dim=1)), label) + penalty(out)
            step.zero_grad()
            loss.backward()
            step.step()
        with torch.no_grad():
            alike = np.mean([cka_linear(out.views[i], out.views[j]).item()
                             for i in range(len(out.views)) for j in range(i)])
        return between_patches(out.tokens).item() / 32, between_views(out.views).item(), alike
    plain, printed, fixed = (train(p) for p in (
        lambda out: 0.0, lambda out: between_patches(out.tokens) / 32,
        lambda out: between_views(out.views)))
    assert printed[0] < 0.6 * plain[0]            # patches are pushed apart,
    assert printed[1] > 10 * fixed[1]            # views are not,
    assert fixed[1] < 0.1 * plain[1]             # as the other form shows,
    assert printed[2] > 0.9 * plain[2] > fixed[2] / 0.9  # and heads tell of each other as before
    alone, parted = (train(p, "ssdec") for p in (lambda out: 0.0,
                                                 lambda out: between_views(out.views)))
    assert parted[1] < 0.2 * alone[1]            # the same of SS-DEC


@pytest.mark.covers("V20")
def test_alignment_measures_and_closes_the_gap():
    apart = torch.cat([torch.tensor([[1.0, 0.0]]).repeat(3, 1), torch.tensor([[0.0, 1.0]]
                                                                               ).repeat(3, 1)])
    kinds = torch.tensor([0, 0, 0, 1, 1, 1])
    assert modality_gap(apart, kinds).item() == pytest.approx(2 ** 0.5)
    assert modality_gap(3 * apart, kinds).item() == pytest.approx(2 ** 0.5)  # of directions
    assert modality_gap(torch.ones(6, 2), kinds).item() == 0.0
    x = nn.Parameter(rows() + 3 * MODALITY[:, None])
    step = torch.optim.Adam([x], lr=0.05)
    before = modality_gap(x, MODALITY).item()
    for _ in range(100):
        step.zero_grad()
        modality_gap(x, MODALITY).backward()
        step.step()
    assert modality_gap(x, MODALITY).item() < 0.1 * before


@pytest.mark.covers("V23")
def test_contrast_between_kinds_is_low_when_people_are_together():
    who = torch.arange(4)
    person = torch.eye(4)
    assert multi_positive(person, person, who, who).item() < 0.01
    assert multi_positive(person, person.roll(1, 0), who, who).item() > 5
    assert multi_positive(torch.ones(4, 4), torch.ones(4, 4), who, who).item() == pytest.approx(
        np.log(4))


def output(sets=1, mixed=False):
    pooled = rows(3, 12 * sets)
    out = VisibleInfraredOutput(
        pooled=pooled, features=rows(4, 12 * sets), logits=rows(5, 12 * sets, 3),
        modality=MODALITY, visible_rows=6, before=rows(6),
        after=rows(7, 12 * sets).view(sets, 12, 8), views=rows(8, 36).view(3, 12, 8),
        tokens=rows(9, 48).view(12, 4, 8),
        patches=rows(11, 48).view(12, 4, 8))
    if mixed:
        out.mixed_logits, out.partner = rows(10, 12, 3), torch.arange(12).flip(0)
        out.kept = torch.full((12,), 0.75)
    return out


@pytest.mark.covers("V30", "V25", "V16", "V20")
@pytest.mark.parametrize("sets", [1, 3])
def test_the_total_is_the_weighted_sum_and_labels_are_repeated(sets):
    weights = dict(cls=1.0, triplet=2.0, cpm=0.8, orthogonality=0.1, contrast=0.5, alignment=0.3,
                   cut_mix=0.7)
    out = output(sets, mixed=True)
    terms = VisibleInfraredLoss(Loss(weights=Weights(**weights)))(out, LABELS)
    assert terms["total"].item() == pytest.approx(
        sum(weights[n] * terms[n].item() for n in weights), rel=1e-5)
    assert terms["cls"].item() == pytest.approx(
        F.cross_entropy(out.logits, LABELS.repeat(sets)).item(), rel=1e-5)
    mixed = (0.75 * F.cross_entropy(out.mixed_logits, LABELS)
             + 0.25 * F.cross_entropy(out.mixed_logits, LABELS.flip(0)))
    assert terms["cut_mix"].item() == pytest.approx(mixed.item(), rel=1e-5)
    whose = LABELS.repeat(sets)
    for margin, cpm in ((0.3, 0.2), (0.5, 0.4)):
        loss = VisibleInfraredLoss(Loss(weights=Weights(**weights), margin=margin,
                                        cpm_margin=cpm))
        terms = loss(out, LABELS)
        assert terms["triplet"].item() == pytest.approx(
            batch_hard_triplet(out.pooled, whose, margin=margin).item(), rel=1e-5)
        plain, *made = out.pooled.chunk(sets) if sets > 1 else (out.before, *out.after)
        pairs = [centre_pairs(plain, one, LABELS, MODALITY, margin=cpm).item() for one in made]
        assert terms["cpm"].item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)
        kinds = {"views": between_views(out.views), "inner": between_views_inner(out.views),
                 "patches": between_patches(out.tokens)}
        assert terms["orthogonality"].item() == pytest.approx(
            kinds[Loss().orthogonality].item(), rel=1e-5)
    assert terms["alignment"].item() == pytest.approx(
        modality_gap(out.features[:12], MODALITY).item(), rel=1e-5)
    assert (Loss().margin, Loss().cpm_margin) == (0.3, 0.2)


@pytest.mark.covers("V30")
def test_terms_without_weight_are_left_out():
    only = Weights(triplet=0, cpm=0, orthogonality=0)
    assert set(VisibleInfraredLoss(Loss(weights=only))(output(), LABELS)) == {"cls", "total"}


def test_patches_of_one_shot_find_each_other():
    seen = rows(0, 24).view(6, 4, 8)
    out = output()
    out.patches = torch.cat([seen, seen])
    loss = VisibleInfraredLoss(Loss(weights=Weights(patches=1.0), temperature=0.01))
    near = loss(out, LABELS, aligned=True)["patches"].item()
    out.patches = torch.cat([seen, seen.flip(1)])
    assert near < 0.01 and loss(out, LABELS, aligned=True)["patches"].item() > 1
    assert "patches" not in loss(out, LABELS)


@pytest.mark.covers("V27")
def test_patches_of_people_without_a_name_are_not_pulled_together(cache):
    """While named pairs are one shot, the other rows are two people drawn apart."""
    experiment = mini("embednet_corrected", data__labelled_fraction=0.5, data__aligned_until=1.0)
    pair = synthetic_visible_infrared(
        0, (96, 48), "train", experiment.data.people, experiment.data.images_per_outfit
    )
    batches = VisibleInfraredBatches(pair, experiment)
    visible, infrared, _ = batches.pick(0, progress=0.0)
    batch, count = batches(0, progress=0.0), len(visible)
    shot = [(r.pid, r.path.split("/")[-1]) for r in pair.visible.records]
    one = torch.tensor([shot[a] == shot[b] for a, b in zip(visible, infrared, strict=True)])
    named = batch.pid[:count] >= 0
    assert batch.aligned and one[named].all() and not one[~named].all() and (~named).sum() >= 8
    only = Weights(patches=1.0, cls=0, triplet=0, cpm=0, orthogonality=0)
    loss, out = VisibleInfraredLoss(Loss(weights=only)), output()
    out.patches = rows(3, 2 * count * 4).view(2 * count, 4, 8).requires_grad_()
    found = loss(out, batch.pid, aligned=True)["patches"]
    found.backward()
    assert (out.patches.grad.abs().sum(dim=(1, 2)) > 0).tolist() == (batch.pid >= 0).tolist()
    seen = out.patches.detach()[batch.pid >= 0]
    seen = (seen - seen.mean(dim=(0, 1))).view(2, -1, 8)
    place = torch.arange(seen.shape[1])
    assert found.item() == multi_positive(*seen, place, place, temperature=0.1).item()


def test_triplets_and_centres_may_wait():
    late = VisibleInfraredLoss(Loss(metric_from=0.5))
    assert {"triplet", "cpm"}.isdisjoint(late(output(), LABELS, progress=0.4))
    assert {"triplet", "cpm"} <= set(late(output(), LABELS, progress=0.5))


@pytest.mark.covers("V26")
def test_groups_are_found_without_a_label():
    """Ten kinds of vectors, twelve groups, five seeds: what agrees at first, and after training."""
    from sklearn.metrics import normalized_mutual_info_score
    first, last = [], []
    for seed in range(5):
        torch.manual_seed(seed)
        rng = torch.Generator().manual_seed(seed)
        kinds, groups, agreement = 2 * torch.randn(10, 4, generator=rng), OnlineClusters(4, 12), []
        for _ in range(100):
            who = torch.randint(10, (128,), generator=rng)
            found = groups(kinds[who] + 0.4 * torch.randn(128, 4, generator=rng))
            agreement.append(normalized_mutual_info_score(who, found))
        first.append(np.mean(agreement[:2]))
        last.append(np.mean(agreement[-5:]))
    assert np.mean(last) > np.mean(first) + 0.04 and np.mean(last) > 0.85
    kept = groups.eval().centres.clone()
    groups(kinds)
    assert torch.equal(groups.centres, kept)


@pytest.mark.covers("V27", "V23")
def test_pictures_without_a_name_enter_by_their_group_or_not_at_all():
    some = torch.where(LABELS < 2, LABELS, -1)
    out = output()
    weights = Weights(contrast=1.0, orthogonality=0)
    without = VisibleInfraredLoss(Loss(weights=weights))(out, some)
    named = some >= 0
    assert without["cls"].item() == pytest.approx(
        F.cross_entropy(out.logits[named], some[named]).item(), rel=1e-5)
    day, night = named & (MODALITY == 0), named & (MODALITY == 1)
    assert without["contrast"].item() == pytest.approx(multi_positive(
        out.features[day], out.features[night], some[day], some[night]).item(), rel=1e-5)
    torch.manual_seed(0)
    loss = VisibleInfraredLoss(Loss(weights=weights, clusters=2), 8)
    groups = copy.deepcopy(loss.groups)
    grouped = loss(out, some)
    group = torch.where(some < 0, -2 - groups(out.features), some)  # each by its own group
    assert group.unique().numel() > 3
    assert grouped["contrast"].item() == pytest.approx(multi_positive(
        out.features[:6], out.features[6:], group[:6], group[6:]).item(), rel=1e-5)
    assert grouped["contrast"].item() != pytest.approx(without["contrast"].item())
    assert grouped["cls"].item() == without["cls"].item()
