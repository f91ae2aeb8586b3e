"""The text-image task: what the loop trains, watches and validates."""
import logging
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from torch import nn

from reidlab.batches.text_image import Batch, Batches
from reidlab.config import TextImageExperiment
from reidlab.data.folders import write_folder
from reidlab.data.loading import load_text_image, silent_splits
from reidlab.data.records import TextImageData
from reidlab.disentangle.reversal import alpha_ramp
from reidlab.encoders.tokens import read_tokenizer, train_tokenizer
from reidlab.errors import ReidlabError
from reidlab.evaluation import summary
from reidlab.evaluation.clothes_changing import outfit_tables
from reidlab.evaluation.embeddings import (
    Embeddings,
    embed,
    embed_images,
    embed_texts,
    gallery_vectors,
)
from reidlab.evaluation.monitor import Monitor
from reidlab.evaluation.ranking import retrieval_metrics
from reidlab.evaluation.text_image import (
    score_same_clothes,
    text_image_scores,
    validation_pictures,
)
from reidlab.losses.precision import in_full_precision
from reidlab.losses.text_image import SAID, TextImageLoss
from reidlab.models.concept_erasure import ConceptEraser
from reidlab.models.parallel import nothing_of
from reidlab.models.text_image import TextImageModel, build
from reidlab.runs.folder import RunFolder
from reidlab.tasks.task import COSTS, VALIDATION, Column, Task, keep_encoders, make_ready

PENALISED = {"pooled": "monitor/id_cloth_cka", "embedding": "monitor/embedding_cka"}

log = logging.getLogger(__name__)


class TextImageTraining:
    """Pictures and captions, identity and clothing.

    Args:
        experiment: what to train.
        run: where the tokenizer of a run is kept.
        accelerator: device and processes.
    """

    def __init__(self, experiment: TextImageExperiment, run: RunFolder, accelerator: Accelerator):
        self.experiment, self.run, self.accelerator = experiment, run, accelerator
        size = (experiment.image.height, experiment.image.width)
        refuse_unsaid(experiment)
        with accelerator.local_main_process_first():  # who renders or decodes the pictures
            self.data: TextImageData = load_text_image(experiment.data, size)
        self.by_outfits = (experiment.heads.erasure == "outfits"
                           and not (self.data.train.outfits < 0).any())
        if experiment.heads.concept_erasure and not self.by_outfits:
            log.info("clothing is erased by what clothing captions show%s",
                     "" if experiment.heads.erasure == "captions" else
                     f": {self.data.source} does not say who wears what")
        self.batches = Batches(self.data.train, experiment)
        self.batches_per_pass = self.batches.sampler.batches_per_pass
        model = build(experiment, self.data.classes, self._tokenizer())
        if experiment.training.compile:
            model.visual_encoder.compile()
            model.text_encoder.bert.compile()
        learning = [model.visual_encoder]
        if experiment.text.trainable:
            learning.append(model.text_encoder.bert)
        make_ready(model, learning, experiment.training, accelerator.num_processes)
        model.text_encoder.cache_texts([c for r in self.data.train.records
                                 for c in (*r.id_captions, *r.cloth_captions)])
        self.loss = TextImageLoss(
            experiment.loss, model.text_encoder.dim, experiment.heads.embedding,
            model.identity_width, self.data.classes,
            len(model.text_encoder.tokens.tokenizer))
        self.model, self.tokens = model, model.text_encoder.tokens
        if accelerator.is_main_process:
            keep_encoders(run, experiment, model.published)
            if not run.tokenizer.exists():
                write_folder(run.tokenizer, self.tokens.tokenizer.save_pretrained)
        self.held_out, self.progress = Monitor(self.data.val), 0.0

    def _tokenizer(self):
        """The run's own tokenizer: read from the run, else that of the run it starts from, else
        trained on the training captions."""
        start = self.experiment.training.start
        if self.experiment.text.pretrained:
            return None
        if not self.run.tokenizer.exists() and self.accelerator.is_main_process:
            made = (read_tokenizer(RunFolder(start).tokenizer) if start else train_tokenizer(
                [c for r in self.data.train.records for c in r.captions]))
            write_folder(self.run.tokenizer, made.save_pretrained)
        self.accelerator.wait_for_everyone()
        return read_tokenizer(self.run.tokenizer)

    def read(self, step: int, shard: slice, progress: float) -> Batch:
        """The batch of one step as bytes; `shard` is this process's rows."""
        return self.batches.read(step, shard, self.loss.needs_negatives(step, progress))

    def finish(self, batch: Batch, step: int) -> Batch:
        """The batch on the device, augmented."""
        return self.batches.finish(batch, step, self.accelerator.device)

    def forward(self, model: nn.Module, batch: Batch, epoch: int, progress: float
                ) -> tuple[dict, dict[str, float | torch.Tensor]]:
        """Loss terms of a batch, and what else is worth a line in the log, unread."""
        self.progress = progress  # the clock of the next look
        reversal = alpha_ramp(epoch - 1)  # its own epochs start at 0
        reversed_ = self.accelerator.unwrap_model(model).set_reversal(reversal)
        out = in_full_precision(model(
            batch.image, cloth_text=batch.cloth_text[batch.shard],
            id_text=batch.id_text[batch.shard],
            negative_text=batch.negative_text and batch.negative_text[batch.shard]))
        terms = self.loss(out, batch, epoch, progress, self._words(batch))
        terms["total"] = terms["total"] + nothing_of(out)
        row: dict[str, float | torch.Tensor] = {**self.loss.schedules(epoch, progress)}
        if reversed_ and self.loss.reads_clothing:
            row["reversal/alpha"] = reversal
        if out.id_logits is not None:
            right = out.id_logits.argmax(dim=1) == batch.pid
            row["train/id_accuracy"] = right.float().mean()
        if out.gate_weights is not None:
            row["gate/image_weight"] = out.gate_weights[:, 0].mean()
        return terms, row

    def _words(self, batch: Batch) -> dict | None:
        if not self.experiment.loss.weights.words and self.loss.adversary is None:
            return None
        device = self.accelerator.device
        return {"id": self.tokens.bag(batch.id_text, device),
                "cloth": self.tokens.bag(batch.cloth_text, device)}

    def monitor(self, model: TextImageModel) -> dict[str, float]:
        """Dependence and gate on a held-out batch. The controller reads the dependence of what is
        penalised, once the penalty has set in."""
        row, control = self.held_out(model), self.loss.controller
        if control is not None:
            row["controller/multiple"] = control.update(
                row[PENALISED[self.loss.config.decouple_on]]
            ) if self.loss.ramp(self.progress) > 0 else control.multiple.item()
        return row

    def validate(self, model: TextImageModel) -> dict[str, float]:
        """Scores of the validation people in the described clothes."""
        erased = self.fit_concept_eraser(model)
        if not self.loss.reads_words:
            return erased | self._by_pictures(embed(model, self.data.val))
        found = embed(model, self.data.val, pictures=validation_pictures(self.data.val))
        asked = score_same_clothes(found, self.experiment.scoring.cloth_weight)["text_to_image"]
        report = retrieval_metrics(*asked)
        return erased | {"val/R1": report.r1, "val/R5": report.r5, "val/mAP": report.map,
                         "val/mINP": report.minp}

    def _by_pictures(self, found: Embeddings) -> dict[str, float]:
        """Scores of val pictures in other outfits; where nobody can be asked so, of all."""
        tables = outfit_tables(found, self.data.source)
        if not tables:
            raise ReidlabError(f"{self.data.source} has no val person in two pictures, by which a "
                               "checkpoint could be chosen; add some")
        scored = tables.get("clothes_changing", tables[next(iter(tables))])
        return {f"val/{name}": scored[key] for name, key in (
            ("R1", "r1"), ("R5", "r5"), ("mAP", "map"), ("mINP", "minp"))}

    def fit_concept_eraser(self, model: TextImageModel, most: int = 12_000
                           ) -> dict[str, float]:
        """Fit the erasure, where the model has one, on training pictures."""
        if not self.experiment.heads.concept_erasure:
            return {}
        erasure, train = cast(ConceptEraser, model.concept_eraser), self.data.train
        erasure.reset()
        chosen = range(0, len(train.records), -(-len(train.records) // most))
        identity = torch.from_numpy(embed_images(model, train.images, chosen)[0])
        records = [train.records[k] for k in chosen]
        if self.by_outfits:
            erased = erasure.fit_sparing(
                identity, torch.tensor([r.pid for r in records]),
                torch.tensor([r.outfit for r in records]), self.experiment.heads.erasure_kept)
        else:
            said = [r.cloth_captions[0] for r in records]
            if not any(said):
                return {}
            erased = erasure.fit(identity, torch.from_numpy(
                embed_texts(model, said, model.cloth_heads)))
        return {"concept_erasure/directions": erased}


def refuse_unsaid(experiment: TextImageExperiment) -> None:
    """Stop where terms read words and the data have none.

    Raises:
        ReidlabError: which terms.
    """
    weights = {name for name, weight in vars(experiment.loss.weights).items() if weight}
    if (reading := sorted(SAID & weights)) and (silent := silent_splits(experiment.data)):
        raise ReidlabError(f"{experiment.data.source} has no captions in {' and '.join(silent)}, "
                           f"which {experiment.name} "
                           f"reads (loss.weights of {', '.join(reading)}); train clothes_changing")


def _tokenizer(experiment: TextImageExperiment, folder: Path):
    """A run's own; None for runs that left a published one beside its weights."""
    return None if experiment.text.pretrained and not folder.exists() else read_tokenizer(folder)


SAME_CLOTHES = ("tables", "test", "same_clothes")
CHANGING = ("tables", "test", "clothes_changing")
UPPER_COLOUR = ("identity", "outfit/upper_colour", "above_chance")
TASK = Task(
    experiment=TextImageExperiment,
    load=load_text_image,
    build=build,
    tokenizer=_tokenizer,
    training=TextImageTraining,
    scores=text_image_scores,
    vectors=gallery_vectors,
    parts=("identity", "clothing"),
    modalities=("visible",),
    table=summary.text_image,
    columns={
        "R1 text → image": Column(
            (*SAME_CLOTHES, "text_to_image", "r1"), "%", "R1 text → image (%)"
        ),
        "mAP text → image": Column((*SAME_CLOTHES, "text_to_image", "map"), "%"),
        "R1 re-ranked": Column(
            ("tables", "test", "same_clothes_reranked", "text_to_image", "r1"), "%"
        ),
        "R1 image → text": Column((*SAME_CLOTHES, "image_to_text", "r1"), "%"),
        "R1 ID caption → image, clothes-changing": Column((*CHANGING, "text_to_image", "r1"), "%"),
        "R1 image → image, clothes-changing": Column(
            (*CHANGING, "image_to_image", "r1"),
            "%",
            "R1 image → image,\nclothes-changing (%)",
            "good",
        ),
        "mAP image → image, clothes-changing": Column((*CHANGING, "image_to_image", "map"), "%"),
        "same outfit @1, image → image": Column(
            (*CHANGING, "image_to_image", "same_outfit_at_1"), "%"
        ),
        "nearest-centroid ID accuracy": Column(("identification", "accuracy"), "%"),
        "upper colour in identity": Column(
            ("probes", "factors", *UPPER_COLOUR),
            label="upper colour read from\nidentity, above chance",
            colour="bad",
        ),
        "the same, MLP": Column(("probes", "mlp", *UPPER_COLOUR)),
        "clothing in identity": Column(
            ("probes", "matrix", "identity", "clothing", "above_chance")
        ),
        "identity in identity": Column(
            ("probes", "matrix", "identity", "identity", "above_chance"),
            label="identity factors read from\nidentity, above chance",
            colour="identity",
        ),
        "identity in clothing": Column(
            ("probes", "matrix", "clothing", "identity", "above_chance")
        ),
        "clothing in clothing": Column(
            ("probes", "matrix", "clothing", "clothing", "above_chance")
        ),
        "upper colour in tokens": Column(("probes", "baselines", "tokens", *UPPER_COLOUR[1:])),
        "the same, random projection": Column(
            ("probes", "baselines", "random projection", *UPPER_COLOUR[1:])
        ),
        "unbiased CKA": Column(("dependence", "cka")),
        **COSTS,
    },
    sweep={
        "val_map": Column(("tables", "val", "same_clothes", "text_to_image", "map")),
        "test_r1": Column((*SAME_CLOTHES, "text_to_image", "r1")),
        "test_map": Column((*SAME_CLOTHES, "text_to_image", "map")),
        "leak": Column(("probes", "factors", *UPPER_COLOUR)),
    },
    curves=(
        ("identity loss (nats)", (("loss/info_nce", "InfoNCE image–text", "identity"),)),
        ("clothing loss (nats)", (("loss/cloth_match", "match image–text", "clothing"),)),
        (
            "dependence, 0 to 1",
            (
                ("monitor/embedding_cka", "unbiased CKA", "identity"),
                ("monitor/embedding_abs_cosine", "|cos|", "grey"),
            ),
        ),
        (
            "gate, 0 to 1",
            (
                ("gate/mean", "weight of identity", "gate"),
                ("gate/image_weight", "weight of the picture", "text"),
            ),
        ),
        VALIDATION,
    ),
)
