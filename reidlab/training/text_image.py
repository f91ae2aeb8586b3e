"""The text-image task: what the loop trains, watches and validates."""
import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import BertConfig, ViTConfig

from reidlab.config import Experiment
from reidlab.data.folders import write_folder
from reidlab.data.loading import load
from reidlab.data.records import Batch, TextImageData
from reidlab.data.sampling import Batches
from reidlab.disentangle.reversal import alpha_ramp
from reidlab.encoders.bert import train_tokenizer
from reidlab.encoders.pretrained import load_pretrained
from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.protocols import score_as_dressed, validation_pictures
from reidlab.evaluation.ranking import rank
from reidlab.losses.total import TotalLoss
from reidlab.models.building import build, read_tokenizer
from reidlab.runs.folder import RunFolder
from reidlab.training.monitor import Monitor

PENALISED = {"pooled": "monitor/id_cloth_cka", "embedding": "monitor/embedding_cka"}


class TextImageTask:
    """Pictures and captions, identity and clothing.

    Args:
        experiment: what to train.
        run: where the tokenizer of a run is kept.
        accelerator: device and processes.
    """

    def __init__(self, experiment: Experiment, run: RunFolder, accelerator: Accelerator):
        self.experiment, self.run, self.accelerator = experiment, run, accelerator
        for kind, part in ((ViTConfig, experiment.image), (BertConfig, experiment.text)):
            if part.pretrained:  # say what is missing before pictures are drawn for it
                load_pretrained(kind, part.pretrained)
        size = (experiment.image.height, experiment.image.width)
        self.data: TextImageData = load(experiment.data, size)
        self.batches = Batches(self.data.train, experiment)
        self.batches_per_pass = self.batches.sampler.batches_per_pass
        model = build(experiment, self.data.classes, self._tokenizer())
        if experiment.training.compile:
            model.visual_encoder.compile()
            model.text_encoder.bert.compile()
        model.text_encoder.know([c for r in self.data.train.records
                                 for c in (*r.id_captions, *r.cloth_captions)])
        self.loss = TotalLoss(
            experiment.loss, model.text_encoder.dim, experiment.heads.embedding,
            model.identity_width, self.data.classes,
            len(model.text_encoder.tokens.tokenizer))
        self.model, self.tokens = model, model.text_encoder.tokens
        self.monitor, self.progress = Monitor(self.data.val), 0.0

    def _tokenizer(self):
        """The run's own tokenizer: read from the run, else trained on the training captions."""
        if self.experiment.text.pretrained:
            return None
        if not self.run.tokenizer.exists() and self.accelerator.is_main_process:
            made = train_tokenizer([c for r in self.data.train.records for c in r.captions])
            write_folder(self.run.tokenizer, made.save_pretrained)
        self.accelerator.wait_for_everyone()
        return read_tokenizer(self.run)

    def batch(self, step: int, shard: slice, progress: float) -> Batch:
        """The batch of one step; `shard` is this process's rows."""
        return self.batches(step, shard, self.accelerator.device, progress)

    def forward(self, model: nn.Module, batch: Batch, epoch: int, progress: float
                ) -> tuple[dict, dict[str, float]]:
        """Loss terms of a batch, and what else is worth a line in the log."""
        self.progress = progress  # the clock of the next look
        reversal = alpha_ramp(epoch)
        reversed_ = self.accelerator.unwrap_model(model).set_reversal(reversal)
        out = model(batch.image, cloth_text=batch.cloth_text[batch.shard],
                    id_text=batch.id_text[batch.shard],
                    rival_text=batch.rival_text and batch.rival_text[batch.shard])
        terms = self.loss(out, batch, epoch, progress, self._words(batch))
        row = {}
        if reversed_ and self.loss.reads_clothing:
            row["reversal/alpha"] = reversal
        if out.id_logits is not None:
            right = out.id_logits.argmax(dim=1) == batch.pid
            row["train/id_accuracy"] = right.float().mean().item()
        if out.gate_weights is not None:
            row["gate/image_weight"] = out.gate_weights[:, 0].mean().item()
        return terms, row

    def _words(self, batch: Batch) -> dict | None:
        if not self.experiment.loss.weights.words and self.loss.adversary is None:
            return None
        device = self.accelerator.device
        return {"id": self.tokens.bag(batch.id_text).to(device),
                "cloth": self.tokens.bag(batch.cloth_text).to(device)}

    def look(self, model: nn.Module) -> dict[str, float]:
        """Dependence and gate on a held-out batch. The controller reads the dependence of what is
        penalised, once the penalty has set in."""
        row, control = self.monitor(model), self.loss.controller
        if control is not None:
            row["controller/multiple"] = control.look(
                row[PENALISED[self.loss.config.decouple_on]]
            ) if self.loss.ramp(self.progress) > 0 else control.multiple.item()
        return row

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Scores of the validation people as dressed."""
        erased = self.fit_erasure(model)
        found = embed(model, self.data.val, pictures=validation_pictures(self.data.val))
        asked = score_as_dressed(found, self.experiment.scoring.cloth_weight)["text_to_image"]
        report = rank(*asked)
        return erased | {"val/R1": report.r1, "val/R5": report.r5, "val/mAP": report.map,
                         "val/mINP": report.minp}

    def fit_erasure(self, model: nn.Module, most: int = 12_000) -> dict[str, float]:
        """Fit the erasure, where the model has one, on training pictures and their captions."""
        if not self.experiment.heads.erase:
            return {}
        erasure, count = model.id_erasure, len(self.data.train.records)
        erasure.reset()
        found = embed(model, self.data.train, pictures=range(0, count, -(-count // most)))
        first = np.flatnonzero(found.caption == 0)  # one caption a picture, in picture order
        erased = erasure.fit(torch.from_numpy(found.id_image),
                             torch.from_numpy(found.cloth_text[first]))
        return {"erasure/directions": erased}
