"""What notebooks lean on: checked claims, shown source, and one small trained model."""
import hashlib
import inspect
import json
import time
from pathlib import Path

from IPython import get_ipython
from IPython.core.pylabtools import select_figure_formats
from IPython.display import HTML, Code, display
from matplotlib.figure import Figure

from reidlab.config.changes import to_dict
from reidlab.data.packing import cache_folder
from reidlab.engine.launch import train_all
from reidlab.engine.progress import RunsBar
from reidlab.errors import ReidlabError
from reidlab.files import read_json, write_json
from reidlab.places import figures_folder
from reidlab.presets import preset
from reidlab.runs.folder import RunFolder

COMPARE = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
           ">=": lambda a, b: a >= b, "==": lambda a, b: a == b}


def show_figures(shell) -> None:
    """Let a kernel show figures that were made without pyplot, and never as a line of text."""
    select_figure_formats(shell, {"png"})
    shell.display_formatter.formatters["text/plain"].for_type(
        Figure, lambda fig, printer, cycle: printer.text("figure"))


def show_source(thing) -> None:
    """Display the real code of a class or function."""
    display(Code(inspect.getsource(thing), language="python"))


def check(claim: str, observed, relation: str, bound, folder: Path | str | None = None) -> bool:
    """Assert a claim of the prose and show a green or red row.

    Args:
        claim: id such as ``C13.3``; prose cites it in square brackets.
        observed, bound: numbers; relation: one of < <= > >= ==.
        folder: where ``checks_13.json`` collects the outcomes; `figures_folder` by default.

    Raises:
        AssertionError: the claim does not hold, also where assertions are switched off.
    """
    holds = bool(COMPARE[relation](observed, bound))
    display(HTML(
        f"<div style='border-left:5px solid {'#0a7d4b' if holds else '#b3261e'};padding-left:8px'>"
        f"<b>{claim}</b> {_short(observed)} {relation.replace('<', '&lt;')} {_short(bound)}: "
        f"<b>{'holds' if holds else 'does not hold'}</b></div>"))
    file = Path(folder or figures_folder()) / f"checks_{claim[1:].split('.')[0]}.json"
    known = read_json(file) if file.exists() else {}
    known[claim] = {"observed": _rounded(observed), "relation": relation, "bound": bound,
                    "holds": holds}
    write_json(file, dict(sorted(known.items())))
    if not holds:
        raise AssertionError(f"{claim}: {observed} {relation} {bound} does not hold")
    return holds


def _rounded(value):
    """Six digits of a number, also of one in an array; anything else as it is."""
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _short(value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def shared_run(epochs: int = 12, seed: int = 0) -> Path:
    """The small trained run that several notebooks look at; trained on the first call.

    It is kept beside the packed pictures under a name made from its settings: other settings are
    another run. One that somebody else is training is waited for.

    Args:
        epochs: of the ``corrected`` preset at ``tiny``; 12 take about a minute on two cores.
        seed: of weights and batches.

    Returns:
        Its folder.
    """
    experiment = preset("corrected", "tiny", seed=seed, training__epochs=epochs)
    digest = hashlib.sha256(json.dumps(to_dict(experiment), sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "runs" / f"{experiment.name}-{digest[:12]}"
    run = RunFolder(folder)
    with RunsBar({"the small shared model": folder}, off=run.report.exists()) as bar:
        while not run.report.exists():
            if run.writer() is not None:
                bar(["the small shared model"])
                time.sleep(1.0)
                continue
            try:
                train_all({"the small shared model": (experiment, folder)}, at_once=1,
                          on_progress=bar)
            except ReidlabError:
                if run.writer() is None:  # somebody else was a moment quicker otherwise
                    raise
    run.refuse_another(experiment)
    return folder


if get_ipython() is not None:
    show_figures(get_ipython())
