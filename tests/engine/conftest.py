"""How training is started and read in these tests."""
import sys

import pytest

from reidlab.engine import embedding
from reidlab.engine.step import TrainStep
from reidlab.engine.train import train
from reidlab.runs.folder import RunFolder
from tests.conftest import MINI
from tests.engine.making import draw


def rows(folder):
    """The log without the one thing that may differ."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in RunFolder(folder).rows()]


def command(folder, name="corrected", **changes):
    fields = {**MINI, **{k.replace("__", "."): v for k, v in changes.items()}}
    return [sys.executable, "-m", "reidlab", "train", name, "--run", str(folder),
            *(f"--set={k}={v}" for k, v in fields.items())]


def train_and_stop(experiment, run: RunFolder, step: int) -> None:
    """Train while somebody asks to stop during a step, counted from 0."""
    take = TrainStep.__call__

    def ask_to_stop(self, number, batch, epoch):
        if number == step:
            run.stop.touch()
        return take(self, number, batch, epoch)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrainStep, "__call__", ask_to_stop)
        patched.setattr("reidlab.engine.pauses.LOOK_FOR_STOP", 0.0)
        assert train(experiment, run.path, quiet=True) == {"stopped_at": step + 1}


@pytest.fixture
def pictures(tmp_path):
    """A folder of twenty pictures."""
    folder = tmp_path / "pictures"
    for number in range(20):
        draw(folder, number)
    return folder


@pytest.fixture
def small_parts(monkeypatch):
    """Galleries are kept four pictures at a time."""
    monkeypatch.setattr(embedding, "BATCH", 2)
    monkeypatch.setattr(embedding, "PART", 4)
    monkeypatch.setattr("reidlab.engine.indexing.PART", 4)
