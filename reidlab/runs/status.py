"""How a run is doing, read from its folder alone: whoever looks need not have started it."""
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from reidlab.runs.folder import RunFolder
from reidlab.runs.lock import Writer

QUIET = 60.0   # seconds without a line after which a living writer is called silent
RECENT = 50    # steps over which speed is measured


@dataclass(frozen=True)
class Status:
    """One look at a run.

    Attributes:
        state: ``nothing yet``, ``starting``, ``training``, ``silent``, ``stopping``, ``scoring``,
            ``stopped``, ``killed`` or ``finished``.
        step, steps: done, and in all (0: not known yet).
        losses: latest losses by name.
        scores: latest validation scores by name.
        pictures_a_second, seconds_left: by the latest steps; None while unknown.
        memory_gb: resident memory of the training process; None when there is none.
        idle: seconds since the log last grew.
    """

    state: str
    step: int = 0
    steps: int = 0
    losses: dict | None = None
    scores: dict | None = None
    pictures_a_second: float | None = None
    seconds_left: float | None = None
    memory_gb: float | None = None
    idle: float | None = None


def status(folder: str | Path, rows: list[dict] | None = None) -> Status:
    """Look at a run.

    Args:
        folder: of the run; it need not exist.
        rows: its log, where the caller has read it already.
    """
    run = RunFolder(folder)
    rows = run.rows() if rows is None else rows
    writer, plan = run.writer(), run.planned()
    last, steps = rows[-1] if rows else {}, plan.get("steps", 0)
    idle = time.time() - run.metrics.stat().st_mtime if run.metrics.exists() else None
    speed = _steps_a_second(rows[-RECENT:])
    step = last.get("step", 0)
    going = writer is not None and speed
    return Status(
        state=_state(run, writer, step, steps, idle), step=step, steps=steps,
        losses={k.removeprefix("loss/"): v for k, v in last.items() if k.startswith("loss/")},
        scores=next(({k.removeprefix("val/"): v for k, v in row.items() if k.startswith("val/")}
                     for row in reversed(rows) if "val/mAP" in row), None),
        pictures_a_second=speed * plan.get("batch_size", 0) if going else None,
        seconds_left=(steps - step) / speed if going and steps else None,
        memory_gb=_memory(writer), idle=idle)


def _state(run: RunFolder, writer: Writer | None, step: int, steps: int, idle: float | None) -> str:
    if writer is None:
        if run.report.exists():
            return "finished"
        if run.lock.exists():
            return "killed"
        return "stopped" if run.config.exists() else "nothing yet"
    if run.stop.exists():
        return "stopping"
    if not step:
        return "starting"
    if step == steps:
        return "scoring"
    return "silent" if idle is not None and idle > QUIET else "training"


def _steps_a_second(rows: list[dict]) -> float | None:
    """By the wall clock of the latest rows; a resumed run starts its clock again."""
    fresh = max((k for k in range(1, len(rows)) if rows[k]["seconds"] < rows[k - 1]["seconds"]),
                default=0)
    rows = rows[fresh:]
    if len(rows) < 2 or rows[-1]["seconds"] <= rows[0]["seconds"]:
        return None
    return (len(rows) - 1) / (rows[-1]["seconds"] - rows[0]["seconds"])


def _memory(writer: Writer | None) -> float | None:
    try:
        return None if writer is None or writer.elsewhere else (
            psutil.Process(writer.pid).memory_info().rss / 1e9)
    except psutil.Error:
        return None
