"""The one training loop: CPU, one GPU, or several processes that share each batch.

What is trained is a task's business: it brings data, model, loss, batches, monitors and scores.
"""
import logging
import math
import os
import time
from collections.abc import Iterator

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reidlab.batches.loading import read_ahead, workers_here
from reidlab.config import Experiment, flatten
from reidlab.data.fingerprint import fingerprint
from reidlab.data.loading import with_absolute_source
from reidlab.encoders.pretrained import digest
from reidlab.engine.evaluate import evaluate
from reidlab.engine.memory import enough_memory, keep_freed_memory, memory
from reidlab.engine.meters import LossMeters
from reidlab.engine.optim import build_optimizer, rate_shares
from reidlab.engine.pauses import Pauses
from reidlab.engine.precision import Precision, choose, run_in_bf16
from reidlab.engine.progress import progress_bar
from reidlab.engine.start import put_start, refuse_unfit_start, with_absolute_start
from reidlab.engine.step import TrainStep, gradient_norms, read
from reidlab.engine.tracking import refuse_absent_tracker, start_tracking
from reidlab.engine.trial import unreached
from reidlab.errors import ReidlabError
from reidlab.files import write_json
from reidlab.models.dealing import together
from reidlab.runs import checkpoint
from reidlab.runs.checkpoint_writer import CheckpointWriter
from reidlab.runs.folder import RunFolder
from reidlab.tasks import TASKS, refuse_unbuildable

log = logging.getLogger(__name__)


def train(experiment: Experiment, run_dir, quiet: bool = False, tracker: str | None = None
          ) -> dict:
    """Train, or go on where the run directory's checkpoint stands, then score on test.

    Args:
        experiment: what to train.
        run_dir: folder of the run.
        quiet: no progress bar.
        tracker: ``tensorboard`` or ``wandb``, to log there, too.

    Returns:
        The final report, or ``{"stopped_at": step}`` when a stop file ended the run early. Where
        several processes share the run, only the first has the report; the others get ``{}``.

    Raises:
        ReidlabError: anything the user can fix: the folder of another run, missing data, NaN.
    """
    keep_freed_memory()
    experiment, run = with_absolute_start(with_absolute_source(experiment)), RunFolder(run_dir)
    run.refuse_another(experiment)
    run.refuse_other_weights(start_weights(experiment))
    if run.report.exists():
        run.forget_dead_writer()
        return run.scores()
    refuse_absent_tracker(tracker)
    refuse_unbuildable(experiment)
    refuse_unfit_start(experiment)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="no",  # `run_in_bf16` has its own
        log_with=tracker, project_dir=run.path if tracker else None)
    if experiment.training.batch_size % accelerator.num_processes:
        raise ReidlabError(f"training.batch_size {experiment.training.batch_size} cannot be shared "
                           f"evenly by {accelerator.num_processes} processes; choose a multiple")
    main = accelerator.is_main_process
    if main:
        run.start(experiment)
    try:
        with enough_memory():
            session = _Session(experiment, run, accelerator)
            if tracker:
                start_tracking(accelerator, experiment)
            if not session.run_steps(quiet):
                return {"stopped_at": session.step}
        accelerator.wait_for_everyone()
        if not main:
            return {}
        return evaluate(run.path, data=session.task.data)
    finally:  # the folder is this process's until the report is written
        if main:
            run.abandon()
        for sink in accelerator.trackers:
            sink.finish()


def start_weights(experiment: Experiment) -> dict[str, str]:
    """Digest of each pretrained encoder that is a folder, by the field that names it."""
    named = {name: value for name, value in flatten(experiment).items()
             if name.endswith(".pretrained")}
    return {name: found for name, value in named.items() if (found := digest(value))}


class _Session:
    """One process's share of one run."""

    def __init__(self, experiment: Experiment, run: RunFolder, accelerator: Accelerator):
        self.experiment, self.run, self.accelerator = experiment, run, accelerator
        self.task = TASKS[experiment.task].training(experiment, run, accelerator)
        self.per_epoch = experiment.training.batches_per_epoch or self.task.batches_per_pass
        self.steps = experiment.training.epochs * self.per_epoch
        self.loss = self.task.loss.to(accelerator.device)
        if not run.last.exists():
            put_start(experiment, self.task.model, self.loss)
        share = experiment.training.batch_size // accelerator.num_processes
        first = accelerator.process_index * share
        self.shard = slice(first, first + share)  # this process's rows of a batch
        self.precision = self._precision()
        if accelerator.num_processes > 1:
            accelerator.ddp_handler = DistributedDataParallelKwargs(
                find_unused_parameters=bool(unreached(self.task, self.shard, accelerator.device)))
        if self.precision.half:
            run_in_bf16(self.task.model, accelerator.device.type)
        self.parameters = [p for p in (*self.task.model.parameters(), *self.loss.parameters())
                           if p.requires_grad]
        self.model, self.optimizer = accelerator.prepare(
            self.task.model, build_optimizer(experiment.training, self.parameters, rate_shares(
                experiment.training, self.task.model.encoders)))
        self.inner = accelerator.unwrap_model(self.model)
        self.averaged = self._averaged()
        self.take_step = TrainStep(self.task, self.model, self.parameters, self.optimizer,
                                   accelerator, experiment.training, self.steps)
        self.step, self.best = 0, -1.0
        self.pauses = Pauses(run, accelerator, experiment.training)
        self.checkpoints = CheckpointWriter()
        self.unread: list[tuple[dict, torch.Tensor]] = []  # rows of steps, and whom they met
        self.meters = LossMeters(experiment.training.epochs, self.per_epoch)
        if accelerator.is_main_process:
            self._describe()
        self._resume()

    def _describe(self) -> None:
        """Say what runs here, now that it is known to be sound; other data are refused."""
        now, before = fingerprint(self.task.data), None
        if self.run.config.exists():
            before = self.run.fingerprint()
        if before not in (None, now):
            raise ReidlabError(
                f"{self.run.path} was trained on other data than {self.task.data.source} holds now "
                f"(fingerprint {before} then, {now} now); restore the data, or choose a new folder")
        self.run.describe(self.experiment, data=now, weights=start_weights(self.experiment))

    def _precision(self) -> Precision:
        """A run that goes on keeps the format that it began with; processes take the first's."""
        kept = self.run.planned().get("precision") if self.run.last.exists() else None
        found = Precision(kept == "bf16", "so it began") if kept else choose(
            self.task, self.experiment.training.mixed_precision, self.accelerator.device,
            self.shard)
        if self.accelerator.num_processes > 1:
            found = broadcast_object_list([found])[0]
        log.info("computing in %s: %s", "bfloat16" if found.half else "float32", found.why)
        return found

    def _averaged(self) -> AveragedModel | None:
        if not self.experiment.training.ema:
            return None
        made = AveragedModel(self.inner, multi_avg_fn=get_ema_multi_avg_fn(
            self.experiment.training.ema))
        if self.precision.half:
            run_in_bf16(made.module, self.accelerator.device.type)
        return made

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What resuming needs, by name."""
        averaged = {} if self.averaged is None else {"averaged": self.averaged}
        return {"model": self.inner, "loss": self.loss, **averaged}

    @property
    def judged(self) -> nn.Module:
        """The model that is watched, scored and kept: the running mean where there is one."""
        return self.inner if self.averaged is None else self.averaged.module

    def _resume(self) -> None:
        if self.run.last.exists():
            state = checkpoint.restore(self.run.last, self.parts, self.optimizer,
                                       self.accelerator.process_index)
            self.step, self.best = state["step"], state["best"]
            log.info("resumed at step %d of %d", self.step, self.steps)
        if self.accelerator.is_main_process:
            self.run.keep_until(self.step)
            if self.step < self.steps:
                write_json(self.run.plan, {
                    "steps": self.steps, "batch_size": self.experiment.training.batch_size,
                    "precision": "bf16" if self.precision.half else "float32"})

    def run_steps(self, quiet: bool) -> bool:
        """All remaining steps; False when a stop file ended them early."""
        off = quiet or not self.accelerator.is_main_process
        with progress_bar(self.experiment.name, self.steps, self.step, off) as bar:
            try:
                done = self._steps(bar)
                self.checkpoints.wait()
            finally:
                self.checkpoints.close()
            if not done:
                return False
        if self.accelerator.is_main_process:  # beside the log, which holds no number of the machine
            write_json(self.run.path / "machine.json",
                       memory() | {"processes": self.accelerator.num_processes})
        return True

    def _steps(self, bar) -> bool:
        config = self.experiment.training
        began = time.perf_counter()
        self.model.train()
        for batch in self._batches():
            batch = self.task.finish(batch, self.step)
            epoch = 1 + self.step // self.per_epoch
            row = self.take_step(self.step, batch, epoch)
            self.step += 1
            if self.averaged is not None:
                self.averaged.update_parameters(self.inner)
            self.unread.append(({"step": self.step, "epoch": epoch, "seconds": round(
                time.perf_counter() - began, 3), **row}, batch.pid))
            bar.update()
            last = self.step == self.steps
            pause = self.pauses(self.step, last)
            looking = last or self.step % config.monitor_every == 0
            validating = last or (self.step % self.per_epoch == 0
                                  and epoch % config.validate_every == 0)
            if looking or validating or pause.save or self.step % config.log_every == 0:
                rows = self._read()
                if looking:
                    log.info("%s", self.meters.line(self.step))
                    rows[-1] |= gradient_norms(self.inner) | self.task.monitor(self.judged)
                if validating:
                    rows[-1] |= self.validate()
                self._log(rows)
                bar.set_postfix_str(f"loss {rows[-1]['loss/total']:.2f}", refresh=False)
            if pause.save:
                self.save()
            if pause.stop and not last:
                return False
        return True

    def _batches(self) -> Iterator:
        """Batches of the remaining steps as bytes, this process's share of the pictures."""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.accelerator.num_processes))
        workers = workers_here(self.experiment.training.workers, here)
        return read_ahead(lambda step: self.task.read(step, self.shard, step / self.steps),
                          self.step, self.steps, workers,
                          pin=self.accelerator.device.type == "cuda")

    def _read(self) -> list[dict[str, float]]:
        """Rows of the steps since the last look; one that is no number ends the run."""
        waiting, self.unread = self.unread, []
        rows = read([row for row, _ in waiting])
        for place, row in enumerate(rows):
            wrong = next((name for name, value in row.items()
                          if name.startswith("loss/") and not math.isfinite(value)), None)
            if wrong:
                self._log(rows[:place])
                people = sorted(set(waiting[place][1].tolist()))[:8]
                raise ReidlabError(
                    f"loss term {wrong.removeprefix('loss/')} became {row[wrong]} at step "
                    f"{row['step'] - 1} (batch of training labels {people}…); lower training.lr or "
                    "set training.max_grad_norm, then resume from the last checkpoint with the "
                    "same command")
            self.meters.update(int(row["epoch"]), row)
        return rows

    def _log(self, rows: list[dict[str, float]]) -> None:
        if self.accelerator.is_main_process:
            for row in rows:
                self.run.log(row)
                self.accelerator.log(row, step=int(row["step"]))

    def validate(self) -> dict[str, float]:
        """Scores on the validation people; the best weights are kept."""
        with together():
            row = self.task.validate(self.judged)
        if row["val/mAP"] > self.best:
            self.best = row["val/mAP"]
            if self.accelerator.is_main_process:
                self.checkpoints.save(self.run.best, {"model": self.judged, "loss": self.loss},
                                      step=self.step, map=self.best)
        return row

    def save(self) -> None:
        """Write the checkpoint that resuming reads; the random states are those of all processes.
        """
        gathered = {name: self.accelerator.gather(state[None].to(self.accelerator.device))
                    for name, state in checkpoint.random_states().items()}
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.run.last, self.parts, self.optimizer, gathered,
                                  step=self.step, best=self.best)
