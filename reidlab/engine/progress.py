"""One bar for whatever takes steps: a line in a terminal, a widget in a notebook.

A notebook that runs without a browser has a terminal or a file behind it: there the bar is text
as well, renewed every ``REIDLAB_PROGRESS`` seconds, which `reidlab run` sets for its kernel.
"""
import os
import sys
from pathlib import Path

from tqdm import tqdm as text_bar
from tqdm.auto import tqdm as fitting_bar

from reidlab.runs.folder import RunFolder


def progress_bar(name: str, total: int, done: int = 0, off: bool = False, unit: str = "step"):
    """A tqdm bar over `total` steps, of which `done` are behind it; `off` shows nothing."""
    every = os.environ.get("REIDLAB_PROGRESS")
    options = {"total": total, "initial": done, "disable": off, "desc": name, "unit": unit,
               "mininterval": float(every or 1.0), "miniters": 1}
    if every:
        return text_bar(**options, file=sys.stdout, ncols=100)
    return fitting_bar(**options, file=sys.stderr, dynamic_ncols=True)


class RunsBar:
    """One bar over several runs that train in processes of their own, read from their folders.

    Args:
        folders: name → folder of a run.
        off: show nothing.
    """

    def __init__(self, folders: dict[str, str | Path], off: bool = False):
        self.runs = {name: RunFolder(folder) for name, folder in folders.items()}
        self.bar = progress_bar("training", 0, off=off)

    def __call__(self, running: list[str]) -> None:
        """Look at all runs once; `running` are the names that train at the moment."""
        total = done = 0
        for name, run in self.runs.items():
            row = run.latest()
            step = row.get("step", 0)
            total, done = total + max(run.planned().get("steps", 0), step), done + step
            if name in running and "loss/total" in row:
                self.bar.set_postfix_str(f"loss {row['loss/total']:.2f}", refresh=False)
        names = f"training {', '.join(running)}" if running else "scored"
        self.bar.set_description_str(names, refresh=False)
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def __enter__(self):
        return self

    def __exit__(self, *fault) -> None:
        if self.bar.n == self.bar.total and fault[:1] == (None,):
            self.bar.set_description_str("all trained and scored", refresh=False)
        self.bar.close()
