"""Training in a process of its own, watched through its run directory.

A closed notebook, a dead kernel or a lost connection leaves the run alone.
"""
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from reidlab.config import Experiment
from reidlab.config.changes import to_dict
from reidlab.data.loading import with_absolute_source
from reidlab.errors import ReidlabError
from reidlab.files import write_json
from reidlab.runs.folder import RunFolder
from reidlab.tasks import refuse_unbuildable


def launch(experiment: Experiment, run_dir: str | Path, threads: int | None = None
           ) -> subprocess.Popen:
    """Start, or resume, training as ``python -m reidlab train`` in its own session.

    Args:
        experiment: any; it is handed over as ``NAME.json`` beside the run.
        run_dir: folder of the run; what the process says goes to ``NAME.log`` beside it.
        threads: CPU threads of the process; None leaves it to torch.

    Raises:
        ReidlabError: there is no room or no right to write.
    """
    run = RunFolder(run_dir)
    if run.writer() is None:  # a request to stop what no longer runs is ignored
        run.forget_stop()
    limit = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    try:
        run.path.parent.mkdir(parents=True, exist_ok=True)
        asked = run.path.with_name(f"{run.path.name}.json")
        write_json(asked, to_dict(experiment))
        with open(_log_file(run.path), "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "reidlab", "train", str(asked), "--run", str(run.path)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | limit)
    except OSError as fault:
        raise ReidlabError(f"cannot start a run in {run.path}: {fault.strerror or fault}; free "
                           "some space or choose another folder") from fault


def refuse_other_runs(runs: Mapping[str, tuple[Experiment, str | Path]]) -> None:
    """Stop when a folder holds the run of another experiment: a finished run stands for its own.

    Raises:
        ReidlabError: which folder, the fields that differ, and what to do.
    """
    for experiment, folder in runs.values():
        RunFolder(folder).refuse_another(with_absolute_source(experiment))


def train_all(runs: Mapping[str, tuple[Experiment, str | Path]],
              at_once: int | None = None, every: float = 1.0,
              on_progress: Callable[[list[str]], None] = lambda running: None) -> None:
    """Train each run that has no report yet, in a process of its own.

    A run with a report is left as it is, provided that its experiment is equal field by field.

    Args:
        runs: name → (experiment, folder of the run).
        at_once: runs that train side by side; by default one on a GPU and one a core on CPUs,
            where runs side by side do a third more than one after the other. Cores are those that
            torch uses: ``OMP_NUM_THREADS`` limits them.
        every: seconds between two calls of `on_progress`.
        on_progress: called with the names that train at the moment.

    Raises:
        ReidlabError: a folder holds another experiment, or a model cannot be built, before
            anything is trained; or a run failed or was stopped: those beside it save and end.
    """
    if at_once is not None and at_once < 1:
        raise ReidlabError(f"at least one run must train at a time; got {at_once}")
    refuse_other_runs(runs)
    waiting = [name for name, (_, folder) in runs.items() if not RunFolder(folder).report.exists()]
    for name in waiting:
        refuse_unbuildable(runs[name][0])
    cores = torch.get_num_threads()
    at_once = at_once or (1 if torch.cuda.is_available() else min(max(1, len(waiting)), cores))
    running: dict[str, subprocess.Popen] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                running[name] = launch(*runs[name], threads=max(1, cores // at_once))
            with contextlib.suppress(subprocess.TimeoutExpired):
                next(iter(running.values())).wait(every)
            on_progress(list(running))
            for name in [n for n, process in running.items() if process.poll() is not None]:
                finish(running.pop(name), runs[name][1])
                if not RunFolder(runs[name][1]).report.exists():
                    raise ReidlabError(f"{name} was stopped; the same command goes on")
    finally:
        for name, process in running.items():
            end(process, runs[name][1])


def finish(process: subprocess.Popen, run_dir: str | Path) -> None:
    """Wait for a launched run; its last words become the error when it failed."""
    if process.wait():
        said = _log_file(Path(run_dir)).read_text(errors="replace").strip().splitlines()
        raise ReidlabError(said[-1].strip().removeprefix("reidlab: ") if said else
                           f"training in {run_dir} ended with status {process.returncode}")


def end(process: subprocess.Popen, run_dir: str | Path) -> None:
    """Ask a launched run to save and end; one that has not taken its folder yet is terminated."""
    try:
        stop(run_dir)
    except FileNotFoundError:  # it still loads; nothing is lost
        process.terminate()


def stop(run_dir: str | Path) -> None:
    """Ask a run to save and end after its current step."""
    RunFolder(run_dir).stop.touch()


def _log_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")
