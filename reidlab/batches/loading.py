"""Batches read ahead by workers: each is a function of its step, so that nobody has to agree."""
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reidlab.errors import ReidlabError

AHEAD = 4   # batches that each worker reads ahead
MOST = 8    # workers that are started unasked

Read = TypeVar("Read")


def read_ahead(read: Callable[[int], Read], start: int, stop: int, workers: int,
               pin: bool = False) -> Iterator[Read]:
    """``read(step)`` of the steps from `start` to `stop`, in order.

    Args:
        read: a function of the step alone.
        workers: processes that read ahead; 0 reads when it is asked.
        pin: copy into page-locked memory, from which a GPU fetches while it computes.

    Raises:
        ReidlabError: what `read` raises.
    """
    if not workers:
        for step in range(start, stop):
            yield read(step)
        return
    loader: DataLoader = DataLoader(
        _Steps(read), batch_size=None, sampler=range(start, stop), num_workers=workers,
        pin_memory=pin, prefetch_factor=AHEAD, multiprocessing_context="fork")
    for found in loader:
        if isinstance(found, _Fault):
            raise ReidlabError(found.text)
        yield found


def workers_here(asked: int | None, processes: int = 1) -> int:
    """How many workers a process starts: those asked for; else none where CPUs compute, which
    would take the cores from the model, and some for a GPU.

    Args:
        asked: ``training.workers``.
        processes: of this training on this machine.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        return 0
    if asked is not None:
        return asked
    return min(MOST, max(1, (os.cpu_count() or 1) // processes - 1)
               ) if torch.cuda.is_available() else 0


def moved(batch: Any, move: Callable[[Tensor], Tensor]) -> Any:
    """A dataclass with each of its tensors moved."""
    return replace(batch, **{item.name: move(value) for item in fields(batch)
                             if isinstance(value := getattr(batch, item.name), Tensor)})


class _Fault:
    """What a worker could not read: an exception would come back as a traceback."""

    def __init__(self, text: str):
        self.text = text


class _Steps(Dataset):
    def __init__(self, read: Callable[[int], Any]):
        self.read = read

    def __getitem__(self, step: int) -> Any:
        try:
            return self.read(step)
        except ReidlabError as fault:
            return _Fault(str(fault))
