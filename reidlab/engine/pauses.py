"""What is looked at between steps by the clock: does somebody ask to stop, is a checkpoint due?"""
import time
from typing import NamedTuple

import torch
from accelerate import Accelerator

from reidlab.config import Training
from reidlab.runs.folder import RunFolder

LOOK_FOR_STOP = 0.5  # seconds between looks for the stop file


class Pause(NamedTuple):
    """What is to be done before the next step."""

    stop: bool
    save: bool


class Pauses:
    """Looks from time to time; several processes look at the same steps and get the first's answer.

    Args:
        run: whose stop file.
        accelerator: the processes.
        config: ``checkpoint_minutes``, ``checkpoint_every``, ``log_every``.
    """

    def __init__(self, run: RunFolder, accelerator: Accelerator, config: Training):
        self.run, self.accelerator, self.config = run, accelerator, config
        self.next_look, self.saved = 0.0, time.monotonic()

    def __call__(self, step: int, last: bool) -> Pause:
        """After `step` steps, the `last` of the run or not."""
        every = self.config.checkpoint_every
        save = last or bool(every and step % every == 0)
        stop = due = False
        if self.accelerator.num_processes == 1:
            now = time.monotonic()
            due = now - self.saved >= 60 * self.config.checkpoint_minutes
            if now >= self.next_look:
                self.next_look, stop = now + LOOK_FOR_STOP, self.run.stop.is_file()
        elif last or step % self.config.log_every == 0:
            stop, due = self._of_the_first()
        if stop or due or save:
            self.saved = time.monotonic()
        return Pause(stop, save or stop or due)

    def _of_the_first(self) -> list[bool]:
        """Both answers of the first process, in all of them."""
        late = time.monotonic() - self.saved >= 60 * self.config.checkpoint_minutes
        found = torch.tensor([self.run.stop.is_file(), late], device=self.accelerator.device)
        torch.distributed.broadcast(found, src=0)
        return found.tolist()
