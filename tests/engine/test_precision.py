"""Every design learns in bfloat16, and no loss is taken in less than float32."""
import math
from dataclasses import dataclass

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from reidlab.losses.precision import in_full_precision
from reidlab.presets import PRESETS, preset
from reidlab.runs.folder import RunFolder
from reidlab.tasks import TASKS
from tests.conftest import MINI

FEW = {name.replace(".", "__"): value for name, value in MINI.items()
       if name.startswith("data")} | {"training__batch_size": 16}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_step_in_bfloat16_is_near_the_one_in_float32(name, tmp_path, cache):
    experiment, seen = preset(name, **FEW), {}
    for half in (False, True):
        task = TASKS[experiment.task].training(experiment, RunFolder(tmp_path / "run"),
                                               Accelerator(cpu=True))
        model = task.model.train()
        if half:  # as Accelerate has it: the forward pass alone
            model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
        torch.manual_seed(0)
        terms, _ = task.forward(model, task.batch(0, slice(0, 16), 0.9), 3, 0.9)
        terms["total"].backward()
        assert all(term.dtype == torch.float32 for term in terms.values())
        seen[half] = {key: term.item() for key, term in terms.items()}
        learned = [p for p in model.parameters() if p.grad is not None]
        assert learned and all(p.grad.isfinite().all() for p in learned)
    assert seen[True].keys() == seen[False].keys()
    assert all(math.isfinite(value) for value in seen[True].values())
    assert seen[True]["total"] == pytest.approx(seen[False]["total"], rel=0.05)
    assert seen[True] != seen[False]


def test_what_is_half_is_made_full_and_what_is_not_stays():
    @dataclass(frozen=True)
    class Out:
        half: Tensor
        whole: Tensor
        count: Tensor
        none: Tensor | None = None

    given = Out(torch.ones(2, dtype=torch.bfloat16), torch.ones(2), torch.ones(2, dtype=torch.long))
    out = in_full_precision(given)
    assert out.half.dtype == torch.float32 and torch.equal(out.half, torch.ones(2))
    assert out.whole is given.whole and out.count is given.count and out.none is None
