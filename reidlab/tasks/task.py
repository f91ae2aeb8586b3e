"""What the engine asks of a task, and what it shows of its runs."""
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from accelerate import Accelerator
from torch import Tensor, nn

from reidlab.config import Experiment, Training
from reidlab.data.folders import write_folder
from reidlab.runs.folder import RunFolder


def make_ready(model: Any, backbones: list[Any], training: Training, processes: int) -> None:
    """What a model does in training alone: share batches, save memory.

    Args:
        model: with ``share_batch`` and ``micro_batch``.
        backbones: its encoders of the library.
        training: ``gradient_checkpointing``, ``micro_batch``.
        processes: that train together.
    """
    model.micro_batch = training.micro_batch
    if training.gradient_checkpointing:
        for backbone in backbones:
            name = "activation_checkpointing_enable"  # since transformers 5.23
            if not hasattr(backbone, name):
                name = "gradient_checkpointing_enable"
            getattr(backbone, name)({"use_reentrant": False})
    if processes > 1:
        model.share_batch()


def keep_encoders(run: RunFolder, experiment: Experiment, published: dict[str, Any]) -> None:
    """Keep in a run's folder what its published encoders are: its checkpoint has their weights, so
    that neither a hub nor a folder is needed afterwards.

    Args:
        run: the folder.
        experiment: whose parts name published weights.
        published: configuration of the library by part, ``image`` and ``text``.
    """
    named = {part: config for part, config in published.items()
             if getattr(experiment, part).pretrained}
    if not run.config.exists():  # of a start that was refused or killed
        shutil.rmtree(run.encoders, ignore_errors=True)
    if named and not run.encoders.exists():
        write_folder(run.encoders, lambda folder: [
            config.save_pretrained(folder / part) for part, config in named.items()])


class TrainingTask(Protocol):
    """What the training loop asks: data, model, loss, and what happens in a step.

    Attributes:
        data: the loaded splits.
        model, loss: what is trained.
        batches_per_pass: steps that see the training split once.
    """

    data: Any
    model: Any  # a module, of the task's own class
    loss: Any
    batches_per_pass: int

    def __init__(self, experiment: Any, run: RunFolder, accelerator: Accelerator): ...

    def read(self, step: int, shard: slice, progress: float) -> Any:
        """The batch of one step, a function of the seed and the step alone; workers call it."""

    def finish(self, batch: Any, step: int) -> Any:
        """What is left to do where the model is: augmentation on the device."""

    def forward(self, model: Any, batch: Any, epoch: int, progress: float
                ) -> tuple[dict, dict[str, float | Tensor]]:
        """Loss terms of a batch, and what else is worth a line in the log, unread: nothing here
        may wait for the device."""

    def monitor(self, model: Any) -> dict[str, float]:
        """Numbers of a held-out batch."""

    def validate(self, model: Any) -> dict[str, float]:
        """Scores of the validation people; ``val/mAP`` chooses the checkpoint."""


@dataclass(frozen=True)
class Column:
    """One number of a report, as tables and figures show it.

    Attributes:
        path: keys from the report down to the number.
        unit: ``%`` for a fraction shown as percent, ``M`` for a count shown in millions.
        label, colour: of its panel in the figure of a comparison; None leaves it out there.
    """

    path: tuple[str, ...]
    unit: Literal["", "%", "M"] = ""
    label: str | None = None
    colour: str = "text"

    def value(self, report: Any) -> float | None:
        """The number; None where the report has none."""
        for key in self.path:
            if not isinstance(report, dict) or key not in report:
                return None
            report = report[key]
        return None if report is None else float(report) / (1e6 if self.unit == "M" else 1)

    def text(self, value: float) -> str:
        """The number for a table."""
        return f"{100 * value:.1f}" if self.unit == "%" else f"{value:.3f}"


COSTS = {
    "parameters (M)": Column(("parameters",), "M"),
    "step (s)": Column(("step_seconds",)),
    "memory (GB)": Column(("memory_gb",)),
}
VALIDATION = ("validation, 0 to 1", (("val/R1", "R1", "good"), ("val/mAP", "mAP", "text")))


@dataclass(frozen=True)
class Task:
    """One task, whole: the only place where the engine asks which task it is.

    Attributes:
        experiment: its config.
        load: (``experiment.data``, (height, width)) → three splits.
        build: (experiment, classes, tokenizer) → the untrained model.
        tokenizer: (experiment, folder of a run's tokenizer) → the tokenizer that its model needs,
            or None.
        training: what the training loop asks.
        scores: (experiment, model, data) → the task's part of ``report.json``.
        vectors: (experiment, model, (B, H, W, 3) uint8, modality) → (B, D) float32, what a gallery
            keeps of pictures and a photo asks with.
        parts: names of the equal parts of such a vector.
        modalities: that such pictures may have.
        table: reports → Markdown.
        columns: title → number of a report, for comparisons.
        sweep: name → number of a report, for sweeps.
        curves: panels of a training log: (title, ((logged number, legend, colour), …)).
    """

    experiment: type[Experiment]
    load: Callable[..., Any]
    build: Callable[..., nn.Module]
    tokenizer: Callable[[Any, Path], Any]
    training: type[TrainingTask]
    scores: Callable[..., dict]
    vectors: Callable[..., np.ndarray]
    parts: tuple[str, ...]
    modalities: tuple[str, ...]
    table: Callable[[list[dict]], str]
    columns: dict[str, Column]
    sweep: dict[str, Column]
    curves: tuple
