"""Runs that are killed, stopped, resumed, or fought over."""
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.training.loop import train
from tests.conftest import mini
from tests.training.conftest import command, rows


def test_training_again_changes_nothing_and_returns_the_report(run):
    before = (run / "metrics.jsonl").read_bytes()
    report = train(mini(), run, quiet=True)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert report == json.loads((run / "report.json").read_text())


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
