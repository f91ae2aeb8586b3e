"""The run panel: start, stop, resume, attach; training itself is a process of its own.

Closing the page or restarting the kernel leaves the run alone; a new panel on the same folder
goes on watching.
"""
import contextlib
import subprocess
import threading
import time
from pathlib import Path

import ipywidgets
from matplotlib.figure import Figure

from reidlab.config import Experiment
from reidlab.engine.launch import finish, launch, stop
from reidlab.errors import ReidlabError
from reidlab.plots.curves import SIZE, training_curves
from reidlab.plots.style import figure
from reidlab.runs.folder import RunFolder
from reidlab.runs.status import Status, status
from reidlab.tasks import TASKS
from reidlab.widgets.panel import claim, png, shown

BUSY = ("starting", "training", "silent", "stopping", "scoring")


class RunPanel:
    """Watches one run directory and can start and stop what trains there.

    A thread reads the folder and sets the traits of widgets, which survive a page reload; it
    prints nothing.

    Args:
        experiment: what Start trains.
        folder: of the run; another one can be typed into the panel, and is then only watched,
            stopped or resumed.
        every: seconds between looks.
        redraw: seconds between pictures of a growing log; drawing takes its time from training
            on the same cores.
    """

    def __init__(self, experiment: Experiment, folder: str | Path, every: float = 2.0,
                 redraw: float = 15.0):
        claim("run panel", self)
        self.experiment, self.every, self.redraw = experiment, every, redraw
        self.start_button = ipywidgets.Button(description="Start", button_style="primary")
        self.stop_button = ipywidgets.Button(description="Stop")
        self.folder = ipywidgets.Text(value=str(folder), description="run", continuous_update=False,
                                      layout={"width": "28em"})
        self.line, self.fault = ipywidgets.HTML(), ipywidgets.HTML()
        self.bar = ipywidgets.FloatProgress(max=1.0, layout={"width": "16em"})
        self.image = ipywidgets.Image(format="png", layout={
            "max_width": "100%", "display": "none"})  # until there is something to see
        self.box = ipywidgets.VBox([
            ipywidgets.HBox([self.start_button, self.stop_button, self.folder, self.bar],
                            layout={"flex_flow": "row wrap"}),
            self.line, self.image, self.fault])
        self.start_button.on_click(self.start)
        self.stop_button.on_click(self.stop)
        self.folder.observe(self._typed, names="value")
        self._figure = figure(*SIZE)
        self._process: subprocess.Popen | None = None
        # what the picture shows, how many rows of it, and since when
        self._drawn: tuple[tuple[str, str] | None, int, float] = (None, 0, 0.0)
        self._closed, self._looking = threading.Event(), threading.Lock()
        self.refresh()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def start(self, button=None) -> None:
        """Start the run, or resume it where it stopped."""
        with self._told():
            self._process = launch(self._experiment(), self.folder.value)
            self.fault.value = ""
        self.refresh()

    def stop(self, button=None) -> None:
        """Ask the run to save and end after its step."""
        with self._told():
            if status(self.folder.value).state in BUSY:
                stop(self.folder.value)
        self.refresh()

    def _typed(self, change) -> None:
        """Attach to the run directory that was typed."""
        self.fault.value = ""
        self.refresh()

    def refresh(self) -> None:
        """Read the folder once and show what is there, or why it cannot be read."""
        with self._looking, self._told():
            rows = RunFolder(self.folder.value).rows()
            found = status(self.folder.value, rows)
            self._last_words()
            self.line.value = describe(found)
            self.bar.value = found.step / found.steps if found.steps else 0.0
            busy = found.state in BUSY
            self.start_button.disabled = busy or found.state == "finished"
            self.start_button.description = "Resume" if found.step and not busy else "Start"
            self.stop_button.disabled = not busy or found.state == "stopping"
            what, now = (self.folder.value, found.state), time.monotonic()
            before, count, since = self._drawn
            if rows and (what != before or (len(rows) > count and now - since > self.redraw)):
                self._drawn = (what, len(rows), now)
                self.image.value = png(self._curves(rows))
                self.image.layout.display = ""

    def still(self) -> bytes:
        """Line and curves as they are now (PNG), for a page that runs no widgets."""
        rows = RunFolder(self.folder.value).rows()
        with self._looking:  # the watching thread draws into the same figure
            fig = self._curves(rows)
            fig.suptitle(" · ".join(facts(status(self.folder.value, rows))))
            return png(fig)

    def show(self) -> None:
        """Display the panel in the running cell."""
        shown(self.box, self.still())

    def close(self) -> None:
        """Stop watching and take the panel off every page; the run goes on."""
        self._closed.set()
        self.start_button.on_click(self.start, remove=True)
        self.stop_button.on_click(self.stop, remove=True)
        self.folder.unobserve_all()
        for part in (self.start_button, self.stop_button, self.folder, self.bar, self.line,
                     self.image, self.fault, self.box):
            part.close()

    def _experiment(self) -> Experiment:
        run = RunFolder(self.folder.value)
        return run.experiment() if run.config.exists() else self.experiment

    def _curves(self, rows: list[dict]) -> Figure:
        experiment = self._experiment()
        return training_curves({experiment.name: rows}, TASKS[experiment.task].curves,
                               self._figure)

    def _watch(self) -> None:
        while not self._closed.wait(self.every):
            self.refresh()

    @contextlib.contextmanager
    def _told(self):
        """A fault of the folder is said in the panel; a thread or a click has nobody else."""
        try:
            yield
        except (ReidlabError, OSError, ValueError) as fault:
            self._say(fault)

    def _last_words(self) -> None:
        """What a run that was started here and failed said last."""
        if self._process is None or self._process.poll() is None:
            return
        ended, self._process = self._process, None
        try:
            finish(ended, self.folder.value)
        except ReidlabError as fault:
            self._say(fault)

    def _say(self, fault: Exception) -> None:
        self.fault.value = f"<span style='color:#b3261e'>{fault}</span>"


def describe(found: Status) -> str:
    """One line of HTML, the state in bold."""
    state, *others = facts(found)
    return " · ".join([f"<b>{state}</b>", *others])


def facts(found: Status) -> list[str]:
    """State first, then step, losses, scores, speed, time left, memory, as far as known."""
    parts = [found.state]
    if found.step:
        parts.append(f"step {found.step} of {found.steps or '?'}")
    losses = found.losses or {}
    if "total" in losses:
        parts.append(f"loss {losses['total']:.3f}")
    if found.scores:
        parts.append(f"val R1 {100 * found.scores['R1']:.1f} mAP {100 * found.scores['mAP']:.1f}")
    if found.pictures_a_second is not None:
        parts.append(f"{found.pictures_a_second:.0f} pictures/s")
    if found.seconds_left is not None:
        parts.append(f"{int(found.seconds_left) // 60} min {int(found.seconds_left) % 60:02d} s "
                     "left")
    if found.memory_gb is not None:
        parts.append(f"{found.memory_gb:.1f} GB")
    if found.state == "silent":
        parts.append(f"no line for {found.idle:.0f} s")
    return parts
