"""Checkpoints are written by a thread: training waits for a copy in memory and not for the disk."""
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import nn

from reidlab.runs import checkpoint


class CheckpointWriter:
    """Writes one file after the other, each whole; what went wrong is raised at the next call."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._last: Future | None = None

    def save(self, path: Path, parts: dict[str, nn.Module], optimizer=None, random=None,
             **state) -> None:
        """`checkpoint.save`; it returns when all is copied.

        Raises:
            ReidlabError: the file before this one could not be written.
        """
        tensors = checkpoint.snapshot(parts, optimizer, random)
        self.wait()  # no more than one copy in memory beside the one just made
        self._last = self._thread.submit(checkpoint.write, path, tensors, state)

    def wait(self) -> None:
        """Until all is on disk.

        Raises:
            ReidlabError: it could not be written.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def close(self) -> None:
        """End the thread, when all is on disk or has failed."""
        self._thread.shutdown()
