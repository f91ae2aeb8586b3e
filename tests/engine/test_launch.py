"""Training in processes of its own: two that share a batch, several in turn."""
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from reidlab.engine.launch import stop, train_all
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from tests.conftest import mini
from tests.engine.conftest import command, rows, train_and_stop


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corrected", "embednet_corrected"])
def test_two_processes_give_the_losses_of_one(tmp_path, name):
    # Adam divides each gradient by its own size, so that rounding noise in tiny gradients becomes
    # whole steps; a small rate keeps five steps comparable to the fifth digit
    changes = dict(training__epochs=1, training__batches_per_epoch=5, training__validate_every=1,
                   training__lr=1e-4)
    one, two = tmp_path / "one", tmp_path / "two"
    train(mini(name, **changes), one, quiet=True)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "--", *command(two, name, **changes)[2:]],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    shared = [json.loads((folder / "machine.json").read_text())["processes"]
              for folder in (one, two)]
    assert shared == [1, 2]
    for a, b in zip(rows(one), rows(two), strict=True):
        for name in a:
            if name.startswith("loss/"):
                # sums in another order: relative, since terms differ in size by their weights
                assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-6), (a["step"], name)
            if name.startswith("val/"):
                assert a[name] == pytest.approx(b[name], abs=0.02), (a["step"], name)
    ours, theirs = (flat(json.loads((folder / "report.json").read_text())["tables"])
                    for folder in (one, two))
    # ranks: rounding lets neighbours change places in a query or two of some hundred
    assert ours == pytest.approx(theirs, abs=0.02) and len(ours) > 20


def flat(tables, path=()):
    """``{(…, "r1"): 0.5, …}`` of nested tables."""
    if not isinstance(tables, dict):
        return {path: tables} if isinstance(tables, float) else {}
    return {k: v for name, part in tables.items() for k, v in flat(part, (*path, name)).items()}


@pytest.mark.slow
def test_a_stop_request_nobody_heard_is_void_and_a_stopped_run_is_not_done(tmp_path, cache, warm):
    """What a killed launcher leaves behind must not end the next attempt, nor pass for its end."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "stop").touch()
    train_all({"mini": (mini(), folder)})
    assert RunFolder(folder).report.exists()
    other = tmp_path / "other"
    with pytest.raises(ReidlabError, match="mini was stopped; the same command goes on"):
        train_all({"mini": (mini(training__epochs=100), other)}, every=0.2,
                  on_progress=lambda running: RunFolder(other).rows() and stop(other))
    assert RunFolder(other).rows() and not RunFolder(other).report.exists()


def test_the_first_refusal_is_told_though_the_other_run_has_no_folder_yet(tmp_path, monkeypatch):
    """One of two runs side by side is refused while the other still loads."""
    refused = [sys.executable, "-c", "raise SystemExit('reidlab: refused')"]
    loading = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = {}

    def launch(experiment, folder, threads):
        with open(tmp_path / f"{folder.name}.log", "ab") as log:
            started[folder.name] = subprocess.Popen(
                refused if folder.name == "one" else loading, stderr=log)
        return started[folder.name]

    monkeypatch.setattr("reidlab.engine.launch.launch", launch)
    with pytest.raises(ReidlabError, match="^refused$"):
        train_all({name: (mini(), tmp_path / name) for name in ("one", "two")}, at_once=2)
    assert started["two"].wait(30) == -signal.SIGTERM


@pytest.mark.slow
def test_a_batch_that_processes_cannot_share_evenly_is_refused(tmp_path):
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4",
         "-m", "--", *command(run, training__batch_size=6, data__images_per_person=3)[2:]],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode
    assert "training.batch_size 6 cannot be shared evenly by 4 processes" in done.stderr
    assert not run.exists()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_and_the_run_goes_on(tmp_path):
    """The others would wait for its rows for ever."""
    run, changes = RunFolder(tmp_path / "run"), dict(training__epochs=100,
                                                     training__checkpoint_every=2,
                                                     training__mixed_precision=True)
    launcher = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "--", *command(run.path, **changes)[2:]],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        waited = time.monotonic() + 120
        while not run.last.exists() and time.monotonic() < waited:
            time.sleep(0.1)
        ranks = [p for p in psutil.Process(launcher.pid).children(recursive=True)
                 if "reidlab" in p.cmdline() and p.environ().get("RANK")]
        assert sorted(p.environ()["RANK"] for p in ranks) == ["0", "1"]
        next(p for p in ranks if p.environ()["RANK"] == "1").kill()
        assert launcher.wait(60)
        assert psutil.wait_procs(ranks, timeout=10)[1] == []
    finally:
        launcher.kill()
    step = checkpoint.read(run.last)[1]["step"]
    assert step >= 2 and not run.report.exists()
    train_and_stop(mini(**changes), run, step=step)
    assert [row["step"] for row in run.rows()] == list(range(1, step + 2))
