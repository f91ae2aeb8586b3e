"""Pretraining: nobody's people, no label, resumable, and a start for any design."""
import itertools
import json
import shutil

import pytest
import torch

from reidlab.batches.pretraining import (
    WORLD,
    PretrainingBatch,
    Recipe,
    Steps,
    keys,
    mask_words,
)
from reidlab.engine import pretrain as engine
from reidlab.engine.pretrain import pretrain
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.models.pretraining import Seen, pretraining_losses
from reidlab.presets import preset
from reidlab.synthetic.world import World
from reidlab.tasks import build
from tests.as_written import formulas
from tests.conftest import mini

SMALL = Recipe(people=3, outfits=2, tracklets=2)


def test_nobody_of_an_experiment_is_among_the_people():
    for design in ("corrected", "embednet_corrected"):
        with pytest.raises(ReidlabError, match="data.seed"):
            preset(design, data__seed=WORLD)
    here, there = World(WORLD), World(0)
    assert [here.person(k) for k in range(50)] != [there.person(k) for k in range(50)]


def test_people_and_outfits_are_new_in_every_step():
    steps = [keys(Recipe(), 0, step) for step in range(20)]
    for what in (0, 1):
        seen = [{key[what] for key in step} for step in steps]
        assert all(not a & b for a, b in itertools.combinations(seen, 2))


def test_a_batch_is_a_grid_and_tracklets_and_a_function_of_seed_and_step():
    chosen = keys(SMALL, 0, 7)
    assert len(chosen) == SMALL.pictures == 10
    grid, first, second = chosen[:6], chosen[6:8], chosen[8:]
    people, outfits = ({key[n] for key in grid} for n in (0, 1))
    assert len(people) == 3 and len(outfits) == 2
    assert {key[:2] for key in grid} == set(itertools.product(people, outfits))
    assert [key[:2] for key in first] == [key[:2] for key in second]
    assert not {key[0] for key in first} & people and [k[2] for k in (*first, *second)] == [
        0, 0, 1, 1]
    assert keys(SMALL, 0, 7) == chosen != keys(SMALL, 1, 7)
    one, other = Steps(SMALL, 0, 0, 9)[7], Steps(SMALL, 0, 5, 9)[2]
    assert torch.equal(one.image, other.image) and one.captions == other.captions
    assert one.image.shape == (10, 96, 48, 3) and len(one.captions) == 8
    said = World(WORLD, (96, 48)).describe(*chosen[0])
    assert one.captions[0] == f"{said.id_caption} {said.cloth_caption}"
    assert set(vars(one)) == {"image", "captions"} == set(PretrainingBatch.__dataclass_fields__)


def test_blanked_words_are_words_and_are_what_is_asked():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 100, (64, 30), generator=generator)
    ids[:, 0] = 2
    mask = (torch.arange(30) < 25).long().expand(64, 30)
    blanked, asked = mask_words(ids, mask, {0, 1, 2, 3, 4}, 4, generator)
    chosen = asked >= 0
    assert 0.1 < chosen[:, 1:25].float().mean() < 0.2
    assert not chosen[:, 0].any() and not chosen[:, 25:].any()
    assert (blanked[chosen] == 4).all() and torch.equal(asked[chosen], ids[chosen])
    assert torch.equal(blanked[~chosen], ids[~chosen])


def test_losses_are_two_contrasts_and_the_blanked_words():
    torch.manual_seed(0)
    pictures, texts = torch.randn(10, 6), torch.randn(8, 6)
    states = torch.randn(8, 4, 5)
    asked = torch.full((8, 4), -100)
    asked[2, 1], asked[5, 3] = 7, 1
    model = torch.nn.Module()
    model.words, model.log_scale = torch.nn.Linear(5, 9), torch.tensor(10.0).log()
    terms = pretraining_losses(model, Seen(pictures, texts, states), asked, tracklets=2)
    assert terms["captions"].item() == pytest.approx(
        formulas.info_nce(pictures[:8], texts, 0.1).item(), rel=1e-5)
    assert terms["tracklets"].item() == pytest.approx(
        formulas.info_nce(pictures[6:8], pictures[8:], 0.1).item(), rel=1e-5)
    logits = [(formulas.linear(model.words, states[r, c]), word) for r, c, word in
              ((2, 1, 7), (5, 3, 1))]
    by_hand = sum(x.exp().sum().log() - x[word] for x, word in logits) / 2
    assert terms["words"].item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert terms["total"].item() == pytest.approx(
        sum(terms[n].item() for n in ("captions", "tracklets", "words")), rel=1e-5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained") / "whole"
    pretrain(folder, steps=5, workers=0, quiet=True, recipe=SMALL)
    return folder


def weights(folder):
    return {name: (folder / name / "model.safetensors").read_bytes() for name in ("vit", "bert")}


@pytest.mark.slow
def test_a_killed_pretraining_goes_on_to_the_same_weights(made, tmp_path, monkeypatch):
    cut = tmp_path / "cut"
    whole = engine.stream
    monkeypatch.setattr(engine, "stream", lambda *args: itertools.chain(
        itertools.islice(whole(*args), 3), iter(lambda: pytest.fail("killed"), None)))
    with pytest.raises(pytest.fail.Exception, match="killed"):
        pretrain(cut, steps=5, workers=0, quiet=True, recipe=SMALL, save_every=2)
    monkeypatch.setattr(engine, "stream", whole)
    pretrain(cut, steps=5, workers=0, quiet=True, recipe=SMALL, save_every=2)
    assert weights(cut) == weights(made)
    assert [json.loads(line)["step"] for line in
            (cut / "pretraining.jsonl").read_text().splitlines()] == [5]


@pytest.mark.slow
def test_another_seed_gives_other_weights_and_another_plan_is_refused(made, tmp_path):
    pretrain(tmp_path / "other", steps=5, seed=1, workers=0, quiet=True, recipe=SMALL)
    assert weights(tmp_path / "other") != weights(made)
    with pytest.raises(ReidlabError, match="another pretraining"):
        pretrain(made, steps=6, workers=0, quiet=True, recipe=SMALL)
    with pytest.raises(ReidlabError, match="--steps is 0"):
        pretrain(tmp_path / "none", steps=0)
    assert not (tmp_path / "none").exists()
    before = weights(made)
    pretrain(made, steps=5, workers=0, quiet=True, recipe=SMALL)  # finished: nothing to do
    assert weights(made) == before


@pytest.mark.slow
def test_every_design_can_start_from_the_encoders(made, tmp_path, cache):
    start = {"image__pretrained": str(made / "vit"), "text__pretrained": str(made / "bert")}
    for design in ("projection", "attention", "corrected"):
        model = build(mini(design, **start), 4)
        stem = model.visual_encoder.embeddings.patch_embeddings.projection
        assert len(stem) == 7 and stem[0].weight.dtype == torch.float32
        assert model.text_encoder.bert.embeddings.word_embeddings.weight.dtype == torch.float32
    dual = build(mini_infrared(image__pretrained=start["image__pretrained"]), 4)
    assert len(dual.backbone.patches[0]) == 7
    report = train(mini("attention", training__epochs=1, **start), tmp_path / "run", quiet=True)
    assert report["preset"] == "attention"


def mini_infrared(**changes):
    return preset("embednet_corrected", "tiny", data__people=16, data__val_people=4,
                  data__test_people=4, **changes)


@pytest.mark.slow
def test_killed_between_both_encoders_it_writes_the_other(made, tmp_path):
    cut = shutil.copytree(made, tmp_path / "cut")
    shutil.rmtree(cut / "bert")
    pretrain(cut, steps=5, workers=0, quiet=True, recipe=SMALL)
    assert weights(cut) == weights(made)
    assert not (cut / "lock").exists()


def test_a_damaged_plan_is_one_line(tmp_path):
    (tmp_path / "pretraining.json").write_text("{")
    with pytest.raises(ReidlabError, match="pretraining.json"):
        pretrain(tmp_path, steps=5)
