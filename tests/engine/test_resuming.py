"""Runs that are killed, stopped, resumed, or fought over."""
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict

import psutil
import pytest
import torch
from safetensors.torch import save_file

from reidlab.engine.evaluate import evaluate
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint, lock
from reidlab.runs.folder import RunFolder
from reidlab.runs.status import status
from tests.conftest import mini
from tests.engine.conftest import command, rows, train_and_stop


def test_training_againchanges_nothing_and_returns_the_report(run):
    before = (run / "metrics.jsonl").read_bytes()
    report = train(mini(), run, quiet=True)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert report == json.loads((run / "report.json").read_text())


@pytest.mark.slow
def test_killed_at_ten_random_moments_and_resumed_is_the_same_run(run, tmp_path):
    """Each attempt is forked from a process that has imported everything, so that the moments fall
    into loading, training and scoring."""
    folder, rng = tmp_path / "killed", random.Random(0)
    ready = multiprocessing.get_context("forkserver")
    ready.set_forkserver_preload(["reidlab.engine.train"])
    for _ in range(10):
        process = ready.Process(target=train, args=(mini(), folder, True))
        process.start()
        time.sleep(rng.uniform(0.2, 6))  # before, during and after training
        process.kill()
        process.join()
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corrected", "attention", "embednet_corrected"])
def test_stopped_and_resumed_is_the_same_run(tmp_path, data, name):
    short = mini(name, training__epochs=2, training__checkpoint_every=100)
    train(short, tmp_path / "whole", quiet=True)
    folder = tmp_path / "halves"
    halfway = RunFolder(folder)
    train_and_stop(short, halfway, step=4)
    assert not halfway.stop.exists() and not halfway.lock.exists() and len(rows(folder)) == 5
    train(short, folder, quiet=True)
    assert rows(folder) == rows(tmp_path / "whole")


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
    assert not list(folder.path.glob(".*"))
    folder.describe(mini())
    assert folder.config.exists()
    folder.release()
    assert not folder.lock.exists()


def held_by(folder, **writer):
    """Write a lock as another process would."""
    folder.path.mkdir(exist_ok=True)
    folder.lock.write_text(json.dumps(asdict(lock.this_process()) | writer))


def test_one_writer_a_run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = psutil.Process(sleeper.pid).create_time()
    try:
        held_by(folder, pid=sleeper.pid, started=started)
        with pytest.raises(ReidlabError, match=f"process {sleeper.pid} is training"):
            folder.start(mini())
        assert folder.writer().pid == sleeper.pid
        folder.release()                            # never another's
        assert folder.lock.exists()
    finally:
        sleeper.kill()
        sleeper.wait()
    folder.start(mini())  # a dead writer's lock does not hold
    assert folder.writer().pid == os.getpid()


def test_a_lock_whose_number_somebody_else_has_now_does_not_hold(tmp_path):
    folder = RunFolder(tmp_path / "run")
    held_by(folder, pid=os.getppid(), started=1.0)  # that number lives, but it is another process
    folder.start(mini())
    assert folder.writer() == lock.this_process()


def test_a_lock_of_another_host_is_believed_and_the_mend_is_said(tmp_path):
    folder = RunFolder(tmp_path / "run")
    held_by(folder, host="elsewhere", pid=2**22 + 1)  # no process here has that number
    with pytest.raises(ReidlabError, match=f"on elsewhere is training.*remove {folder.lock}"):
        folder.start(mini())


@pytest.mark.parametrize("text", ["", "garbage", "[]", "{}", '{"pid": 1e400, "host": 1}',
                                  '{"pid": 99999999999999999999, "host": "x", "started": 1}'])
def test_a_damaged_lock_does_not_hold(tmp_path, text):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.lock.write_text(text.replace('"x"', json.dumps(lock.this_process().host)))
    folder.start(mini())
    assert folder.writer() == lock.this_process()


def test_a_run_is_held_until_its_report_is_written(tmp_path, monkeypatch, data):
    """Released before scoring, the panel said "stopped", and a second process could start."""
    seen = []

    def scored(path, data):
        seen.append((RunFolder(path).writer(), status(path).state))
        return {}

    monkeypatch.setattr("reidlab.engine.train.evaluate", scored)
    train(mini(training__epochs=1), tmp_path / "run", quiet=True)
    assert seen == [(lock.this_process(), "scoring")]
    assert RunFolder(tmp_path / "run").writer() is None


def test_the_lock_of_a_run_killed_after_its_report_is_cleared_away(tmp_path, data):
    folder = tmp_path / "run"
    report = train(mini(training__epochs=1), folder, quiet=True)
    held_by(RunFolder(folder), pid=os.getppid(), started=1.0)
    assert train(mini(training__epochs=1), folder, quiet=True) == report
    assert not (folder / "lock").exists()


@pytest.mark.slow
def test_a_refused_start_leaves_nothing_and_does_not_block_the_corrected_command(tmp_path, data):
    folder = tmp_path / "run"
    with pytest.raises(ReidlabError, match="needs .* people"):
        train(mini(training__batch_size=1000), folder, quiet=True)
    assert not folder.exists()
    train(mini(training__epochs=1), folder, quiet=True)
    assert (folder / "report.json").exists()


def test_other_data_under_the_same_name_do_not_get_into_a_run(tmp_path, data, monkeypatch):
    folder = tmp_path / "run"
    train(mini(training__epochs=1), folder, quiet=True)
    report = (folder / "report.json").read_bytes()
    with monkeypatch.context() as changed, pytest.raises(ReidlabError, match="on other data"):
        changed.setattr("reidlab.engine.evaluate.fingerprint", lambda data: "other")
        evaluate(folder)
    assert (folder / "report.json").read_bytes() == report
    (folder / "report.json").unlink()  # not finished, then: training would go on
    monkeypatch.setattr("reidlab.engine.train.fingerprint", lambda data: "other")
    with pytest.raises(ReidlabError, match="was trained on other data"):
        train(mini(training__epochs=1), folder, quiet=True)


@pytest.mark.parametrize("damage", ["names", "moment", "shape", "step", "random"])
def test_a_checkpoint_with_damaged_progress_is_named(tmp_path, damage):
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    checkpoint.save(tmp_path / "w", {"model": layer}, optimizer, step=1, best=0.5)
    tensors, state = checkpoint.read(tmp_path / "w")
    if damage == "names":
        tensors["optimizer.x.exp_avg"] = tensors.pop("optimizer.0.exp_avg")
    elif damage == "moment":
        del tensors["optimizer.0.exp_avg_sq"]
    elif damage == "shape":
        tensors["optimizer.0.exp_avg"] = torch.ones(5)
    elif damage == "random":
        del tensors["random.torch"]
    else:
        state["step"] = -1
    save_file(tensors, tmp_path / "w", {"reidlab": json.dumps(state)})
    with pytest.raises(ReidlabError, match="cannot be read as a reidlab checkpoint"):
        checkpoint.restore(tmp_path / "w", {"model": layer}, optimizer)
