"""One bar for what takes steps."""
import io
import sys

from reidlab.engine.progress import RunsBar, progress_bar
from reidlab.files import write_json
from reidlab.runs.folder import RunFolder


def test_a_bar_over_runs_adds_up_their_steps_and_names_who_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    folders = {name: tmp_path / name for name in ("a", "b")}
    with RunsBar(folders) as bar:
        bar(["a"])
        assert (bar.bar.n, bar.bar.total) == (0, 0)
        for name, steps in (("a", 4), ("b", 10)):
            run = RunFolder(folders[name])
            write_json(run.plan, {"steps": steps, "batch_size": 2})
            for step in range(1, 4):
                run.log({"step": step, "loss/total": 0.5 * step})
        bar(["a", "b"])
        assert (bar.bar.n, bar.bar.total) == (6, 14)
        assert bar.bar.desc == "training a, b" and bar.bar.postfix == "loss 1.50"
        for name, steps in (("a", 4), ("b", 10)):
            RunFolder(folders[name]).log({"step": steps, "loss/total": 1.0})
        bar(["b"])  # a has ended, b is being scored, and nobody looked again
    assert bar.bar.desc == "all trained and scored"


def test_a_bar_is_one_line_that_is_renewed(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with progress_bar("run", 500) as bar:
        for _ in range(500):
            bar.update()
    assert shown.getvalue().count("\n") == 1 and "500/500" in shown.getvalue()


def test_the_bar_of_a_resumed_run_starts_where_the_run_stands(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar("run", 500, done=400) as bar:
        assert (bar.n, bar.total) == (400, 500)


def test_behind_a_notebook_without_a_browser_the_bar_goes_where_its_text_goes(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("REIDLAB_PROGRESS", "30")
    with progress_bar("run", 5) as bar:
        bar.update(5)
    assert "run: 100%" in shown.getvalue()


def test_the_latest_row_is_read_from_the_end_and_damage_is_passed_over(tmp_path):
    run = RunFolder(tmp_path)
    assert run.latest() == {} and run.rows() == []
    for step in range(1, 2000):
        run.log({"step": step, "loss/total": 1.0})
    with open(run.metrics, "ab") as log:
        log.write(b'{"step": 2000, "loss/to\xff\n[1]\n{"step": "x"}\n{"step": 1, "seconds": "x"}\n')
    assert run.latest() == {"step": 1999, "loss/total": 1.0} == run.rows()[-1]
    assert len(run.rows()) == 1999
