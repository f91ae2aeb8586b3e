"""The visible-infrared task: what the loop trains, watches and validates."""
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import nn

from reidlab.batches.visible_infrared import VisibleInfraredBatch, VisibleInfraredBatches
from reidlab.config import VisibleInfraredExperiment
from reidlab.data.loading import load_visible_infrared
from reidlab.data.packing import to_tensor
from reidlab.data.records import MODALITIES, VisibleInfraredData
from reidlab.evaluation import summary
from reidlab.evaluation.visible_infrared import (
    embed_modalities,
    gallery_vectors,
    protocol,
    score_trials,
    visible_infrared_scores,
)
from reidlab.losses.metric import modality_gap
from reidlab.losses.orthogonality import between_views
from reidlab.losses.precision import in_full_precision
from reidlab.losses.visible_infrared import VisibleInfraredLoss
from reidlab.models.cross_modal import CrossModal
from reidlab.models.modes import evaluating
from reidlab.models.parallel import nothing_of
from reidlab.models.visible_infrared import EmbedNet, build
from reidlab.runs.folder import RunFolder
from reidlab.tasks.task import COSTS, VALIDATION, Column, Task, keep_encoders, make_ready


class VisibleInfraredTraining:
    """Visible and infrared pictures of the same people.

    Args:
        experiment: what to train.
        run: where it is kept what published encoders are.
        accelerator: device and processes.
    """

    def __init__(self, experiment: VisibleInfraredExperiment, run: RunFolder,
                 accelerator: Accelerator):
        self.experiment, self.device = experiment, accelerator.device
        size = (experiment.image.height, experiment.image.width)
        with accelerator.local_main_process_first():  # who renders or decodes the pictures
            self.data: VisibleInfraredData = load_visible_infrared(experiment.data, size)
        self.batches = VisibleInfraredBatches(self.data.train, experiment)
        self.batches_per_pass = self.batches.batches_per_pass
        self.model: Any = build(experiment, self.data.classes)
        backbones = [self.model.backbone.vit] if isinstance(self.model, EmbedNet) else []
        if accelerator.is_main_process:
            keep_encoders(run, experiment, cast(CrossModal, self.model).published)
        make_ready(self.model, backbones, experiment.training, accelerator.num_processes)
        if experiment.training.compile:
            self.model.compile()
        self.loss = VisibleInfraredLoss(experiment.loss, self.model.dim)
        self.rules = protocol(experiment)
        self.held_out = [to_tensor(split.images[::max(1, len(split.records) // 128)][:128])
                         for split in (self.data.val.visible, self.data.val.infrared)]

    def read(self, step: int, shard: slice, progress: float) -> VisibleInfraredBatch:
        """The batch of one step as bytes; `shard` is this process's rows of each modality."""
        return self.batches.read(step, shard, progress)

    def finish(self, batch: VisibleInfraredBatch, step: int) -> VisibleInfraredBatch:
        """The batch on the device, augmented."""
        return self.batches.finish(batch, step, self.device)

    def forward(self, model: nn.Module, batch: VisibleInfraredBatch, epoch: int, progress: float
                ) -> tuple[dict, dict[str, float | torch.Tensor]]:
        """Loss terms of a batch, and what else is worth a line in the log, unread."""
        out = in_full_precision(model(batch.visible, batch.infrared))
        terms = self.loss(out, batch.pid, progress, batch.aligned)
        terms["total"] = terms["total"] + nothing_of(out)
        row: dict[str, float | torch.Tensor] = {}
        if out.logits is not None:
            labels = batch.pid.repeat(out.sets)
            right = out.logits.argmax(dim=1) == labels             # a label of −1 is never right
            row["train/id_accuracy"] = right.sum() / (labels >= 0).sum()
        if out.view_weights is not None:
            for name, rows in (("visible", out.view_weights[:out.visible_rows]),
                               ("infrared", out.view_weights[out.visible_rows:])):
                row |= {f"view_weights/{name}_{k}": weight
                        for k, weight in enumerate(rows.mean(dim=0).unbind())}
        return terms, row

    @torch.no_grad()
    def monitor(self, model: nn.Module) -> dict[str, float]:
        """Modality gap and similarity of the views on a held-out batch."""
        with evaluating(model):
            out = model(*(image.to(self.device) for image in self.held_out))
        found = {"monitor/modality_gap": modality_gap(out.features[:len(out.modality)],
                                                      out.modality).item()}
        if len(out.views) > 1:
            found["monitor/view_similarity"] = between_views(out.views).item()
        return found

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Scores of the validation people under the experiment's protocol."""
        features = embed_modalities(model, self.data.val, self.rules)
        found = score_trials(features, {"visible": self.data.val.visible.records,
                                        "infrared": self.data.val.infrared.records}, self.rules)
        return {"val/R1": found["r1"], "val/R5": found["r5"], "val/mAP": found["map"],
                "val/mINP": found["minp"]}


def _no_tokenizer(experiment: VisibleInfraredExperiment, folder: Path) -> None:
    return None


TEST = ("tables", "test", "infrared_to_visible")
BACK = ("tables", "test", "visible_to_infrared")
TASK = Task(
    experiment=VisibleInfraredExperiment,
    load=load_visible_infrared,
    build=build,
    tokenizer=_no_tokenizer,
    training=VisibleInfraredTraining,
    scores=visible_infrared_scores,
    vectors=gallery_vectors,
    parts=("vector",),
    modalities=MODALITIES,
    table=summary.visible_infrared,
    columns={
        "R1 infrared → visible": Column((*TEST, "r1"), "%", "R1 infrared → visible (%)", "good"),
        "mAP infrared → visible": Column((*TEST, "map"), "%", "mAP infrared → visible (%)"),
        "mINP infrared → visible": Column((*TEST, "minp"), "%"),
        "R1, re-ranked": Column(("tables", "test", "infrared_to_visible_reranked", "r1"), "%"),
        "R1 visible → infrared": Column((*BACK, "r1"), "%"),
        "mAP visible → infrared": Column((*BACK, "map"), "%"),
        "mINP visible → infrared": Column((*BACK, "minp"), "%"),
        "modality gap": Column(("modality_gap",), label="modality gap", colour="bad"),
        "view similarity": Column(
            ("view_similarity",), label="mean |cos| between views", colour="identity"
        ),
        "multiply-adds (M)": Column(("macs",), "M"),
        **COSTS,
    },
    sweep={
        "val_map": Column(("tables", "val", "infrared_to_visible", "map")),
        "test_r1": Column((*TEST, "r1")),
        "test_map": Column((*TEST, "map")),
        "test_minp": Column((*TEST, "minp")),
        "view_similarity": Column(("view_similarity",)),
    },
    curves=(
        (
            "losses (nats)",
            (
                ("loss/contrast", "cross-modality contrast", "identity"),
                ("loss/cls", "ID loss", "grey"),
                ("loss/patches", "patches of one shot", "clothing"),
            ),
        ),
        ("triplets (distance)", (("loss/triplet", "batch-hard triplets", "identity"),)),
        ("modality gap", (("monitor/modality_gap", "distance of means", "gate"),)),
        ("similarity between views", (("monitor/view_similarity", "|cos|", "text"),)),
        VALIDATION,
    ),
)
