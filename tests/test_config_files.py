"""`reidlab train --config` and `--tracker`: fields from a file, numbers to a viewer."""
import json

import pytest

from reidlab.__main__ import _experiment, parser
from reidlab.config.changes import change, to_dict
from reidlab.files import write_json
from reidlab.losses.text_image import TextImageLoss
from reidlab.presets import preset
from tests.conftest import mini
from tests.test_command_line import failing


@pytest.mark.covers("R7", "L11")
@pytest.mark.parametrize("text", ["training:\n  lr: 0.002\n  epochs: 7\nseed: 3\n",
                                  "training.lr: 2e-3\ntraining.epochs: 7\nseed: 3\n"])
def test_a_file_of_fields_lies_beneath_what_is_set(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    asked = _experiment(parser().parse_args([
        "train", "corrected", "--run", "r", "--config", str(tmp_path / "mine.yaml"), "--set",
        "training.epochs=9"]))
    assert asked == preset("corrected", training__lr=0.002, training__epochs=9, seed=3)


@pytest.mark.covers("R7", "L11")
def test_weights_of_losses_stand_in_a_file_and_reach_the_loss(tmp_path):
    (tmp_path / "mine.yaml").write_text("loss:\n  weights:\n    decouple: 0.7\n    cls: 0\n")
    asked = _experiment(parser().parse_args([
        "train", "corrected", "--run", "r", "--config", str(tmp_path / "mine.yaml")]))
    weights = TextImageLoss(asked.loss, 128, 256).weights
    assert weights["decouple"] == 0.7 and "cls" not in weights
    assert weights["info_nce"] == preset("corrected").loss.weights.info_nce


def test_a_runs_config_is_a_whole_experiment(tmp_path):
    made = mini(training__lr=0.002)
    write_json(tmp_path / "config.json", {"experiment": to_dict(made), "seed": 0})
    options = ["train", "--run", "r", "--config", str(tmp_path / "config.json")]
    assert _experiment(parser().parse_args(options)) == made
    changed = _experiment(parser().parse_args([*options, "--set", "training.lr=1"]))
    assert changed == change(made, {"training.lr": 1.0})


@pytest.mark.parametrize(("text", "options", "says"), [
    ("training: [", ["corrected"], "is no readable YAML"),
    ("", ["corrected"], "holds no fields; write lines such as training.lr: 0.001"),
    ("- 1\n- 2\n", ["corrected"], "holds no fields"),
    ("training.lrr: 1", ["corrected"], "near matches: training.lr"),
    ("training.lr: fast", ["corrected"], "takes float; got 'fast'"),
    ("training.lr: 1", [], "name a design, or a whole experiment by --config"),
    ("task: text-image\nname: x", ["corrected"], "holds a whole experiment; leave 'corrected' out"),
    ("task: text-image\nnam: x", [], "unknown field nam"),
    ("task: text-image", ["--size", "base"], "--size is part of"),
    ("size: base", ["corrected"], "says size: a design is named by its preset"),
    ("name: x\nseed: 1", ["corrected"], "says name: a design is named by its preset"),
    ("experiment: 5", ["corrected"], "holds no fields"),
    (None, ["corrected"], "no file"),
])
def test_a_file_that_cannot_be_used_is_told(capsys, tmp_path, text, options, says):
    file = tmp_path / "mine.yaml"
    if text is not None:
        file.write_text(text)
    assert says in failing(capsys, "train", *options, "--config", str(file), "--run",
                           str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def events(folder):
    """Scalars of a TensorBoard log: ``{(tag, step): value}``."""
    from tensorboardX.proto.event_pb2 import Event
    found = {}
    for file in folder.rglob("events.out.*"):
        data = file.read_bytes()
        while data:  # length, its checksum, an event, its checksum
            size = int.from_bytes(data[:8], "little")
            event, data = Event.FromString(data[12:12 + size]), data[16 + size:]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


@pytest.mark.slow
def test_a_tracker_gets_every_number_of_the_runs_own_log(tmp_path, cache):
    from reidlab.engine.train import train
    train(mini(training__epochs=1), tmp_path / "run", quiet=True, tracker="tensorboard")
    found = events(tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(
        ).splitlines()]
    assert len(rows) == 4
    for row in rows:
        for name, value in row.items():
            assert found[name, row["step"]] == pytest.approx(value, rel=1e-5), name


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_done(capsys, tmp_path):
    assert "--tracker wandb needs a package that is not here: pip install wandb" in failing(
        capsys, "train", "corrected", "--tracker", "wandb", "--run", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
