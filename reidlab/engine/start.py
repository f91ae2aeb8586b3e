"""Training that starts from the weights of another run: more epochs, other data, another rate."""
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from reidlab.config import Experiment
from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.tasks import CLASSIFIERS, TASKS, build

# What may stay as it is: a classifier has one row a training person, and other data have others;
# the erasure is fitted when training ends, and training does not begin with one.
PEOPLE, FITTED = ("id_classifier.", "classifier."), "concept_eraser."


def with_absolute_start(experiment: Experiment) -> Experiment:
    """The experiment with the run it starts from named from the root: it means the same anywhere.
    """
    start = experiment.training.start
    if start is None:
        return experiment
    return replace(experiment, training=replace(
        experiment.training, start=str(Path(start).expanduser().resolve())))


def refuse_unfit_start(experiment: Experiment) -> None:
    """Read the weights that training starts from and try them, before any data are touched.

    Raises:
        ReidlabError: no run there, none with weights, or weights of another design.
    """
    if experiment.training.start is None:
        return
    run = RunFolder(experiment.training.start)
    tensors, _ = checkpoint.read(run.best)
    classes = next((len(tensors[name]) for name in CLASSIFIERS if name in tensors), None)
    task = TASKS[run.experiment().task]
    if task is not TASKS[experiment.task]:
        raise ReidlabError(f"training.start {run.path} is a {run.experiment().task} run; "
                           f"{experiment.name} is of {experiment.task}: start from one of its own")
    tokenizer = task.tokenizer(run.experiment(), run.tokenizer)
    put_start(experiment, {"model": build(experiment, classes, tokenizer)})


def put_start(experiment: Experiment, parts: dict[str, nn.Module]) -> None:
    """Put the best weights of the run that training starts from into `parts`.

    A classifier of training people stays as it is where their number differs.

    Raises:
        ReidlabError: a tensor that is missing there, or of another shape.
    """
    start = experiment.training.start
    if start is None:
        return
    tensors, _ = checkpoint.read(RunFolder(start).best)
    for part, module in parts.items():
        own, given = module.state_dict(), _of(part, tensors)
        given = {name: value for name, value in given.items() if not name.startswith(FITTED)}
        unfit = [name for name, value in own.items()
                 if name not in given or given[name].shape != value.shape]
        wrong = [name for name in unfit if not name.startswith((*PEOPLE, FITTED))]
        if wrong:
            raise ReidlabError(
                f"training.start {start} does not fit {experiment.name}: {len(wrong)} of "
                f"{len(own)} tensors of the {part} are missing there or of another shape, first "
                f"{wrong[0]}; start from a run of the same design and size")
        module.load_state_dict({**given, **{name: own[name] for name in unfit}})


def _of(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items()
            if name.startswith(f"{part}.")}
