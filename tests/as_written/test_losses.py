"""Each printed loss against its formula, at batches of 2, 8 and 128; values and gradients."""
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from reidlab.batches.text_image import Batch
from reidlab.losses.adversarial import negative_info_nce, off_diagonal, off_diagonal_mean
from reidlab.losses.contrastive import info_nce, one_way_info_nce
from reidlab.losses.decoupling import abs_cosine, gram, gram_zero_diagonal
from reidlab.losses.gate import gate_regularization
from reidlab.losses.orthogonality import between_patches
from reidlab.losses.text_image import TextImageLoss
from reidlab.models.text_image_output import TextImageOutput
from reidlab.presets import preset
from tests.as_written import formulas

SIZES = (2, 8, 128)


def pair(rows: int, dim: int = 12):
    torch.manual_seed(rows)
    return [torch.randn(rows, dim, dtype=torch.double, requires_grad=True) for _ in range(2)]


def agree(ours, theirs, leaves):
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-9, abs=1e-12)
    for a, b in zip(torch.autograd.grad(ours, leaves, retain_graph=True),
                    torch.autograd.grad(theirs, leaves, retain_graph=True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-12)


@pytest.mark.covers("L5")
@pytest.mark.parametrize("rows", SIZES)
def test_contrasts_are_the_printed_ones(rows):
    a, b = pair(rows)
    agree(info_nce(a, b, temperature=0.1), formulas.info_nce(a, b, 0.1), (a, b))
    agree(one_way_info_nce(a, b, temperature=0.1), formulas.info_nce_one_way(a, b, 0.1), (a, b))
    agree(negative_info_nce(a, b, temperature=0.1), -formulas.info_nce_one_way(a, b, 0.1), (a, b))
    agree(off_diagonal_mean(a, b), formulas.off_diagonal_mean(a, b), (a, b))


@pytest.mark.covers("L7", "L8")
@pytest.mark.parametrize("rows", SIZES)
def test_decoupling_is_the_printed_one(rows):
    a, b = pair(rows)
    agree(abs_cosine(a, b), (formulas.unit(a) * formulas.unit(b)).sum(-1).abs().mean(), (a, b))
    if rows < 128:  # the double loop takes its time
        agree(gram(a, b), formulas.gram(a, b), (a, b))
    k, l = (formulas.unit(x) @ formulas.unit(x).T for x in (a, b))  # noqa: E741
    agree(gram(a, b), (k * l).sum() / rows ** 2, (a, b))
    off = 1 - torch.eye(rows, dtype=torch.double)
    agree(gram_zero_diagonal(a, b), (k * l * off).sum() / rows ** 2 / (rows - 1), (a, b))


def test_the_two_gram_forms_differ_by_the_diagonal_and_by_b_minus_one():
    for rows in SIZES:
        a, b = pair(rows)
        assert (gram(a, b) - 1 / rows).item() == pytest.approx(
            (rows - 1) * gram_zero_diagonal(a, b).item(), rel=1e-9)
        of_note, of_ancestor = (torch.autograd.grad(f(a, b), a)[0].norm()
                                for f in (gram, gram_zero_diagonal))
        assert (of_note / of_ancestor).item() == pytest.approx(rows - 1, rel=1e-9)


@pytest.mark.covers("L5")
def test_what_the_two_adversarial_forms_ask_for():
    """The plain one wants vectors away from the texts of others; the ancestor's, right angles."""
    text = torch.eye(4, dtype=torch.double)
    away = text - text.sum(0)
    assert off_diagonal_mean(away, text).item() == pytest.approx(-1 / 3 ** 0.5)
    assert off_diagonal_mean(text, text).item() == 0
    assert off_diagonal(text, text).item() == pytest.approx(math.log(4))
    assert off_diagonal(away, text).item() > 2 * math.log(4)


@pytest.mark.parametrize("rows", SIZES)
def test_gate_and_orthogonality(rows):
    g, x = torch.rand(rows, 6, dtype=torch.double, requires_grad=True), torch.randn(
        rows, 5, 4, dtype=torch.double, requires_grad=True)
    agree(gate_regularization(g), ((g - 0.5) ** 2).sum() / g.numel(), (g,))
    by_hand = sum(abs(formulas.unit(x[r, i]) @ formulas.unit(x[r, j]))
                  for r in range(rows) for i in range(5) for j in range(5) if i != j) / (5 * 4)
    agree(between_patches(x), by_hand, (x,))


def batch_of(rows: int, matched: bool, classes: int) -> Batch:
    pid = torch.arange(rows) % classes
    return Batch(image=torch.zeros(0), shard=slice(None), id_text=["a"] * rows,
                 cloth_text=["b"] * rows, pid=pid, outfit=pid, cloth_outfit=pid,
                 is_matched=torch.full((rows,), matched),
                 says_id=torch.ones(rows).bool(), says_cloth=torch.ones(rows).bool())


def output_of(rows: int, classes: int) -> TextImageOutput:
    torch.manual_seed(rows)
    unit = lambda d: F.normalize(torch.randn(rows, d), dim=-1)  # noqa: E731
    return TextImageOutput(
        image_embeds=unit(16), id_text_embeds=unit(16), cloth_text_embeds=unit(16),
        cloth_image_embeds=unit(16), id_logits=torch.randn(rows, classes),
        id_embeds=torch.randn(rows, 24), cloth_embeds=torch.randn(rows, 24),
        gate=torch.rand(rows, 24))


@pytest.mark.covers("L3", "L4", "L7", "L11", "L1", "F12")
@pytest.mark.parametrize("design", ["projection", "merged", "residual", "attention",
                                    "deep_attention"])
@pytest.mark.parametrize("rows,matched,classes", [(2, True, 2), (8, False, 1), (128, True, 40)])
def test_every_term_of_a_design_is_its_formula(design, rows, matched, classes):
    config = preset(design, "base").loss
    torch.manual_seed(0)
    loss, out, epoch = TextImageLoss(config, 24, 16).double(), output_of(rows, classes), 3
    for name, value in vars(out).items():  # in double: cloth and its negative cancel
        if value is not None:
            setattr(out, name, value.double().requires_grad_("embeds" in name))
    batch = batch_of(rows, matched, classes)
    terms = loss(out, batch, epoch)
    p, q = (formulas.linear(layer, x) for layer, x in (
        (loss.id_embed_projector, out.id_embeds), (loss.cloth_embed_projector, out.cloth_embeds)))
    own = torch.stack([out.id_logits[k].exp().sum().log() - out.id_logits[k, batch.pid[k]]
                       for k in range(rows)]).mean()
    k, l = (formulas.unit(x) @ formulas.unit(x).T for x in (p, q))  # noqa: E741
    cloth = formulas.info_nce_one_way(q, out.cloth_text_embeds, 0.1)
    flat = formulas.unit(q) @ formulas.unit(out.cloth_text_embeds).T / 0.1 * (1 - torch.eye(rows))
    expected = {
        "info_nce": formulas.info_nce(out.image_embeds, out.id_text_embeds, 0.1), "cls": own,
        "bio": formulas.info_nce_one_way(p, out.id_text_embeds, 0.1), "cloth": cloth,
        "cloth_match": formulas.info_nce(out.cloth_image_embeds, out.cloth_text_embeds, 0.1),
        "cloth_adv": -cloth if config.cloth_adv == "negative_info_nce" else  # no ramp for it
        0.35 * -(flat - flat.exp().sum(1, keepdim=True).log()).mean(),
        "decouple": (k * l).mean() if config.decouple == "gram" else
        (formulas.unit(p) * formulas.unit(q)).sum(1).abs().mean(),
        "gate_regularization": ((out.gate - 0.5) ** 2).mean()}
    weights = {n: w for n, w in dataclasses.asdict(config.weights).items() if w}
    assert terms.keys() == weights.keys() | {"total"}
    for name in weights:
        assert terms[name].item() == pytest.approx(expected[name].item(), rel=1e-5, abs=1e-6), name
    total = sum(w * expected[n] for n, w in weights.items())
    leaves = [out.id_embeds, out.cloth_embeds, out.image_embeds, out.cloth_image_embeds]
    for a, b in zip(torch.autograd.grad(terms["total"], leaves),
                    torch.autograd.grad(total, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9 * b.abs().max().item())


@pytest.mark.covers("L5")
def test_cloth_and_its_negative_cancel_at_every_epoch_of_note_001():
    loss = TextImageLoss(preset("projection", "base").loss, 24, 16)
    out, batch = output_of(8, 4), batch_of(8, True, 4)
    for epoch in (1, 5, 80):
        terms = loss(out, batch, epoch)
        assert terms["cloth"].item() == pytest.approx(-terms["cloth_adv"].item(), rel=1e-6)


def test_terms_of_absent_inputs_are_zero():
    """Note 001 prints it: image only, or captions only, and what cannot be computed is 0."""
    loss, batch = TextImageLoss(preset("attention", "base").loss, 24, 16), batch_of(8, True, 4)
    images = dataclasses.replace(output_of(8, 4), id_text_embeds=None, cloth_text_embeds=None)
    terms = loss(images, batch, 1)
    assert all(terms[name].item() == 0 for name in
               ("info_nce", "bio", "cloth", "cloth_adv", "cloth_match"))
    assert terms["cls"].item() > 0 and terms["decouple"].item() != 0
    unflagged = dataclasses.replace(batch, is_matched=None)
    assert loss(output_of(8, 4), unflagged, 1)["cloth_match"].item() == 0
    texts = TextImageOutput(id_text_embeds=images.image_embeds)
    assert all(term.item() == 0 for term in loss(texts, batch, 1).values())


@pytest.mark.covers("L7")
def test_one_pair_of_projectors_serves_all_terms():
    for design, frozen in (("attention", "frozen"), ("attention", "trained")):
        config = dataclasses.replace(preset(design, "base").loss, projectors=frozen)
        loss = TextImageLoss(config, 24, 16)
        assert {name for name, _ in loss.named_children() if "projector" in name} == {
            "id_embed_projector", "cloth_embed_projector"}
        assert all(p.requires_grad == (frozen == "trained") for p in loss.parameters())
