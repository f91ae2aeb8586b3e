"""The weighted sum: exact, complete, and every weight counts."""
import dataclasses

import pytest
import torch

from reidlab.batches.text_image import Batches
from reidlab.losses.text_image import TextImageLoss
from reidlab.models.text_image_output import TextImageOutput
from reidlab.tasks import build
from tests.conftest import mini


@pytest.fixture(scope="module", params=["projection", "merged", "attention", "corrected"])
def parts(request, data):
    experiment = mini(request.param)
    torch.manual_seed(0)
    model = build(experiment, data.classes).eval()
    batch = Batches(data.train, experiment)(0)
    with torch.no_grad():
        out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text,
                    negative_text=batch.negative_text)
    words = {s: model.text_encoder.tokens.bag(getattr(batch, f"{s}_text")) for s in ("id", "cloth")}
    return experiment.loss, out, batch, words


def terms_of(parts, config=None, epoch=80, progress=1.0):
    loss, out, batch, words = parts
    torch.manual_seed(1)
    total = TextImageLoss(config or loss, 128, 256, out.id_embeds.shape[1])
    return {k: v.item() for k, v in total(out, batch, epoch, progress, words).items()}


@pytest.mark.covers("L11")
def test_total_is_the_weighted_sum(parts):
    terms, weights = terms_of(parts), dataclasses.asdict(parts[0].weights)
    assert set(terms) - {"total"} == {k for k, w in weights.items() if w}
    assert terms["total"] == pytest.approx(
        sum(weights[k] * v for k, v in terms.items() if k != "total"), rel=1e-5)


@pytest.mark.covers("R7", "L11")
def test_every_weight_reaches_the_total(parts):
    base = terms_of(parts)
    for name, weight in dataclasses.asdict(parts[0].weights).items():
        if not weight:
            continue
        doubled = dataclasses.replace(parts[0], weights=dataclasses.replace(
            parts[0].weights, **{name: 2 * weight}))
        change = terms_of(parts, doubled)["total"] - base["total"]
        assert change == pytest.approx(weight * base[name], rel=1e-3, abs=1e-5), name
        none = dataclasses.replace(parts[0], weights=dataclasses.replace(
            parts[0].weights, **{name: 0.0}))
        assert name not in terms_of(parts, none)


@pytest.mark.covers("L11")
@pytest.mark.parametrize("parts", ["corrected"], indirect=True)
def test_ramp_and_controller_scale_their_term_in_the_total(parts):
    config = mini("corrected", loss__weights__decouple=2.0, loss__decouple_from=0.0,
                  loss__decouple_ramp=1.0).loss
    whole, half, none = (terms_of(parts, config, progress=p) for p in (1.0, 0.5, 0.0))
    assert whole["total"] - half["total"] == pytest.approx(whole["decouple"], rel=1e-3)
    assert whole["total"] - none["total"] == pytest.approx(2 * whole["decouple"], rel=1e-3)


def test_dependence_terms_wait_and_then_grow():
    loss = TextImageLoss(mini("corrected", loss__decouple_from=0.4, loss__decouple_ramp=0.2).loss,
                     128, 256)
    assert [loss.ramp(p) for p in (0.0, 0.39, 0.5, 0.6, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])


@pytest.mark.covers("L5")
def test_the_adversary_grows_with_the_epoch(data):
    experiment = mini("attention")
    model, batch = build(experiment, data.classes).eval(), Batches(data.train, experiment)(0)
    with torch.no_grad():
        out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text)
    early, late = (terms_of((experiment.loss, out, batch, None), epoch=e)["cloth_adv"]
                   for e in (1, 16))
    assert early == pytest.approx(0.25 * late, rel=1e-5)


@pytest.mark.covers("L3", "L4")
def test_projectors_are_frozen_as_written_and_trained_on_request():
    frozen = TextImageLoss(mini("attention").loss, 128, 256)
    trained = TextImageLoss(mini("attention", loss__projectors="trained").loss, 128, 256)
    assert len(list(frozen.parameters())) == len(list(trained.parameters())) == 4
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(p.requires_grad for p in trained.parameters())


@pytest.mark.covers("L3", "L4")
@pytest.mark.parametrize("parts", ["attention"], indirect=True)
@pytest.mark.parametrize("term", ["bio", "cloth"])
def test_a_trained_projector_learns_from_its_own_term_alone(parts, term):
    _, out, batch, words = parts
    others = {f"loss__weights__{name}": 0.0 for name in dataclasses.asdict(parts[0].weights)
              if name not in ("bio", "cloth")}
    loss = TextImageLoss(mini("attention", loss__projectors="trained", **others).loss, 128, 256)
    loss(out, batch, 80, 1.0, words)[term].backward()
    own, other = ((loss.id_embed_projector, loss.cloth_embed_projector)
                  [::1 if term == "bio" else -1])
    assert own.weight.grad.abs().max() > 0 and other.weight.grad is None


@pytest.mark.covers("L7")
@pytest.mark.parametrize("parts", ["projection"], indirect=True)
def test_cosine_decoupling_is_blind_behind_two_projectors_and_sees_behind_one(parts):
    """One feature on both sides: as written the term reads near 0, with equal projectors 1."""
    _, out, batch, words = parts
    loss = TextImageLoss(mini("projection").loss, 128, 256)
    same = dataclasses.replace(out, cloth_embeds=out.id_embeds)
    apart = loss(same, batch, 80, 1.0, words)["decouple"].item()
    loss.cloth_embed_projector.load_state_dict(loss.id_embed_projector.state_dict())
    shared = loss(same, batch, 80, 1.0, words)["decouple"].item()
    assert shared == pytest.approx(1.0, abs=1e-4) and apart < 0.5


@pytest.mark.covers("L6")
@pytest.mark.parametrize("known", [True, False], ids=["known outfits", "unknown"])
def test_an_unmatched_description_pulls_at_no_picture_of_the_batch(data, known):
    """The path that training takes: `TextImageLoss` on a batch with foreign clothing captions."""
    pulls = {}
    for form in ("masked", "diagonal"):
        experiment = mini("corrected", data__mismatched_fraction=0.5, data__images_per_person=1,
                          loss__cloth_match=form)
        batch = Batches(data.train, experiment)(0)
        if not known:
            unknown = torch.full_like(batch.outfit, -1)
            batch = dataclasses.replace(batch, outfit=unknown, cloth_outfit=unknown,
                                        outfits_known=False)
        foreign = ~batch.is_matched
        if known:  # nobody in the batch wears what the foreign caption says
            foreign &= ~(batch.cloth_outfit[:, None] == batch.outfit).any(dim=1)
        row = int(foreign.nonzero()[0])
        image, text = torch.eye(2 * len(batch.pid)).chunk(2)      # all at right angles
        image = image.clone().requires_grad_()
        out = TextImageOutput(cloth_image_embeds=image, cloth_text_embeds=text)
        loss = TextImageLoss(experiment.loss, 128, 256)
        pulls[form] = torch.autograd.grad(
            loss._cloth_match(out, batch, 1, None), image)[0][row] @ text[row]
    assert pulls["diagonal"] < -1e-3  # downhill is towards the foreign text
    assert pulls["masked"] >= 0       # away from it, or not at all


def test_learned_temperature_starts_where_the_constant_is_and_is_bounded():
    loss = TextImageLoss(mini("corrected").loss, 128, 256)
    assert loss.temperature.item() == pytest.approx(0.07)
    with torch.no_grad():
        loss.log_scale.fill_(50)
    assert loss.temperature.item() == pytest.approx(0.01, rel=0.02)


def test_captions_that_say_nothing_of_one_side_are_left_out(parts):
    loss, out, batch, words = parts
    said = batch.says_id & (torch.arange(len(batch.pid)) > 0)
    silent = dataclasses.replace(batch, id_text=["", *batch.id_text[1:]], says_id=said)
    assert terms_of((loss, out, silent, words))["info_nce"] != terms_of(parts)["info_nce"]


@pytest.mark.parametrize("parts", ["corrected"], indirect=True)
def test_pictures_of_one_outfit_are_pulled_together_and_unknown_outfits_take_no_part(parts):
    _, out, batch, words = parts
    loss = mini("clothes_changing").loss
    outfit = batch.outfit.clone()
    outfit[:5] = -1
    unknown = dataclasses.replace(batch, outfit=outfit)
    logits = (out.cloth_image_embeds @ out.cloth_image_embeds.T / loss.temperature).double()
    for seen, worn in ((batch, batch.outfit), (unknown, outfit)):
        slowly = []
        for k in range(len(worn)):  # each other picture in the same known outfit, one after another
            others = [j for j in range(len(worn)) if j != k and worn[j] >= 0 <= worn[k]]
            right = [j for j in others if worn[j] == worn[k]]
            if right:
                every = torch.logsumexp(logits[k, others], dim=0)
                slowly.append(sum((every - logits[k, j]).item() for j in right) / len(right))
        found = terms_of((loss, out, seen, words))["cloth_image"]
        assert found == pytest.approx(sum(slowly) / len(slowly), rel=1e-4)


def test_a_loss_says_whether_it_reads_words_or_clothing():
    for name, words, clothing in (("clothes_changing", False, True), ("corrected", True, True),
                                  ("baseline", True, False)):
        loss = TextImageLoss(mini(name).loss, 128, mini(name).heads.embedding)
        assert (loss.reads_words, loss.reads_clothing) == (words, clothing), name
