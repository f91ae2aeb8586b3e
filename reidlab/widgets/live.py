"""Watch a run while it trains: one picture that is replaced, one line of progress."""
import contextlib
import io
import subprocess
import time
from pathlib import Path

import ipywidgets
from IPython.display import display

from reidlab.config import Experiment
from reidlab.plots.curves import training_curves
from reidlab.plots.style import figure
from reidlab.runs.folder import RunFolder
from reidlab.training.launch import finish, launch


class LiveCurves:
    """Curves of one run, redrawn from its log.

    Args:
        name: how the run is called in the legend.
        experiment: what to train.
        run_dir: its folder.
    """

    def __init__(self, name: str, experiment: Experiment, run_dir: str | Path):
        self.name, self.experiment, self.run = name, experiment, RunFolder(run_dir)
        self.image = ipywidgets.Image(format="png")
        self.line = ipywidgets.HTML()
        self._figure = figure(10.5, 2.9)

    def train(self, others: dict[str, list[dict]] | None = None, every: float = 15.0
              ) -> list[dict]:
        """Train in a process of its own, draw until it ends, and return the log.

        Args:
            others: logs of earlier runs, drawn along for comparison.
            every: seconds between looks; drawing takes its time from training on the same cores.
        """
        if self.run.report.exists():
            print(f"{self.name}: already trained in {self.run.path}")
            return self.run.rows()
        display(ipywidgets.VBox([self.line, self.image]))
        process, began = launch(self.experiment, self.run.path), time.monotonic()
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(every)
            self._look(others or {}, began)
        finish(process, self.run.path)
        return self.run.rows()

    def _look(self, others: dict, began: float) -> None:
        """Redraw and print one line."""
        rows = self.run.rows()
        if rows:
            self.image.value = as_png(training_curves({**others, self.name: rows}, self._figure))
            self.line.value = text = progress(self.name, rows)
            print(f"[{time.monotonic() - began:4.0f} s] {text}", flush=True)


def progress(name: str, rows: list[dict]) -> str:
    """One line: step, losses, the latest validation scores."""
    last = rows[-1]
    seen = next((row for row in reversed(rows) if "val/mAP" in row), None)
    text = f"{name}: step {last['step']}, loss {last['loss/total']:.3f}"
    return text + (f", val R1 {100 * seen['val/R1']:.1f} mAP {100 * seen['val/mAP']:.1f}"
                   if seen else "")


def as_png(fig) -> bytes:
    """PNG bytes of a figure."""
    out = io.BytesIO()
    fig.savefig(out, format="png")
    return out.getvalue()
