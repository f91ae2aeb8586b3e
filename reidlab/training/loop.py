"""The one training loop: CPU, one GPU, or several processes that share each batch."""
import ctypes
import json
import logging
import math
import sys
import time

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from tqdm import tqdm
from transformers import BertTokenizer

from reidlab.config import Experiment
from reidlab.data.loading import load
from reidlab.data.records import Batch, TextImageData
from reidlab.data.sampling import Batches
from reidlab.disentangle.reversal import alpha_ramp
from reidlab.encoders.bert import train_tokenizer
from reidlab.errors import ReidlabError
from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.protocols import score_as_dressed, validation_pictures
from reidlab.evaluation.ranking import rank
from reidlab.evaluation.report import evaluate
from reidlab.files import write_json
from reidlab.losses.total import TotalLoss
from reidlab.models.building import build
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.training.monitor import Monitor, gradient_norms, memory
from reidlab.training.optim import build_optimizer, learning_rate

log = logging.getLogger(__name__)


def train(experiment: Experiment, run_dir, quiet: bool = False) -> dict:
    """Train, or go on where the run directory's checkpoint stands, then score on test.

    Args:
        experiment: what to train.
        run_dir: folder of the run.
        quiet: no progress bar.

    Returns:
        The final report, or ``{"stopped_at": step}`` when a stop file ended the run early.

    Raises:
        ReidlabError: anything the user can mend: a foreign folder, missing data, NaN.
    """
    keep_freed_memory()
    cuda = torch.cuda.is_available()
    accelerator = Accelerator(
        cpu=not cuda, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        mixed_precision="bf16" if cuda and experiment.training.mixed_precision else "no")
    run = RunFolder(run_dir)
    if accelerator.is_main_process:
        run.start(experiment)
    try:
        session = _Session(experiment, run, accelerator)
        finished = session.run_steps(quiet)
    finally:
        if accelerator.is_main_process:
            run.release()
    if not finished:
        return {"stopped_at": session.step}
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return {}
    if run.report.exists():
        return json.loads(run.report.read_text())
    return evaluate(run.path, data=session.data)


class _Session:
    """One process's share of one run."""

    def __init__(self, experiment: Experiment, run: RunFolder, accelerator: Accelerator):
        self.experiment, self.run, self.accelerator = experiment, run, accelerator
        size = (experiment.image.height, experiment.image.width)
        self.data: TextImageData = load(experiment.data, size)
        self.batches = Batches(self.data.train, experiment)
        self.per_epoch = (experiment.training.batches_per_epoch
                          or self.batches.sampler.batches_per_pass)
        self.steps = experiment.training.epochs * self.per_epoch
        model = build(experiment, self.data.classes, self._tokenizer())
        if experiment.training.compile:
            model.visual_encoder.compile()
            model.text_encoder.bert.compile()
        model.text_encoder.know([c for r in self.data.train.records
                                 for c in (*r.id_captions, *r.cloth_captions)])
        self.loss = TotalLoss(
            experiment.loss, model.text_encoder.dim, experiment.heads.embedding,
            model.identity_width, self.data.classes,
            len(model.text_encoder.tokens.tokenizer)).to(accelerator.device)
        parameters = [p for p in (*model.parameters(), *self.loss.parameters())
                      if p.requires_grad]
        self.parameters = parameters
        self.model, self.optimizer = accelerator.prepare(
            model, build_optimizer(experiment.training, parameters))
        self.inner = accelerator.unwrap_model(self.model)
        self.monitor = Monitor(self.data.val)
        self.step, self.best = 0, -1.0
        self._resume()

    def _tokenizer(self):
        """The run's own tokenizer: read from the run, else trained on the training captions."""
        if self.experiment.text.pretrained:
            return None
        if not self.run.tokenizer.exists() and self.accelerator.is_main_process:
            part = self.run.path / ".tokenizer.part"
            train_tokenizer([c for r in self.data.train.records
                             for c in r.captions]).save_pretrained(part)
            part.replace(self.run.tokenizer)
        self.accelerator.wait_for_everyone()
        return BertTokenizer.from_pretrained(self.run.tokenizer)

    @property
    def parts(self) -> dict:
        return {"model": self.inner, "loss": self.loss}

    def _resume(self) -> None:
        if self.run.last.exists():
            state = checkpoint.restore(self.run.last, self.parts, self.optimizer)
            self.step, self.best = state["step"], state["best"]
            log.info("resumed at step %d of %d", self.step, self.steps)
        if self.accelerator.is_main_process:
            self.run.keep_until(self.step)

    def run_steps(self, quiet: bool) -> bool:
        """All remaining steps; False when a stop file ended them early."""
        config, accelerator = self.experiment.training, self.accelerator
        bar = tqdm(total=self.steps, initial=self.step, disable=quiet or not
                   accelerator.is_main_process, desc=self.experiment.name, unit="step",
                   file=sys.stderr, mininterval=1.0, dynamic_ncols=True)
        share = config.batch_size // accelerator.num_processes
        shard = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
        began = time.perf_counter()
        self.model.train()
        while self.step < self.steps:
            batch = self.batches(self.step, shard, accelerator.device, self.step / self.steps)
            epoch = 1 + self.step // self.per_epoch
            row = self.train_step(batch, epoch)
            self.step += 1
            if self.step % config.monitor_every == 0 or self.step == self.steps:
                row |= gradient_norms(self.inner) | self.monitor(self.inner)
                if self.loss.controller is not None:
                    row["controller/multiple"] = self.loss.controller.look(
                        row["monitor/embedding_cka"])
            closing = self.step % self.per_epoch == 0
            if (closing and epoch % config.validate_every == 0) or self.step == self.steps:
                row |= self.validate()
            if accelerator.is_main_process:
                self.run.log({"step": self.step, "epoch": epoch,
                              "seconds": round(time.perf_counter() - began, 3), **row})
                bar.set_postfix_str(f"loss {row['loss/total']:.2f}")
                bar.update()
            stopping = self.asked_to_stop()
            if stopping or self.step % config.checkpoint_every == 0 or self.step == self.steps:
                self.save()
            if stopping and self.step < self.steps:
                bar.close()
                return False
        bar.close()
        if accelerator.is_main_process:  # beside the log, which holds no number of the machine
            write_json(self.run.path / "machine.json", memory())
        return True

    def asked_to_stop(self) -> bool:
        """Whether the stop file is there; all processes of a launch get the first one's answer."""
        found = torch.tensor([self.run.stop.exists()], device=self.accelerator.device)
        if self.accelerator.num_processes > 1:
            torch.distributed.broadcast(found, src=0)
        return bool(found.item())

    def train_step(self, batch: Batch, epoch: int) -> dict[str, float]:
        """Forward, losses, backward, one optimizer step; returns the logged numbers."""
        config, accelerator = self.experiment.training, self.accelerator
        rate = learning_rate(config, self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        reversal = alpha_ramp(epoch)
        reversed_ = self.inner.set_reversal(reversal)
        out = self.model(batch.image, cloth_text=batch.cloth_text[batch.shard],
                         id_text=batch.id_text[batch.shard],
                         rival_text=batch.rival_text and batch.rival_text[batch.shard])
        terms = self.loss(out, batch, epoch, self.step / self.steps, self._words(batch))
        values = {name: term.item() for name, term in terms.items()}
        self._refuse_nan(values, batch)
        self.optimizer.zero_grad()
        accelerator.backward(terms["total"])
        row = {f"loss/{name}": value for name, value in values.items()} | {"lr": rate}
        if reversed_:
            row["reversal/alpha"] = reversal
        if config.clip:
            row["gradient/total"] = float(
                accelerator.clip_grad_norm_(self.parameters, config.clip))
        if out.id_logits is not None:
            right = out.id_logits.argmax(dim=1) == batch.pid
            row["train/id_accuracy"] = right.float().mean().item()
        if out.gate_weights is not None:
            row["gate/image_weight"] = out.gate_weights[:, 0].mean().item()
        self.optimizer.step()
        return row

    def _words(self, batch: Batch) -> dict | None:
        if not self.experiment.loss.weights.words and self.loss.adversary is None:
            return None
        tokens, device = self.inner.text_encoder.tokens, self.accelerator.device
        return {"id": tokens.bag(batch.id_text).to(device),
                "cloth": tokens.bag(batch.cloth_text).to(device)}

    def _refuse_nan(self, values: dict[str, float], batch: Batch) -> None:
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            people = sorted(set(batch.pid.tolist()))[:8]
            raise ReidlabError(
                f"loss term {wrong[0]} became {values[wrong[0]]} at step {self.step} (batch of "
                f"training labels {people}…); lower training.lr or set training.clip, then "
                "resume from the last checkpoint with the same command")

    def validate(self) -> dict[str, float]:
        """Scores on the validation people as dressed; the best weights are kept."""
        erased = self.fit_erasure()
        found = embed(self.inner, self.data.val, pictures=validation_pictures(self.data.val))
        asked = score_as_dressed(found, self.experiment.scoring.cloth_weight)["text_to_image"]
        report = rank(*asked)
        if report.map > self.best:
            self.best = report.map
            if self.accelerator.is_main_process:
                checkpoint.save(self.run.best, self.parts, step=self.step, map=report.map)
        return erased | {"val/R1": report.r1, "val/R5": report.r5, "val/mAP": report.map,
                "val/mINP": report.minp}

    def fit_erasure(self, most: int = 6000) -> dict[str, float]:
        """Fit the erasure, where the model has one, on training pictures and their captions."""
        if not self.experiment.heads.erase:
            return {}
        erasure, count = self.inner.id_erasure, len(self.data.train.records)
        erasure.reset()
        found = embed(self.inner, self.data.train, pictures=range(0, count, -(-count // most)))
        first = np.flatnonzero(found.caption == 0)  # one caption a picture, in picture order
        erased = erasure.fit(torch.from_numpy(found.id_image),
                             torch.from_numpy(found.cloth_text[first]))
        return {"erasure/directions": erased}

    def save(self) -> None:
        """Write the checkpoint that resuming reads."""
        if self.accelerator.is_main_process:
            checkpoint.save(self.run.last, self.parts, self.optimizer, step=self.step,
                            best=self.best)


def keep_freed_memory() -> None:
    """Ask glibc not to hand freed memory back after every step.

    On CPUs a step frees and takes the same large blocks again; returning them to the system and
    getting them back zeroed costs about a fifth of the step. Other C libraries are left alone.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(-3, 1 << 30)         # M_MMAP_THRESHOLD: blocks below 1 GiB come from the heap
            mallopt(-1, (1 << 31) - 1)   # M_TRIM_THRESHOLD: and stay there
