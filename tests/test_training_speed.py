"""What `reidlab bench --train` counts is what a step does; how long it takes is not tested."""
import json

import pytest

from reidlab import training_speed
from reidlab.__main__ import main
from reidlab.errors import ReidlabError
from reidlab.tasks import build
from tests.conftest import mini


def test_flops_grow_with_the_batch_and_pictures_of_both_cameras_count(cache):
    found = training_speed.measure(mini("deen", training__batch_size=8, data__images_per_person=4),
                                   steps=1)
    twice = training_speed.measure(mini("deen", training__batch_size=16, data__images_per_person=4),
                                   steps=1)
    assert twice["flops_a_step"] == pytest.approx(2 * found["flops_a_step"], rel=0.05)
    assert found["pictures_a_second"] * found["step_s"] == pytest.approx(16)  # of both cameras


@pytest.mark.slow
def test_the_command_prints_every_measure_and_leaves_nothing(cache, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--train", "corrected", "--steps", "2", "--json", "--set",
                 "training.batch_size=16", "training.workers=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    layers = build(mini()).visual_encoder.layers
    weights = sum(p.numel() for p in layers.parameters() if p.dim() == 2)
    least = 6 * weights * 19 * 16  # two a weight, token and picture forward, four backward
    assert least < found["flops_a_step"] < 3 * least  # stem, attention, captions and heads beside
    assert found["batch_size"] == 16 and found["workers"] == 1
    assert 0 <= found["waiting"] < 1 and found["syncs_a_step"] is None and found["memory_gb"] > 0
    assert found["flops_a_second"] == pytest.approx(found["flops_a_step"] / found["step_s"])
    assert found["share_of_peak"] == pytest.approx(found["flops_a_second"] / found["peak_flops"])
    assert list(tmp_path.iterdir()) == []
    shown = training_speed.markdown(found)
    assert "nothing to wait for" in shown and "1 workers" in shown
    assert "3.5 times a step" in training_speed.markdown(found | {"syncs_a_step": 3.5})


@pytest.mark.parametrize("steps", ["0", "-1", "1000000"])
def test_a_number_of_steps_that_measures_nothing_is_refused(capsys, steps):
    assert main(["bench", "--train", "corrected", "--steps", steps]) == 2
    assert "--steps must be from 1 to 100000" in capsys.readouterr().err


def test_what_cannot_be_built_is_refused_before_anything_is_drawn(monkeypatch):
    monkeypatch.setattr("reidlab.tasks.text_image.load_text_image", lambda *given: 1 / 0)
    with pytest.raises(ReidlabError, match="image width 64 and text width 128 must agree"):
        training_speed.measure(mini(image__pretrained=None, text__pretrained=None, image__dim=64))
