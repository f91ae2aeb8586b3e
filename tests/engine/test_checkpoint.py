"""Weights on disk: ours, published ones, damaged ones."""
import os

import pytest
import torch
from transformers import ViTConfig

from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.tasks import load
from reidlab.tasks.task import keep_encoders
from tests.conftest import mini
from tests.engine.conftest import rows


@pytest.mark.covers("E15")
def test_a_loaded_model_is_the_trained_one(run):
    model = load(run)
    assert not model.training
    tensors, state = checkpoint.read(RunFolder(run).best)
    assert all(torch.equal(v, tensors[f"model.{k}"]) for k, v in model.state_dict().items())
    assert state["map"] == max(r["val/mAP"] for r in rows(run) if "val/mAP" in r)


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_damaged_and_foreign_checkpoints_are_named(tmp_path, damage):
    from safetensors.torch import save_file
    file, layer = tmp_path / "w.safetensors", torch.nn.Linear(2, 2)
    checkpoint.save(file, {"model": layer}, step=1)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:40])
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        save_file({"x": torch.ones(1)}, file)
    with pytest.raises(ReidlabError, match="cannot be read as a reidlab checkpoint"):
        checkpoint.restore(file, {"model": layer})
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.read(tmp_path / "gone.safetensors")


def test_a_checkpoint_of_another_shape_is_named(tmp_path):
    checkpoint.save(tmp_path / "w", {"model": torch.nn.Linear(2, 2)})
    with pytest.raises(ReidlabError, match="does not fit this model"):
        checkpoint.restore(tmp_path / "w", {"model": torch.nn.Linear(3, 2)})


@pytest.mark.covers("E15")
@pytest.mark.parametrize("layout", ["plain", "state_dict", "model", "module."])
def test_published_weight_layouts_are_read_and_skips_reported(tmp_path, layout):
    given, taken = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    weights = dict(given.state_dict()) | {"extra": torch.ones(1)}
    if layout == "module.":
        weights = {f"module.{k}": v for k, v in weights.items()}
    elif layout != "plain":
        weights = {layout: weights, "epoch": 3}
    torch.save(weights, tmp_path / "w.pth")
    assert checkpoint.load_param(taken, tmp_path / "w.pth") == ["extra: unknown here"]
    assert torch.equal(given.weight, taken.weight) and torch.equal(given.bias, taken.bias)
    skipped = checkpoint.load_param(torch.nn.Linear(4, 2), tmp_path / "w.pth")
    assert "weight: (2, 3) given, (2, 4) needed" in skipped


@pytest.mark.covers("E15")
def test_weights_of_the_kits_own_checkpoint_fit_and_foreign_ones_are_refused(tmp_path):
    """They fitted by no name, since a checkpoint holds several modules, and nothing was said."""
    given, taken = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    checkpoint.save(tmp_path / "last.safetensors", {"model": given, "loss": torch.nn.Linear(1, 1)},
                    step=3)
    assert checkpoint.load_param(taken, tmp_path / "last.safetensors") == []
    assert torch.equal(given.weight, taken.weight)
    torch.save({"other.weight": torch.ones(2)}, tmp_path / "w.pth")
    with pytest.raises(ReidlabError, match="no tensor of these weights fits by name"):
        checkpoint.load_param(taken, tmp_path / "w.pth")


def test_a_pickle_with_code_in_it_is_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    (tmp_path / "w.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ReidlabError, match="cannot be read as weights"):
        checkpoint.load_param(torch.nn.Linear(1, 1), tmp_path / "w.pth")
    assert not (tmp_path / "owned").exists()


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "w"
    checkpoint.save(file, {"model": torch.nn.Linear(2, 2)}, step=1)
    old = file.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReidlabError, match="No space left on device; free some space"):
        checkpoint.save(file, {"model": torch.nn.Linear(2, 2)}, step=2)
    assert file.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == ["w"]


def test_what_a_refused_start_kept_of_its_encoders_is_not_believed(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start(mini())
    small, large = ViTConfig(hidden_size=16), ViTConfig(hidden_size=32)
    keep_encoders(run, mini(), {"image": small})
    keep_encoders(run, mini(), {"image": large})  # the same folder, a second start
    assert ViTConfig.from_pretrained(run.encoders / "image").hidden_size == 32
    run.describe(mini())
    keep_encoders(run, mini(), {"image": small})  # a run that goes on keeps what it is
    assert ViTConfig.from_pretrained(run.encoders / "image").hidden_size == 32
    run.config.unlink()
    run.abandon()
    assert not run.path.exists()
