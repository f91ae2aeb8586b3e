"""Rows that several processes embed together, each its share: no gradient, and all get all."""
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.distributed as dist
from torch import Tensor

from reidlab.models.parallel import processes

_together = ContextVar("together", default=False)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Inside, all processes embed the same rows, and each does its share of the work.

    Outside each does it all: a process that scores alone must not wait for others.
    """
    before = _together.set(True)
    try:
        yield
    finally:
        _together.reset(before)


class Deal:
    """How `count` rows are dealt out.

    Attributes:
        own: places of this process's rows: every P-th of P processes, so that shares differ by one
            row at most; all of them where nobody shares, or where there are fewer than processes.
    """

    def __init__(self, count: int):
        self.count = count
        self.shares = processes() if _together.get() and count >= processes() else 1
        self.own = range(dist.get_rank() if self.shares > 1 else 0, count, self.shares)

    def whole(self, own: Tensor) -> Tensor:
        """(n, …) of this process's rows, on the model's device → (count, …) of all, in order."""
        if self.shares == 1:
            return own
        most = -(-self.count // self.shares)
        padded = torch.cat([own, own[:1].expand(most - len(own), *own.shape[1:])]).contiguous()
        found = [torch.empty_like(padded) for _ in range(self.shares)]
        dist.all_gather(found, padded)
        return torch.stack(found, dim=1).flatten(0, 1)[:self.count]
