"""The two tasks, and from an experiment, or from a run on disk, to a model."""
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from reidlab.config import Experiment, flatten
from reidlab.config.changes import change
from reidlab.encoders.pretrained import weights_come_later
from reidlab.encoders.tokens import train_tokenizer
from reidlab.errors import ReidlabError
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.tasks import text_image, visible_infrared

TASKS = {task.experiment.task: task for task in (text_image.TASK, visible_infrared.TASK)}
CLASSIFIERS = ("model.id_classifier.weight", "model.classifier.weight")


def build(experiment: Experiment, classes: int | None = None, tokenizer=None) -> nn.Module:
    """The untrained model of an experiment; its seed fixes every weight.

    It seeds torch's global generator; `load` leaves that as it was.

    Args:
        experiment: what to build.
        classes: training identities C; when not given, 8000 as in the notes, or the 395 of
            SYSU-MM01.
        tokenizer: of the captions; by default the pretrained one or, from scratch, one trained
            on a sample of the synthetic world's captions.
    """
    return TASKS[experiment.task].build(experiment, classes, tokenizer)


def load_data(source: Experiment | str | Path):
    """Three splits of an experiment, or of the experiment of a run.

    Args:
        source: an experiment, or the folder of a run.

    Returns:
        ``train``, ``val`` and ``test``; of a visible-infrared experiment each has two modalities.

    Raises:
        ReidlabError: no run there, or data that cannot be used.
    """
    experiment = source if isinstance(source, Experiment) else RunFolder(source).experiment()
    size = (experiment.image.height, experiment.image.width)
    return TASKS[experiment.task].load(experiment.data, size)


def load(run_dir: str | Path, device: str | torch.device = "cpu") -> Any:
    """The best model of a run, in eval mode.

    Args:
        run_dir: folder of the run.
        device: where the weights go, such as ``cuda``; pictures handed to the model go there, too.

    Raises:
        ReidlabError: no run, no checkpoint yet, or one that does not fit; a device that is not
            here.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as fault:  # a build without CUDA asserts
        why = str(fault).splitlines()[0]
        raise ReidlabError(f"device {device} cannot be used here: {why}; take cpu") from fault
    run = RunFolder(run_dir)
    experiment = run.experiment()
    tensors, _ = checkpoint.read(run.best)
    classes = next((tensors[name].shape[0] for name in CLASSIFIERS if name in tensors), None)
    tokenizer = TASKS[experiment.task].tokenizer(experiment, run.tokenizer)
    with torch.random.fork_rng(devices=[]):  # building seeds torch's global generator
        model = _as_trained(run, experiment, classes, tokenizer)
    checkpoint.restore(run.best, {"model": model})
    return model.eval().to(device)


def _as_trained(run: RunFolder, experiment: Experiment, classes: int | None, tokenizer
                ) -> nn.Module:
    """The model of a run without its weights; what its published encoders are, its folder says."""
    flat = flatten(experiment)
    kept = {name: str(folder) for folder in run.encoders.glob("*")
            if flat.get(name := f"{folder.name}.pretrained")}
    if not kept:  # from scratch, or of a version that looked into the hub again
        return build(experiment, classes, tokenizer)
    with weights_come_later():
        return build(change(experiment, kept), classes, tokenizer)


def refuse_unbuildable(experiment: Experiment) -> None:
    """Build the model without memory or, from pretrained weights, once for good measure.

    What does not fit together, or into this machine, is told before a picture is rendered or read.

    Raises:
        ReidlabError: widths that do not divide or meet, an unknown part, too large a model, or
            pretrained weights that are missing or of another kind or shape.
    """
    parts = [part for part in (experiment.image, getattr(experiment, "text", None)) if part]
    light = not any(part.pretrained for part in parts)
    words = train_tokenizer(["a"]) if light else None
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta" if light else "cpu"):
            model = build(experiment, 2, words)
    except ReidlabError:
        raise
    except (ValueError, RuntimeError, AssertionError, ArithmeticError, TypeError) as fault:
        why = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise ReidlabError(f"{experiment.name} cannot be built at these settings: {why}; change "
                           "the widths, heads, layers or patches that differ from the preset"
                           ) from fault
    needed = 16 * sum(p.numel() for p in model.parameters())  # weights, gradients, two moments
    if needed > psutil.virtual_memory().total:
        raise ReidlabError(f"{experiment.name} needs {needed / 1e9:.0f} GB for its weights and "
                           f"their training; this machine has "
                           f"{psutil.virtual_memory().total / 1e9:.0f} GB: lower the widths")
