"""Batches read ahead by workers: each is a function of its step, so that nobody has to agree."""
import contextlib
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reidlab.errors import ReidlabError

AHEAD = 4   # batches that each worker reads ahead
MOST = 8    # workers that are started unasked
SMALL = 1 << 16  # bytes of a tensor that travels as a plain array

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
        pin_memory=pin, prefetch_factor=AHEAD, generator=torch.Generator(),
        multiprocessing_context="fork", worker_init_fn=_share_by_name)
    device = torch.cuda.current_device() if pin else None
    for found in _received(loader, device):
        if isinstance(found, _Fault):
            raise ReidlabError(found.text)
        yield found.opened() if isinstance(found, _Parcel) else found


def _received(loader: DataLoader, device: int | None) -> Iterator[Any]:
    """What comes from the workers, taken in by a thread: the caller finds it ready.

    With page-locked memory the loader has such a thread of its own, and this one hands over what
    that one made; it serves the `device` that is current where it is started.
    """
    ready: queue.Queue = queue.Queue(maxsize=2)
    gone, end = threading.Event(), object()

    def hand_over(found: Any) -> None:
        while not gone.is_set():
            with contextlib.suppress(queue.Full):
                return ready.put(found, timeout=0.1)

    def take_in() -> None:
        try:
            if device is not None:
                torch.cuda.set_device(device)
            for found in loader:
                hand_over(found)
                if gone.is_set():
                    return
            hand_over(end)
        except BaseException as fault:  # a worker that died: raised where batches are asked for
            hand_over(fault)
    thread = threading.Thread(target=take_in, name="batches", daemon=True)
    thread.start()
    try:
        while (found := ready.get()) is not end:
            if isinstance(found, RuntimeError) and any(
                    said in str(found) for said in ("exited unexpectedly", "killed by signal")):
                raise ReidlabError("a worker that reads batches died, as they do when memory runs "
                                   "out; lower training.workers") from found
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        gone.set()
        thread.join(5)


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


def _share_by_name(worker: int) -> None:
    """Hand tensors over by the name of their memory: by its number, the other side has to ask the
    worker, which is busy with the next batch."""
    torch.multiprocessing.set_sharing_strategy("file_system")


class _Fault:
    """What a worker could not read: an exception would come back as a traceback."""

    def __init__(self, text: str):
        self.text = text


class _Parcel:
    """A batch on its way: each tensor that is sent costs a call to the worker that made it, a
    millisecond, so that small ones travel as plain arrays."""

    def __init__(self, batch: Any):
        self.small = {item.name: value.numpy() for item in fields(batch)
                      if isinstance(value := getattr(batch, item.name), Tensor)
                      and value.numel() * value.element_size() < SMALL}
        self.batch = moved(replace(batch, **dict.fromkeys(self.small)), Tensor.share_memory_)

    def opened(self) -> Any:
        """The batch as it was."""
        return replace(self.batch, **{name: torch.from_numpy(value)
                                      for name, value in self.small.items()})

    def pin_memory(self) -> Any:
        """The batch in page-locked memory."""
        return moved(self.opened(), Tensor.pin_memory)


class _Steps(Dataset):
    def __init__(self, read: Callable[[int], Any]):
        self.read = read

    def __getitem__(self, step: int) -> Any:
        try:
            found = self.read(step)
        except ReidlabError as fault:
            return _Fault(str(fault))
        try:
            return _Parcel(found) if is_dataclass(found) else found
        except (RuntimeError, OSError) as fault:
            return _Fault(f"no shared memory for a batch ({' '.join(str(fault).split())[:80]}); "
                          "lower training.workers, or give /dev/shm more (docker: --shm-size)")
