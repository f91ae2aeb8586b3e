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
    put_start(experiment, build(experiment, classes, tokenizer))


def put_start(experiment: Experiment, model: nn.Module, loss: nn.Module | None = None) -> None:
    """Put the best weights of the run that training starts from into a model, and into a loss.

    A classifier of training people stays as it is where their number differs. Of the loss what
    fits is taken: another training may have other terms.

    Raises:
        ReidlabError: a tensor of the model that is missing on one side, or of another shape.
    """
    start = experiment.training.start
    if start is None:
        return
    tensors, _ = checkpoint.read(RunFolder(start).best)
    fitting, other = _fitting(model, "model", tensors)
    wrong = [name for name in other if not name.startswith((*PEOPLE, FITTED))]
    if wrong:
        raise ReidlabError(
            f"training.start {start} does not fit {experiment.name}: {len(wrong)} tensors are "
            f"missing on one side or of another shape, first {wrong[0]}; start from a run of the "
            "same design and size")
    model.load_state_dict({**model.state_dict(), **fitting})
    if loss is not None:
        loss.load_state_dict({**loss.state_dict(), **_fitting(loss, "loss", tensors)[0]})


def _fitting(module: nn.Module, part: str, tensors: dict[str, Tensor]
             ) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of a checkpoint's part that a module takes, and the names of all others."""
    own, given = module.state_dict(), {
        name.removeprefix(f"{part}."): value for name, value in tensors.items()
        if name.startswith(f"{part}.")}
    fitting = {name: value for name, value in given.items() if name in own
               and value.shape == own[name].shape and not name.startswith(FITTED)}
    return fitting, [name for name in {**own, **given} if name not in fitting]
