"""One batch shared by several processes: gather features so that every process sees all of it.

BatchNorm and contrastive losses depend on the whole batch. Gathering pooled features, and running
heads and losses on all of them in every process, gives the numbers of a single process. Where a
BatchNorm comes before what is gathered, the processes share its sums.
"""
from dataclasses import fields
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def processes() -> int:
    """Number of processes that share a batch; 1 outside a launch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(rows: Tensor) -> Tensor:
    """(b, …) of each process → (B, …) of all, in rank order, with gradients.

    The gradient of a process's rows is the sum over processes, each of which computes the same
    loss; DistributedDataParallel's mean over processes then gives the single-process gradient.
    """
    return _Gather.apply(rows) if processes() > 1 else rows


class _Gather(torch.autograd.Function):
    """Rows of all processes; backwards, the sum of what all processes ask of the own ones."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        found = [torch.empty_like(rows, memory_format=torch.contiguous_format)
                 for _ in range(processes())]
        dist.all_gather(found, rows.contiguous())
        return torch.cat(found)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _summed(gradient).chunk(processes())[dist.get_rank()]


class _Sum(torch.autograd.Function):
    """The sum over all processes; backwards, too."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def gather_modalities(rows: Tensor, count: int, visible: int) -> Tensor:
    """`gather` for sets of rows whose visible ones come first: they do so in the whole, too.

    Args:
        rows: (S·count, …) of each process, set after set.
        count: rows of a set.
        visible: how many of them are visible.
    """
    if processes() == 1:
        return rows
    by_row = rows.unflatten(0, (-1, count)).transpose(0, 1)                   # (count, S, …)
    whole = torch.cat([gather(by_row[:visible]), gather(by_row[visible:])])
    return whole.transpose(0, 1).flatten(0, 1)


class SharedBatchNorm(_BatchNorm):
    """A BatchNorm over the rows of all processes, each of which has equally many.

    PyTorch's own, `nn.SyncBatchNorm`, refuses CPUs; this one is the same everywhere, so that a test
    without a GPU says what happens on eight.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions behind the channels."""

    def forward(self, input: Tensor) -> Tensor:
        """(R, C, …) → (R, C, …)."""
        if not self.training or processes() == 1:
            return super().forward(input)
        values, over = input.float(), [0, *range(2, input.dim())]
        count = processes() * values.numel() // values.shape[1]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        mean = _Sum.apply(values.sum(over)) / count
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(over)) / count
        with torch.no_grad():
            for kept, now in ((self.running_mean, mean),
                              (self.running_var, variance * count / (count - 1))):
                cast(Tensor, kept).lerp_(now, cast(float, self.momentum))
            cast(Tensor, self.num_batches_tracked).add_(1)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


def share_batch_norms(part: nn.Module) -> None:
    """Let every BatchNorm inside a part of a model read the rows of all processes.

    Only for parts that see a process's own rows: behind `gather` every process has them all.
    """
    for name, child in part.named_children():
        if isinstance(child, _BatchNorm):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum)
            shared.load_state_dict(child.state_dict())
            shared.train(child.training)
            for ours, theirs in zip(shared.parameters(), child.parameters(), strict=True):
                ours.requires_grad_(theirs.requires_grad)
            setattr(part, name, shared)
        else:
            share_batch_norms(child)


def nothing_of(out: Any) -> Tensor | float:
    """Zero times the sum of all that a model gave: a gradient, of zeros, for all that is behind it.

    DistributedDataParallel waits for the gradient of whatever an output depends on; a loss that
    leaves an output out would keep it waiting.

    Args:
        out: a dataclass with tensors.
    """
    if processes() == 1:
        return 0.0
    given = (getattr(out, item.name) for item in fields(out))
    return sum((0.0 * value.sum() for value in given
                if isinstance(value, Tensor) and value.requires_grad), 0.0)


def average_gradients(parameters) -> None:
    """Give every process the mean of all gradients: for what no wrapper of PyTorch looks after.

    Each process computes a loss on the whole batch, so that its own gradient is right already but
    for the order of its sums; drift over many steps would let the processes part.
    """
    if processes() > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= processes()
