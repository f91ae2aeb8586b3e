"""Presets, fields, and the lines a wrong one gives."""
import dataclasses
import json

import pytest

from reidlab.config import Training, flatten
from reidlab.config.changes import change, from_dict, to_dict
from reidlab.errors import ReidlabError
from reidlab.presets import PRESETS, SIZES, preset, sizes


@pytest.mark.parametrize(("name", "size"), [(n, s) for n in PRESETS for s in sizes(n)])
def test_experiments_survive_json(name, size):
    experiment = preset(name, size)
    assert from_dict(json.loads(json.dumps(to_dict(experiment)))) == experiment
    assert experiment.name == name and experiment.size == size


@pytest.mark.covers("R7", "E11")
def test_fields_change_by_name_from_text():
    experiment = change(preset("corrected"), {
        "training.lr": "3e-4", "image.stem": "false", "image.pretrained": "none",
        "loss.weights.decouple": "0.5", "data.people": "50", "fusion.name": "none"})
    assert experiment.training.lr == 3e-4 and experiment.image.stem is False
    assert experiment.loss.weights.decouple == 0.5 and experiment.fusion.name == "none"
    assert preset("corrected", training__lr=1).training.lr == 1.0


@pytest.mark.parametrize(("changes", "says"), [
    ({"training.learning_rate": 1}, "unknown field 'training.learning_rate'; near matches"),
    ({"lr": "1"}, "near matches: training.lr"), ({"training.lr": "fast"}, "takes float; got"),
    ({"training.epochs": 1.5}, "takes int; got 1.5"), ({"training.epochs": 0}, "at least 1"),
    ({"image.stem": "maybe"}, "takes bool"), ({"training.lr": "none"}, "cannot be none"),
    ({"text.activation": "tanh"}, "known: gelu, relu"), ({"image.height": 100}, "no multiple"),
    ({"image.heads": 3}, "not divisible"), ({"training.lr": "nan"}, "at least 0"),
    ({"training.batch_size": 31}, "no multiple of data.images_per_person"),
])
@pytest.mark.covers("E11", "L11")
def test_wrong_fields_are_named(changes, says):
    with pytest.raises(ReidlabError, match=says):
        change(preset("corrected"), changes)


def test_unknown_presets_and_sizes_are_listed():
    with pytest.raises(ReidlabError, match="unknown preset 'best'; known: projection"):
        preset("best")
    with pytest.raises(ReidlabError, match="known: tiny, small, base"):
        preset("corrected", "huge")


@pytest.mark.covers("L11", "E11")
@pytest.mark.parametrize("damage", ["missing", "extra", "type"])
def test_a_config_of_another_version_is_named(damage):
    raw = to_dict(preset("corrected"))
    if damage == "missing":
        raw["training"]["learning_rate"] = raw["training"].pop("lr")  # as another version had it
    elif damage == "extra":
        raw["training"]["speed"] = 1
    else:
        raw["training"] = 5
    with pytest.raises(ReidlabError, match="training"):
        from_dict(raw)


def test_a_field_that_is_newer_than_a_config_has_its_default(caplog):
    """A new field never makes an old run unloadable."""
    raw = to_dict(preset("corrected"))
    del raw["training"]["lr"], raw["loss"]["weights"]["itm"]
    with caplog.at_level("INFO"):
        found = from_dict(raw)
    assert found.training.lr == Training().lr and found.loss.weights.itm == 0
    assert "config has no training.lr, which is newer" in caplog.text
    del raw["size"]
    with pytest.raises(ReidlabError, match="config: missing field size"):
        from_dict(raw)


def test_experiments_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("corrected").seed = 5


@pytest.mark.covers("E11")
def test_every_choice_that_the_notes_make_is_in_the_preset():
    flat = flatten(preset("attention", "base"))
    weights = {k.split(".")[-1]: v for k, v in flat.items() if k.startswith("loss.weights.")}
    assert {k: v for k, v in weights.items() if v} == {
        "info_nce": 1.0, "cls": 1.0, "bio": 0.5, "cloth": 0.5, "cloth_adv": 0.1,
        "cloth_match": 1.0, "decouple": 0.2, "gate_regularization": 0.01}
    assert (flat["loss.temperature"], flat["text.max_length"], flat["text.trainable"]) == (
        0.1, 64, False)
    assert (flat["training.optimizer"], flat["training.lr"], flat["training.weight_decay"],
            flat["training.final_lr"], flat["training.epochs"], flat["training.batch_size"]) == (
        "adam", 1e-4, 1e-3, 1e-6, 80, 128)


def test_a_size_that_reads_captions_is_refused_where_there_are_none():
    assert set(sizes("corrected")) == set(SIZES) == set(sizes("deen")) | {"clip"}
    with pytest.raises(ReidlabError, match="deen has no size 'clip'.*known: tiny, small, base$"):
        preset("deen", "clip")


def test_clips_towers_learn_slower_than_what_is_new():
    for name in ("baseline", "corrected", "attention"):
        training = preset(name, "clip").training
        assert training.backbone_lr == pytest.approx(training.lr / 5)
    assert preset("baseline", "clip").heads.embedding == 512
    assert preset("corrected", "clip").heads == preset("corrected", "base").heads


def test_whole_captions_leave_none_to_exchange():
    with pytest.raises(ReidlabError, match="data.captions=whole leaves no clothing caption"):
        preset("attention", data__captions="whole")


def test_a_rate_of_the_encoders_needs_one_to_share_the_course_of():
    with pytest.raises(ReidlabError, match="training.backbone_lr is 0.001, but training.lr"):
        preset("corrected", training__lr=0.0, training__backbone_lr=0.001)
