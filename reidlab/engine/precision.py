"""What a run computes on, and in which number format that is fastest."""
import time
from typing import Any, NamedTuple

import torch
from torch import nn

from reidlab.engine.trial import copied, one_pass

ROUNDS = 2  # steps that are timed in each format, behind one that is not


class Precision(NamedTuple):
    """Whether the model runs in bfloat16, and why."""

    half: bool
    why: str


def fast_bf16() -> bool:
    """Whether bfloat16 is the faster format here: a CUDA device, or a CPU that multiplies in it.

    Elsewhere a step in bfloat16 takes many times as long as one in float32.
    """
    return torch.cuda.is_available() or cpu_multiplies_bf16()


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products in bfloat16 (AVX-512 BF16 or AMX)."""
    return any(bool(getattr(torch.cpu, name, bool)()) for name in (
        "_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def fastest_device() -> str:
    """Where a model that nobody trains is put: the first GPU, where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """What a run computes on, as a model card says it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"a CPU, {threads} thread{'s' if threads > 1 else ''}"


def choose(task: Any, wanted: bool, device: torch.device, shard: slice = slice(None)
           ) -> Precision:
    """The format that a run's model computes in; losses are always taken in float32.

    Args:
        task: a training task; on CPUs with the instructions its first step is timed in both.
        wanted: ``training.mixed_precision``.
        device: where the model will be.
        shard: this process's rows of a batch.
    """
    if not wanted:
        return Precision(False, "training.mixed_precision is off")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(True, "this GPU multiplies in bfloat16")
        return Precision(False, "this GPU does not multiply in bfloat16")
    if not cpu_multiplies_bf16():
        return Precision(False, "this CPU does not multiply in bfloat16")
    plain, half = (seconds_a_step(task, half, shard) for half in (False, True))
    return Precision(half < plain, f"a step takes {half:.2f} s in bfloat16 and {plain:.2f} s in "
                                   "float32 here")


def seconds_a_step(task: Any, half: bool, shard: slice) -> float:
    """Forward and backward pass of a task's first batch, on copies."""
    trial = copied(task)
    if half:
        run_in_bf16(trial.model, "cpu")
    took = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        one_pass(trial, 0, 0.0, shard)
        took.append(time.perf_counter() - began)
    return min(took[1:])


def run_in_bf16(model: nn.Module, device: str) -> None:
    """Let a model's forward pass multiply in bfloat16; its weights stay in float32.

    A copy of a model holds the forward pass of what it was copied from: it is given its own.
    """
    model.__dict__.pop("forward", None)
    model.forward = torch.autocast(device, torch.bfloat16)(  # type: ignore[method-assign]
        model.forward)
