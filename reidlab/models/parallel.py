"""One batch shared by several processes: gather features so that every process sees all of it.

BatchNorm and contrastive losses depend on the whole batch. Gathering pooled features, and running
heads and losses on all of them in every process, gives the numbers of a single process.
"""
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def processes() -> int:
    """Number of processes that share a batch; 1 outside a launch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(rows: Tensor) -> Tensor:
    """(b, …) of each process → (B, …) of all, in rank order, with gradients.

    The gradient of a process's rows is the sum over processes, each of which computes the same
    loss; DistributedDataParallel's mean over processes then gives the single-process gradient.
    """
    return torch.cat(all_gather(rows.contiguous())) if processes() > 1 else rows
