"""Curves in somebody else's viewer, beside the run's own log."""
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers

from reidlab.config import Experiment, flatten
from reidlab.errors import ReidlabError


def refuse_absent_tracker(name: str | None) -> None:
    """Stop before anything is done where a tracker is not installed.

    Raises:
        ReidlabError: what to install.
    """
    if name is not None and name not in {str(kind) for kind in get_available_trackers()}:
        raise ReidlabError(f"--tracker {name} needs a package that is not here: pip install "
                           f"{name}, or leave the option out; metrics.jsonl "
                           "has every number")


def start_tracking(accelerator: Accelerator, experiment: Experiment) -> None:
    """Name the run and say what it trains."""
    accelerator.init_trackers("reidlab", config={
        name: str(value) for name, value in flatten(experiment).items()})
