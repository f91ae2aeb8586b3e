"""Runs are started, stopped, resumed and watched from their folder alone."""
import gc
import json
import os
import time
import weakref

import pytest

from reidlab.runs.folder import RunFolder
from reidlab.runs.status import status
from reidlab.widgets.run_panel import RunPanel, describe
from tests.conftest import mini


def wait(panel, *states, seconds=120):
    """Look until the run is in one of `states`."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        panel.refresh()
        found = status(panel.folder.value)
        if found.state in states or panel.fault.value:
            panel.refresh()  # what was just seen may be newer than what the panel showed
            return found
        time.sleep(0.1)
    raise AssertionError(f"still {found.state}, wanted {states}")


def write_run(folder, rows, steps=10, **files):
    """A run's folder as a process would leave it."""
    run = RunFolder(folder)
    run.start(mini())
    run.describe(mini())
    run.plan.write_text(json.dumps({"steps": steps, "batch_size": 32}))
    for row in rows:
        run.log(row)
    return run


ROWS = [{"step": k + 1, "epoch": 1, "seconds": 0.5 * k, "loss/total": 5.0 - k,
         "loss/info_nce": 4.0 - k * k} for k in range(5)]


def test_status_follows_the_files(tmp_path):
    assert status(tmp_path / "none").state == "nothing yet"
    run = write_run(tmp_path / "run", [])
    assert status(run.path).state == "starting"            # this process holds the lock
    for row in ROWS:
        run.log(row)
    found = status(run.path)
    assert found.state == "training" and (found.step, found.steps) == (5, 10)
    assert found.pictures_a_second == pytest.approx(2 * 32)   # two steps a second of 32
    assert found.seconds_left == pytest.approx(2.5)
    assert found.losses == {"total": 1.0, "info_nce": -12.0}
    assert found.scores is None and found.memory_gb > 0.01
    os.utime(run.metrics, (time.time() - 100, time.time() - 100))
    assert status(run.path).state == "silent"
    assert "no line for 1" in describe(status(run.path))
    run.stop.touch()
    assert status(run.path).state == "stopping"
    run.release()
    assert status(run.path).state == "stopped" and status(run.path).seconds_left is None
    run.lock.write_text("999999999")
    assert status(run.path).state == "killed"
    run.lock.unlink()
    run.report.write_text("{}")
    assert status(run.path).state == "finished"


def test_speed_of_a_resumed_run_is_that_of_its_new_clock(tmp_path):
    again = [{"step": k + 6, "epoch": 1, "seconds": 0.1 * k, "loss/total": 1.0, "val/R1": 0.25,
              "val/mAP": 0.5} for k in range(3)]
    run = write_run(tmp_path / "run", ROWS + again)
    found = status(run.path)
    assert found.pictures_a_second == pytest.approx(320)
    assert describe(found) == ("<b>training</b> · step 8 of 10 · loss 1.000 · val R1 25.0 mAP 50.0 "
                               f"· 320 pictures/s · 0 min 00 s left · {found.memory_gb:.1f} GB")
    run.release()


@pytest.mark.slow
@pytest.mark.covers("X7")
def test_start_stop_resume_without_a_gap(tmp_path, cache, warm):
    experiment = mini(training__epochs=6)
    panel = RunPanel(experiment, tmp_path / "run", every=0.2)
    try:
        assert panel.stop_button.disabled and panel.start_button.description == "Start"
        panel.start_button.click()
        wait(panel, "training")
        drawn = panel.image.value
        panel.stop_button.click()
        stopped = wait(panel, "stopped")
        assert 0 < stopped.step < stopped.steps == 24 and panel.start_button.description == "Resume"
        panel.start_button.click()
        assert wait(panel, "finished").step == 24
        assert panel.image.value != drawn and panel.bar.value == 1.0
        assert panel.start_button.disabled and panel.stop_button.disabled
        rows = RunFolder(tmp_path / "run").rows()
        assert [row["step"] for row in rows] == list(range(1, 25))
        assert panel.still()[:4] == b"\x89PNG"
    finally:
        panel.close()


def test_attaching_watches_another_run_and_never_starts_a_second_writer(tmp_path):
    run = write_run(tmp_path / "other", ROWS)
    panel = RunPanel(mini(), tmp_path / "run", every=60)
    try:
        assert "nothing yet" in panel.line.value and not panel.image.value
        panel.folder.value = str(run.path)
        assert "step 5 of 10" in panel.line.value and panel.image.value
        assert panel.start_button.disabled        # somebody writes there
        panel.stop_button.click()
        assert run.stop.exists() and panel.stop_button.disabled
    finally:
        panel.close()
        run.release()


@pytest.mark.slow
def test_what_a_failed_run_said_last_is_shown(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    panel = RunPanel(mini(), folder, every=60)
    try:
        panel.start_button.click()
        panel._process.wait()
        panel.refresh()
        assert "holds files but no run" in panel.fault.value
    finally:
        panel.close()


def test_a_damaged_folder_is_told_and_does_not_end_the_panel(tmp_path):
    run = write_run(tmp_path / "run", ROWS)
    run.release()
    run.config.write_text("{")
    panel = RunPanel(mini(), tmp_path / "empty", every=60)
    try:
        panel.folder.value = str(run.path)
        assert "config.json" in panel.fault.value
        panel.start_button.click()
        assert "config.json" in panel.fault.value and panel._process is None
        panel.folder.value = str(tmp_path / "empty")
        assert not panel.fault.value and "nothing yet" in panel.line.value
    finally:
        panel.close()


def test_curves_are_redrawn_now_and_then_and_the_line_at_each_look(tmp_path):
    run = write_run(tmp_path / "run", ROWS[:2])
    panel = RunPanel(mini(), run.path, every=60)
    try:
        drawn = panel.image.value
        run.log(ROWS[2])
        panel.refresh()
        assert panel.image.value == drawn and "step 3 of 10" in panel.line.value
        panel.redraw = 0.0
        panel.refresh()
        assert panel.image.value != drawn
    finally:
        panel.close()
        run.release()


def test_a_second_panel_replaces_the_first_and_lets_it_go(tmp_path):
    first = RunPanel(mini(), tmp_path / "a", every=0.05)
    gone, thread = weakref.ref(first), first._thread
    second = RunPanel(mini(), tmp_path / "b", every=60)
    thread.join(5)
    assert not thread.is_alive()
    del first
    gc.collect()
    assert gone() is None
    second.close()
