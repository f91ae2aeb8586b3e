"""Memory of the process that trains: kept for the next step, measured, and used up."""
import contextlib
import ctypes
import resource
import sys
from collections.abc import Iterator

import torch

from reidlab.errors import ReidlabError


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


def memory() -> dict[str, float]:
    """Most memory this process has held so far, in GB: of the GPU where it trains on one."""
    if torch.cuda.is_available():
        return {"memory_gb": torch.cuda.max_memory_allocated() / 1e9}
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB elsewhere
    return {"memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Say what to lower where the memory does not do.

    Raises:
        ReidlabError: the device, or the machine, ran out of memory inside.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as fault:
        said = str(fault)
        if not (isinstance(fault, MemoryError | torch.OutOfMemoryError)
                or "can't allocate memory" in said):
            raise
        raise ReidlabError(
            f"out of memory ({' '.join(said.split())[:120] or 'MemoryError'}); lower "
            "training.batch_size, training.micro_batch or image.height, or set "
            "training.gradient_checkpointing=true") from fault
