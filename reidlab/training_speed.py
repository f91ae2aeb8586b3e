"""How fast a design trains here, and what it waits for: `reidlab bench --train DESIGN`."""
import statistics
import tempfile
import time
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.flop_counter import FlopCounterMode

from reidlab.batches.loading import read_ahead, workers_here
from reidlab.config import Experiment
from reidlab.config.changes import change
from reidlab.engine.memory import enough_memory, keep_freed_memory, memory
from reidlab.engine.optim import build_optimizer, rate_shares
from reidlab.engine.precision import choose, device_name, run_in_bf16
from reidlab.engine.step import TrainStep, read
from reidlab.errors import ReidlabError
from reidlab.runs.folder import RunFolder
from reidlab.tables import grid
from reidlab.tasks import TASKS, refuse_unbuildable

WARM_UP = 3  # steps before those that are measured
SIDE = {"cuda": 8192, "cpu": 2048}  # rows of the square product that stands for the device's peak


def measure(experiment: Experiment, steps: int = 20) -> dict[str, Any]:
    """Train some steps on few people, and measure them.

    Args:
        experiment: any; so few synthetic people are drawn as a batch needs.
        steps: that are measured, behind three that are not.

    Returns:
        ``pictures_a_second``, ``step_s`` (median), ``waiting`` (share of the time without a
        batch), ``syncs_a_step`` (times the host waited for the device; None on CPUs, where there
        is nothing to wait for), ``memory_gb`` (peak), ``flops_a_step``, ``flops_a_second``,
        ``peak_flops`` (of a large product in the same format) and ``share_of_peak``.

    Raises:
        ReidlabError: no step, a design that cannot be built, or too little memory.
    """
    if not 1 <= steps <= 100_000:
        raise ReidlabError(f"--steps must be from 1 to 100000; got {steps}")
    if experiment.data.source == "synthetic":
        experiment = change(experiment, {
            "data.people": 2 * experiment.training.batch_size,
            "data.val_people": 2, "data.test_people": 2})
    refuse_unbuildable(experiment)
    keep_freed_memory()
    with enough_memory():
        return _measured(experiment, steps)


def _measured(experiment: Experiment, steps: int) -> dict[str, Any]:
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    device = accelerator.device
    task = TASKS[experiment.task].training(experiment, _Nowhere(), accelerator)
    model, loss = task.model.to(device).train(), task.loss.to(device)
    half = choose(task, experiment.training.mixed_precision, device)
    if half.half:
        run_in_bf16(model, device.type)
    parameters = [p for p in (*model.parameters(), *loss.parameters()) if p.requires_grad]
    optimizer = build_optimizer(experiment.training, parameters,
                                rate_shares(experiment.training, model.encoders))
    total = WARM_UP + steps
    take = TrainStep(task, model, parameters, optimizer, accelerator, experiment.training, total)
    workers = workers_here(experiment.training.workers)
    batches = read_ahead(lambda step: task.read(step, slice(None), step / total), 0, total, workers,
                         pin=device.type == "cuda")
    waits, whole, syncs, flops = [], [], 0, 0.0
    for number in range(total):
        counting = number == WARM_UP - 1
        began = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - began
        counter: Any = FlopCounterMode(display=False) if counting else nullcontext()
        with counter, _Syncs(device) as seen:
            row = take(number, task.finish(batch, number), 1)
        _wait(device)
        read([row])
        if counting:
            flops = counter.get_total_flops()
        elif number >= WARM_UP:
            waits.append(waited)
            whole.append(time.perf_counter() - began)
            syncs += seen.count
    peak = peak_flops(device, half.half)
    step = statistics.median(whole)
    pictures = experiment.training.batch_size * (2 if experiment.task == "visible-infrared" else 1)
    return {
        "design": experiment.name, "size": experiment.size, "device": device_name(),
        "format": "bf16" if half.half else "float32", "why": half.why, "workers": workers,
        "batch_size": experiment.training.batch_size, "steps": steps,
        "pictures_a_second": pictures / step, "step_s": step, "waiting": sum(waits) / sum(whole),
        "syncs_a_step": syncs / steps if device.type == "cuda" else None,
        "memory_gb": memory()["memory_gb"], "flops_a_step": flops, "flops_a_second": flops / step,
        "peak_flops": peak, "share_of_peak": flops / step / peak}


def peak_flops(device: torch.device, half: bool, rounds: int = 5) -> float:
    """FLOP/s of a large product of matrices here: what a model can come near to."""
    side = SIDE.get(device.type, 2048)
    a, b = (torch.randn(side, side, device=device,
                        dtype=torch.bfloat16 if half else torch.float32) for _ in range(2))
    took = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        a @ b
        _wait(device)
        took.append(time.perf_counter() - began)
    return 2 * side ** 3 / min(took)


def markdown(found: dict[str, Any]) -> str:
    """What was measured, one row each."""
    syncs = found["syncs_a_step"]
    return grid([f"{found['design']}, {found['size']}", found["device"]], [
        ["format", f"{found['format']}: {found['why']}"],
        ["pictures a second", f"{found['pictures_a_second']:.1f}"],
        ["step, median", f"{1e3 * found['step_s']:.0f} ms, {found['batch_size']} pictures"],
        ["waiting for data", f"{100 * found['waiting']:.1f} %, {found['workers']} workers"],
        ["host waits for the device", "nothing to wait for" if syncs is None else
         f"{syncs:.1f} times a step"],
        ["peak memory", f"{found['memory_gb']:.2f} GB"],
        ["FLOP a step", f"{found['flops_a_step']:.3g}"],
        ["FLOP/s", f"{found['flops_a_second']:.3g}, {100 * found['share_of_peak']:.0f} % of a "
                   f"large product's {found['peak_flops']:.3g}"]])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


class _Syncs:
    """Counts how often the host waits for a GPU inside."""

    def __init__(self, device: torch.device):
        self.watched, self.count = device.type == "cuda", 0

    def __enter__(self):
        if self.watched:
            torch.cuda.set_sync_debug_mode("warn")
            self._caught = warnings.catch_warnings(record=True)
            self._seen = self._caught.__enter__()
            warnings.simplefilter("always")
        return self

    def __exit__(self, *fault):
        if self.watched:
            torch.cuda.set_sync_debug_mode("default")
            self.count = sum("synchroniz" in str(w.message) for w in self._seen)
            self._caught.__exit__(*fault)


class _Nowhere(RunFolder):
    """A run that keeps nothing: what a task would write goes to a folder that is thrown away."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(f"{self._folder.name}/run")
