"""Runs that can be killed, stopped, resumed, shared, watched."""
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from reidlab.errors import ReidlabError
from reidlab.models.building import load
from reidlab.presets import visible_infrared
from reidlab.presets.text_image import DESIGNS
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.training.launch import stop, train_all
from reidlab.training.loop import train
from reidlab.training.optim import learning_rate
from tests.conftest import MINI, mini


def rows(folder):
    """The log without the one thing that may differ."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in RunFolder(folder).rows()]


def command(folder, name="corrected", **changes):
    fields = {**MINI, **{k.replace("__", "."): v for k, v in changes.items()}}
    return [sys.executable, "-m", "reidlab", "train", name, "--run", str(folder),
            *(f"--set={k}={v}" for k, v in fields.items())]


def test_the_run_directory_holds_what_it_should(run):
    names = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert {"config.json", "metrics.jsonl", "report.json", "checkpoints/last.safetensors",
            "checkpoints/best.safetensors"} <= names
    assert not {n for n in names if n.endswith(".part") or n == "lock"}
    config = json.loads((run / "config.json").read_text())
    assert config["experiment"]["name"] == "corrected" and config["versions"]["torch"]
    assert [row["step"] for row in rows(run)] == list(range(1, 13))


@pytest.mark.covers("R6", "R8", "R10")
def test_the_log_has_every_loss_and_the_dependence_of_raw_features(run):
    log = rows(run)
    assert all({"loss/total", "loss/info_nce", "loss/cloth_match", "lr"} <= set(r) for r in log)
    seen = [r for r in log if "monitor/id_cloth_abs_cosine" in r]
    assert [r["step"] for r in seen] == [5, 10, 12]
    assert {"monitor/id_cloth_hsic", "monitor/id_cloth_cka", "gradient/visual_encoder"} <= set(
        seen[0])
    assert [r["step"] for r in log if "val/mAP" in r] == [8, 12]


@pytest.mark.covers("R6", "R10")
def test_as_written_logs_eight_losses_the_gate_and_the_ramp(tmp_path, data):
    train(mini("attention", training__epochs=2), tmp_path / "run", quiet=True)
    log = rows(tmp_path / "run")
    assert {k for k in log[0] if k.startswith("loss/")} == {
        f"loss/{n}" for n in ("info_nce", "cls", "bio", "cloth", "cloth_adv", "cloth_match",
                              "decouple", "gate_regularization", "total")}
    assert any("gate/mean" in r for r in log) and "gate/image_weight" in log[0]
    assert all(r["gradient/fusion"] == 0 for r in log if "gradient/fusion" in r)


@pytest.mark.slow
@pytest.mark.covers("E17", "D2", "D5", "D6")
@pytest.mark.parametrize("name", [n for n in DESIGNS if n != "corrected"])
def test_every_design_trains_is_watched_and_is_scored(tmp_path, data, name):
    report = train(mini(name, training__epochs=2, training__monitor_every=2), tmp_path / "run",
                   quiet=True)
    assert 0 < report["tables"]["test"]["as_dressed"]["text_to_image"]["r1"] < 1
    assert "monitor/id_cloth_cka" in RunFolder(tmp_path / "run").rows()[-1]


@pytest.mark.slow
@pytest.mark.covers("V4", "V14", "V27", "V30")
@pytest.mark.parametrize(("name", "changes"), [
    *((name, {}) for name in visible_infrared.DESIGNS),
    ("embednet_corrected", {"data__labelled": 0.5, "loss__clusters": 20,
                            "loss__weights__alignment": 0.1, "loss__weights__cut_mix": 0.5})])
def test_every_visible_infrared_design_trains_is_watched_and_is_scored(tmp_path, cache, name,
                                                                       changes):
    report = train(mini(name, training__epochs=2, training__monitor_every=2, **changes),
                   tmp_path / "run", quiet=True)
    found = report["tables"]["test"]
    assert set(found) == {f"{way}{more}" for way in ("infrared_to_visible", "visible_to_infrared")
                          for more in ("", "_reranked")}
    assert all(0 < row["map"] < 1 and "trials" in row["protocol"]["text"]
               for row in found.values())
    last = RunFolder(tmp_path / "run").rows()[-1]
    assert {"monitor/modality_gap", "monitor/view_similarity", "val/mAP"} <= set(last)
    assert {"loss/contrast"} <= set(last) if name == "embednet_corrected" else {
        "loss/cls", "loss/triplet", "loss/cpm"} <= set(last)
    assert report["multiplications"] > 1e6 and 0 <= report["view_similarity"] <= 1


def test_training_again_changes_nothing_and_returns_the_report(run):
    before = (run / "metrics.jsonl").read_bytes()
    report = train(mini(), run, quiet=True)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert report == json.loads((run / "report.json").read_text())


def test_the_same_seed_gives_the_same_run(run, tmp_path):
    train(mini(), tmp_path / "again", quiet=True)
    assert rows(tmp_path / "again") == rows(run)


@pytest.mark.slow
def test_killed_at_ten_random_moments_and_resumed_is_the_same_run(run, tmp_path):
    folder, rng = tmp_path / "killed", random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(command(folder), stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(1, 14))  # before, during and after training
        process.send_signal(signal.SIGKILL)
        process.wait()
        for file in folder.glob("checkpoints/*.safetensors"):
            checkpoint.read(file)  # never unreadable
        for file in folder.glob("*.json"):
            json.loads(file.read_text())
        for line in (folder / "metrics.jsonl").read_text().splitlines() if (
                folder / "metrics.jsonl").exists() else []:
            json.loads(line)
    assert subprocess.run(command(folder), capture_output=True).returncode == 0
    assert rows(folder) == rows(run)
    ours, theirs = (json.loads((f / "report.json").read_text()) for f in (folder, run))
    assert ours["tables"] == theirs["tables"]


@pytest.mark.parametrize("name", ["corrected", "attention", "embednet_corrected"])
def test_stopped_and_resumed_is_the_same_run(tmp_path, data, name):
    short = mini(name, training__epochs=2, training__checkpoint_every=100)
    train(short, tmp_path / "whole", quiet=True)
    folder = tmp_path / "halves"
    halfway = RunFolder(folder)
    from reidlab.training import loop
    asked = loop._Session.train_step

    def ask_to_stop(self, batch, epoch):
        if self.step == 4:
            halfway.stop.touch()
        return asked(self, batch, epoch)

    loop._Session.train_step = ask_to_stop
    try:
        assert train(short, folder, quiet=True) == {"stopped_at": 5}
    finally:
        loop._Session.train_step = asked
    assert not halfway.stop.exists() and not halfway.lock.exists() and len(rows(folder)) == 5
    train(short, folder, quiet=True)
    assert rows(folder) == rows(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    # Adam divides each gradient by its own size, so that rounding noise in tiny gradients becomes
    # whole steps; a small rate keeps five steps comparable to the fifth digit
    changes = dict(training__epochs=1, training__batches_per_epoch=5, training__validate_every=1,
                   training__lr=1e-4)
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run(command(one, **changes), check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
         "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
         "--main_process_port", "29611", *command(two, **changes)[1:]],
        capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"})
    assert done.returncode == 0, done.stderr[-2000:]
    for a, b in zip(rows(one), rows(two), strict=True):
        for name in a:
            if name.startswith("loss/"):
                assert a[name] == pytest.approx(b[name], abs=1e-5), (a["step"], name)


def test_nan_stops_the_run_and_names_the_term(tmp_path, data):
    with pytest.raises(ReidlabError, match=r"loss term \w+ became nan at step \d+"):
        train(mini(training__lr=1e30, training__clip=0, training__warmup=0), tmp_path / "run",
              quiet=True)
    for file in (tmp_path / "run").rglob("*.safetensors"):
        checkpoint.read(file)
    assert all(r["loss/total"] == r["loss/total"] for r in rows(tmp_path / "run"))


def test_another_experiment_does_not_get_into_a_run(run):
    with pytest.raises(ReidlabError, match="holds another experiment .seed: 0 there, 1 asked"):
        train(mini(seed=1), run, quiet=True)


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ReidlabError, match="holds files but no run"):
        train(mini(), tmp_path, quiet=True)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_run_killed_before_its_config_was_written_starts_again(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.lock.write_text("999999999")
    (folder.path / ".config.json.7.part").write_text("{")
    (folder.path / ".tokenizer.part").mkdir()
    folder.start(mini())
    assert folder.config.exists() and not list(folder.path.glob(".*.part"))
    folder.release()
    assert not folder.lock.exists()


def test_one_writer_a_run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        folder.path.mkdir()
        folder.lock.write_text(str(sleeper.pid))
        (folder.path / "config.json").write_text("{}")
        with pytest.raises(ReidlabError):
            folder.start(mini())
        (folder.path / "config.json").unlink()
        folder.lock.unlink()
        folder.start(mini())
        folder.lock.write_text(str(sleeper.pid))
        with pytest.raises(ReidlabError, match=f"process {sleeper.pid} is training"):
            folder.start(mini())
    finally:
        sleeper.kill()
        sleeper.wait()
    folder.start(mini())  # a dead writer's lock does not hold
    assert folder.writer() == os.getpid()


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


def test_learning_rate_warms_up_and_follows_a_cosine():
    config = mini(training__warmup=10, training__lr=1.0, training__final_lr=0.0).training
    assert [learning_rate(config, k, 110) for k in (0, 9, 10, 60)] == pytest.approx(
        [0.1, 1.0, 1.0, 0.5])
    assert learning_rate(config, 110, 110) == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_a_stop_request_nobody_heard_is_void_and_a_stopped_run_is_not_done(tmp_path, cache):
    """What a killed launcher leaves behind must not end the next attempt, nor pass for its end."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "stop").touch()
    train_all({"mini": (mini(), folder)})
    assert RunFolder(folder).report.exists()
    other = tmp_path / "other"
    with pytest.raises(ReidlabError, match="mini was stopped; the same command goes on"):
        train_all({"mini": (mini(training__epochs=100), other)}, every=0.2,
                  look=lambda running: RunFolder(other).rows() and stop(other))
    assert RunFolder(other).rows() and not RunFolder(other).report.exists()
