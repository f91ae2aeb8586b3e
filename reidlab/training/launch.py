"""Training in a process of its own, watched through its run directory.

A closed notebook, a dead kernel or a lost connection leaves the run alone.
"""
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from reidlab.config import Experiment, flatten
from reidlab.errors import ReidlabError
from reidlab.presets import preset
from reidlab.runs.folder import RunFolder


def launch(experiment: Experiment, run_dir: str | Path, threads: int | None = None
           ) -> subprocess.Popen:
    """Start, or resume, training as ``python -m reidlab train`` in its own session.

    Args:
        experiment: made from a preset; what differs from the preset is handed over field by field.
        run_dir: folder of the run; what the process says goes to ``NAME.log`` beside it.
        threads: CPU threads of the process; None leaves it to torch.
    """
    plain = flatten(preset(experiment.name, experiment.size))
    changed = [f"--set={name}={value}" for name, value in flatten(experiment).items()
               if value != plain[name] and name not in ("seed", "data.source")]
    folder = Path(run_dir)
    if RunFolder(folder).writer() is None:  # a request to stop what no longer runs is void
        RunFolder(folder).stop.unlink(missing_ok=True)
    log_file = folder.with_name(f"{folder.name}.log")
    folder.parent.mkdir(parents=True, exist_ok=True)
    limit = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    with open(log_file, "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "reidlab", "train", experiment.name, "--run", str(folder),
             "--size", experiment.size, "--seed", str(experiment.seed),
             "--data", experiment.data.source, *changed],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | limit)


def train_all(runs: dict[str, tuple[Experiment, str | Path]], at_once: int | None = None,
              every: float = 15.0, look: Callable[[list[str]], None] = lambda running: None
              ) -> None:
    """Train each run that has no report yet, in a process of its own.

    Args:
        runs: name → (experiment, folder of the run).
        at_once: runs that train side by side; by default one on a GPU and one a core on CPUs,
            where runs side by side do a third more than one after the other. Cores are those that
            torch uses: ``OMP_NUM_THREADS`` limits them.
        every: seconds between looks.
        look: called with the names that train at the moment.

    Raises:
        ReidlabError: a run failed or was stopped; those beside it save and end.
    """
    waiting = [name for name, (_, folder) in runs.items() if not RunFolder(folder).report.exists()]
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
            look(list(running))
            for name in [n for n, process in running.items() if process.poll() is not None]:
                finish(running.pop(name), runs[name][1])
                if not RunFolder(runs[name][1]).report.exists():
                    raise ReidlabError(f"{name} was stopped; the same command goes on")
    finally:
        for name in running:
            stop(runs[name][1])


def finish(process: subprocess.Popen, run_dir: str | Path) -> None:
    """Wait for a launched run; its last words become the error when it failed."""
    if process.wait():
        log_file = Path(run_dir).with_name(f"{Path(run_dir).name}.log")
        raise ReidlabError(log_file.read_text().strip().splitlines()[-1].strip()
                           if log_file.stat().st_size else f"training ended {process.returncode}")


def stop(run_dir: str | Path) -> None:
    """Ask a run to save and end after its current step."""
    RunFolder(run_dir).stop.touch()
