"""Checkpoints by the clock, written beside the training, with every process's random state."""
import threading

import pytest
import torch

from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint
from reidlab.runs.checkpoint_writer import CheckpointWriter
from tests.conftest import mini


@pytest.fixture
def held(monkeypatch):
    """Writing waits until this event is set."""
    go, write = threading.Event(), checkpoint.write

    def wait(*given):
        assert go.wait(30)
        write(*given)
    monkeypatch.setattr(checkpoint, "write", wait)
    return go


def test_training_goes_on_while_a_checkpoint_is_written_and_does_not_change_it(tmp_path, held):
    layer, writer = torch.nn.Linear(2, 2), CheckpointWriter()
    before = layer.weight.detach().clone()
    writer.save(tmp_path / "w", {"model": layer}, step=1)
    layer.weight.data.zero_()  # the next step
    assert not (tmp_path / "w").exists()
    held.set()
    writer.wait()
    assert torch.equal(checkpoint.read(tmp_path / "w")[0]["model.weight"], before)
    writer.close()


def test_what_could_not_be_written_is_told_at_the_next_call(tmp_path):
    (tmp_path / "w").mkdir()
    writer = CheckpointWriter()
    writer.save(tmp_path / "w", {"model": torch.nn.Linear(2, 2)}, step=1)
    with pytest.raises(ReidlabError, match="cannot write .* it is a folder"):
        writer.save(tmp_path / "v", {"model": torch.nn.Linear(2, 2)}, step=2)
    writer.wait()
    assert not (tmp_path / "v").exists()
    writer.close()


def test_each_process_gets_its_own_random_state_back(tmp_path):
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    states = [torch.Generator().manual_seed(seed).get_state() for seed in (3, 4)]
    checkpoint.save(tmp_path / "w", {"model": layer}, optimizer,
                    random={"torch": torch.stack(states)}, step=1, best=0.5)
    for rank, seed in ((0, 3), (1, 4), (2, 3)):  # a third, who was not there before, gets one too
        checkpoint.restore(tmp_path / "w", {"model": layer}, optimizer, rank)
        assert torch.equal(torch.rand(4), torch.rand(4, generator=torch.Generator().manual_seed(
            seed)))


@pytest.mark.slow
@pytest.mark.parametrize("minutes, every, expected", [
    (0, None, [1, 2, 3, 4]), (1000, None, [4]), (1000, 3, [3, 4])])
def test_checkpoints_come_by_the_clock_by_steps_and_at_the_end(tmp_path, data, monkeypatch, minutes,
                                                               every, expected):
    saved, write = [], checkpoint.write

    def seen(path, tensors, state):
        saved.extend([state["step"]] if path.name == "last.safetensors" else [])
        write(path, tensors, state)
    monkeypatch.setattr(checkpoint, "write", seen)
    train(mini(training__epochs=1, training__checkpoint_every=every,
               training__checkpoint_minutes=minutes), tmp_path / "run", quiet=True)
    assert saved == expected
