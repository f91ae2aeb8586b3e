"""Pretraining: nobody's people, no label, resumable, and a start for any design."""
import itertools
import json
import shutil
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from reidlab.batches.pretraining import (
    WORLD,
    Blocks,
    PretrainingBatch,
    Recipe,
    augmented,
    block_keys,
    chosen_rows,
    mask_words,
    stream,
)
from reidlab.engine import model_card
from reidlab.engine import pretrain as engine
from reidlab.engine.pretrain import pretrain
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.evaluation.probes import CLOTHING, IDENTITY
from reidlab.models.pretraining import Seen, pretraining_losses
from reidlab.presets import preset
from reidlab.synthetic.world import World
from reidlab.tasks import build
from tests.as_written import formulas
from tests.conftest import mini

SMALL = Recipe(people=3, outfits=2, others=2, steps=4)


def test_nobody_of_an_experiment_is_among_the_people():
    for design in ("corrected", "embednet_corrected"):
        with pytest.raises(ReidlabError, match="data.seed"):
            preset(design, data__seed=WORLD)
    here, there = World(WORLD), World(0)
    assert [here.person(k) for k in range(50)] != [there.person(k) for k in range(50)]


def test_people_and_outfits_are_new_in_every_block():
    blocks = [block_keys(Recipe(), block) for block in range(20)]
    for what in (0, 1):
        seen = [{key[what] for key in block} for block in blocks]
        assert all(not a & b for a, b in itertools.combinations(seen, 2))


def test_a_block_is_a_grid_and_others():
    keys = block_keys(SMALL, 7)
    grid, others = keys[:12], keys[12:]
    people, outfits = ({key[n] for key in grid} for n in (0, 1))
    assert len(people) == 6 and len(outfits) == 2
    assert set(grid) == set(itertools.product(people, outfits))
    assert len(others) == len({p for p, _ in others} - people) == 4
    assert len({o for _, o in others} - outfits) == 4


def test_a_step_shows_people_in_the_same_outfits_and_the_next_one_others():
    keys = block_keys(SMALL, 1)
    grid, others = ([keys[k] for k in chosen_rows(SMALL, 0, step)] for step in (4, 5))
    people, outfits = ({key[n] for key in grid} for n in (0, 1))
    assert len(people) == 3 and len(outfits) == 2
    assert set(grid) == set(itertools.product(people, outfits)) and len(grid) == 6
    assert len(set(others)) == 2 and not set(others) & set(keys[:12])
    assert chosen_rows(SMALL, 0, 4) == chosen_rows(SMALL, 0, 4) != chosen_rows(SMALL, 1, 4)
    assert len({tuple(sorted(chosen_rows(SMALL, 0, step))) for step in range(0, 16, 2)}) > 4


def test_a_rendered_block_holds_two_shots_and_whole_captions():
    block = Blocks(SMALL, 5, 9)[2]
    world, keys = World(WORLD, (96, 48)), block_keys(SMALL, 7)
    assert block.image.shape == (16, 2, 96, 48, 3) and len(block.captions) == 16
    for row in (0, 15):
        for shot in (0, 1):
            assert (block.image[row, shot].numpy() == world.picture(*keys[row], shot)).all()
            said = world.describe(*keys[row], shot)
            assert block.captions[row][shot] == f"{said.id_caption} {said.cloth_caption}"
    assert set(vars(block)) == {"image", "captions"}


def test_a_batch_is_a_function_of_seed_and_step():
    whole = list(stream(SMALL, 0, 0, 10, workers=0))
    later = list(stream(SMALL, 0, 6, 10, workers=0))
    assert len(whole) == 10 and len(later) == 4
    for one, other in zip(whole[6:], later, strict=True):
        assert torch.equal(one.image, other.image) and one.captions == other.captions
    assert not torch.equal(whole[0].image, whole[2].image)


def test_augmentation_mirrors_captions_either_shot_and_makes_some_second_shots_grey():
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (200, 2, 4, 6, 3), dtype=torch.uint8, generator=generator)
    before = image.clone()
    batch = PretrainingBatch(image, [(f"{k}a", f"{k}b") for k in range(200)])
    shown, captions = augmented(batch, generator)
    assert torch.equal(image, before) and shown.shape == (400, 4, 6, 3)
    shot = torch.tensor([caption.endswith("b") for caption in captions]).long()
    assert [caption[:-1] for caption in captions] == [str(k) for k in range(200)]
    assert 70 < shot.sum() < 130
    row = torch.arange(200)
    grey = (shown == shown[..., :1]).flatten(1).all(1)
    assert not grey[:200].any() and 35 < grey[200:].sum() < 85
    mirrored = 0
    for half, number in ((shown[:200], shot), (shown[200:], 1 - shot)):
        source = image[row, number]
        for k in range(200):
            same = [bool((half[k] == turned).all()) or any(
                bool((half[k] == turned[..., c, None]).all()) for c in range(3))
                for turned in (source[k], source[k].flip(1))]
            assert sum(same) == 1
            mirrored += same[1]
    assert 150 < mirrored < 250


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
    pictures, texts = torch.randn(16, 6), torch.randn(8, 6)
    states = torch.randn(8, 4, 5)
    asked = torch.full((8, 4), -100)
    asked[2, 1], asked[5, 3] = 7, 1
    model = torch.nn.Module()
    model.words, model.log_scale = torch.nn.Linear(5, 9), torch.tensor(10.0).log()
    terms = pretraining_losses(model, Seen(pictures, texts, states), asked)
    first, second = pictures[:8], pictures[8:]
    assert terms["captions"].item() == pytest.approx(
        (formulas.info_nce(first, texts, 0.1) + formulas.info_nce(second, texts, 0.1)).item() / 2,
        rel=1e-5)
    assert terms["tracklets"].item() == pytest.approx(
        formulas.info_nce(first, second, 0.1).item(), rel=1e-5)
    logits = [(formulas.linear(model.words, states[r, c]), word) for r, c, word in
              ((2, 1, 7), (5, 3, 1))]
    by_hand = sum(x.exp().sum().log() - x[word] for x, word in logits) / 2
    assert terms["words"].item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert terms["total"].item() == pytest.approx(
        sum(terms[n].item() for n in ("captions", "tracklets", "words")), rel=1e-5)


@pytest.fixture(autouse=True, scope="module")
def quick_card():
    """A card that probes few people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "write_card", partial(model_card.write_card, people=120))
        yield


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
def test_a_line_of_the_log_is_the_mean_of_both_kinds_of_step(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_step", lambda *given: dict.fromkeys(
        ("captions", "tracklets", "words", "total"), torch.tensor(float(given[4]))))
    pretrain(tmp_path, steps=102, workers=0, quiet=True, recipe=SMALL)
    rows = [json.loads(line) for line in
            (tmp_path / "pretraining.jsonl").read_text().splitlines()]
    assert [(row["step"], row["captions"], row["total"]) for row in rows] == [
        (100, 49.5, 49.5), (102, 100.5, 100.5)]


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


@pytest.mark.slow
def test_a_run_is_not_taken_for_one_that_started_from_other_weights(made, tmp_path, cache):
    start = shutil.copytree(made, tmp_path / "start")
    experiment = mini("attention", training__epochs=1, image__pretrained=str(start / "vit"),
                      text__pretrained=str(start / "bert"))
    report = train(experiment, tmp_path / "run", quiet=True)
    assert report["preset"] == "attention"
    assert train(experiment, tmp_path / "run", quiet=True) == report
    file = start / "bert" / "model.safetensors"
    held = load_file(file)
    held["embeddings.LayerNorm.bias"] += 1
    save_file(held, file, metadata={"format": "pt"})
    with pytest.raises(ReidlabError, match="other weights than text.pretrained holds now"):
        train(experiment, tmp_path / "run", quiet=True)


def mini_infrared(**changes):
    return preset("embednet_corrected", "tiny", data__people=16, data__val_people=4,
                  data__test_people=4, **changes)


@pytest.mark.slow
def test_the_card_says_how_the_encoders_were_made_and_what_each_layer_knows(made):
    text = (made / "README.md").read_text()
    assert "`reidlab pretrain --out DIR --steps 5 --seed 0 --image vit`" in text
    assert "# `vit` and `bert`:" in text and "must not be used to look for any" in text
    assert "0 minutes on a CPU" in text
    assert "20 synthetic people of world 2147483649" in text  # two blocks of six and four
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in
                   text.split("does not tell every factor.")[1].strip().splitlines()]
    assert head == ["factor", *(f"image {k}" for k in range(5)), "text 0", "text 1"]
    known = {name: [float(cell) for cell in cells] for name, *cells in rows[1:]}
    assert {*IDENTITY, *CLOTHING} <= set(known)
    assert all(-1 <= value <= 1 for values in known.values() for value in values)
    assert known["outfit/upper_type"][5] > 0.2  # a caption names it: a bag of its words tells


@pytest.mark.slow
def test_the_card_asks_people_whom_no_pretraining_comes_to(monkeypatch):
    drawn, draw = set(), World.draw
    monkeypatch.setattr(World, "draw", lambda self, person, outfit, shot: (
        drawn.add((self.seed, person, outfit)) or draw(self, person, outfit, shot)))
    model_card.layer_table(engine.pretraining_model("vit"), 60, (96, 48))
    recipe = Recipe()
    last = block_keys(recipe, 10_000_000 // recipe.steps)
    assert len(drawn) == 60 and {seed for seed, *_ in drawn} == {WORLD}
    assert min(person for _, person, _ in drawn) > max(person for person, _ in last)
    assert min(outfit for *_, outfit in drawn) > max(outfit for _, outfit in last)


@pytest.mark.slow
def test_deen_starts_from_a_residual_network_made_the_same_way(tmp_path):
    folder = tmp_path / "resnet"
    pretrain(folder, steps=2, image="resnet", workers=0, quiet=True, recipe=SMALL)
    assert not (folder / "bert").exists() and not (folder / "vit").exists()
    held = load_file(folder / "resnet" / "model.safetensors")
    model = build(preset("deen", "tiny", image__pretrained=str(folder / "resnet")), 4)
    kernel = "encoder.stages.3.layers.0.layer.0.convolution.weight"
    assert torch.equal(model.trunk[3].layers[0].layer[0].convolution.weight, held[kernel].float())
    assert model.trunk[3].layers[0].layer[0].convolution.stride == (1, 1)
    with pytest.raises(ReidlabError, match="another pretraining"):
        pretrain(folder, steps=2, workers=0, quiet=True, recipe=SMALL)


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
