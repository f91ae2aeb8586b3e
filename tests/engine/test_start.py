"""Training that starts from another run's weights."""
import pytest
import torch

from reidlab.__main__ import main
from reidlab.engine.start import put_start
from reidlab.engine.step import TrainStep
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.tasks import build
from tests.conftest import MINI, mini
from tests.engine.conftest import rows, train_and_stop


@pytest.fixture
def first_weights(monkeypatch):
    """Weights of the model as the first step of a training meets them."""
    seen, take = {}, TrainStep.__call__

    def look(self, number, batch, epoch):
        if not seen:
            seen.update({name: value.clone() for name, value in self.model.state_dict().items()})
        return take(self, number, batch, epoch)
    monkeypatch.setattr(TrainStep, "__call__", look)
    return seen


def of_the_model(run):
    tensors, _ = checkpoint.read(RunFolder(run).best)
    return {name.removeprefix("model."): value for name, value in tensors.items()
            if name.startswith("model.")}


@pytest.mark.slow
def test_training_starts_from_the_best_weights_of_a_run(run, tmp_path, first_weights,
                                                        monkeypatch):
    monkeypatch.chdir(run.parent)
    fields = [f"--set={name}={value}" for name, value in (MINI | {
        "training.epochs": 1, "training.lr": 1e-4, "data.people": 40}).items()]
    assert main(["train", "corrected", "--run", str(tmp_path / "run"), "--from", run.name,
                 *fields]) == 0
    before, own = of_the_model(run), ("id_classifier.", "concept_eraser.")
    assert first_weights.keys() == before.keys()
    for name, value in first_weights.items():
        assert torch.equal(value, before[name]) != name.startswith(own), name
    assert len(first_weights["id_classifier.weight"]) == 40 != len(before["id_classifier.weight"])
    kept = RunFolder(tmp_path / "run").experiment().training.start
    assert kept == str(run.resolve()) and len(rows(tmp_path / "run")) == 4


@pytest.mark.slow
def test_a_stopped_run_goes_on_from_its_own_checkpoint_and_not_from_its_start(run, tmp_path):
    changes = dict(training__start=str(run), training__epochs=1)
    train(mini(**changes), tmp_path / "whole", quiet=True)
    halves = RunFolder(tmp_path / "halves")
    train_and_stop(mini(**changes), halves, step=0)
    train(mini(**changes), halves.path, quiet=True)
    assert rows(halves.path) == rows(tmp_path / "whole")


@pytest.mark.parametrize(("name", "changes", "says"), [
    ("attention", {}, "training.start .* does not fit attention: .* start from a run of the same"),
    ("corrected", {"heads__embedding": 64}, "does not fit corrected: .* of another shape, first "),
    ("embednet", {}, "is a text-image run; embednet is of visible-infrared: start from one of"),
])
def test_a_start_that_does_not_fit_is_refused_before_data_are_touched(
        run, tmp_path, monkeypatch, name, changes, says):
    for task in ("text_image.load_text_image", "visible_infrared.load_visible_infrared"):
        monkeypatch.setattr(f"reidlab.tasks.{task}", lambda *_: pytest.fail("data touched"))
    with pytest.raises(ReidlabError, match=says):
        train(mini(name, training__start=str(run), **changes), tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()


def test_a_start_that_has_more_than_the_model_is_refused(run):
    model = build(mini(), 48)
    del model.disentangle
    with pytest.raises(ReidlabError, match="missing on one side .* first disentangle"):
        put_start(mini(training__start=str(run)), model)


def test_a_start_without_weights_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReidlabError, match="no checkpoint at .*; train first, or name another"):
        train(mini(training__start=str(tmp_path / "empty")), tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()
