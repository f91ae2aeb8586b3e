"""A training step never waits for its device, and runs in half precision."""
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.optim import adam

from reidlab.engine.optim import build_optimizer
from reidlab.engine.step import TrainStep, read
from reidlab.engine.train import train
from reidlab.presets import text_image, visible_infrared
from reidlab.runs.folder import RunFolder
from reidlab.tasks import TASKS
from tests.conftest import mini
from tests.engine.conftest import rows

DESIGNS = [*text_image.DESIGNS, "baseline", *visible_infrared.DESIGNS]


def at(device: str):
    """What of an accelerator a task and a step use, on any device."""
    return SimpleNamespace(
        device=torch.device(device), num_processes=1, process_index=0, is_main_process=True,
        local_main_process_first=nullcontext,
        unwrap_model=lambda model: model, wait_for_everyone=lambda: None,
        backward=lambda loss: loss.backward(), clip_grad_norm_=torch.nn.utils.clip_grad_norm_)


def prepared(experiment, folder, device="cpu"):
    """The task of an experiment on a device, and its step."""
    accelerator = at(device)
    task = TASKS[experiment.task].training(experiment, RunFolder(folder), accelerator)
    task.model.to(device).train()
    task.loss.to(device)
    parameters = [p for p in (*task.model.parameters(), *task.loss.parameters())
                  if p.requires_grad]
    optimizer = build_optimizer(experiment.training, parameters)
    return task, TrainStep(task, task.model, parameters, optimizer, accelerator,
                           experiment.training, steps=12)


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_a_whole_step_runs_where_whoever_waits_for_the_device_fails(name, tmp_path, cache,
                                                                    monkeypatch):
    """Tensors of PyTorch's `meta` device hold no numbers: to ask for one is an error, and so is
    an operand that was left on the host."""
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *given, **more: None)
    monkeypatch.setattr(adam, "_fused_adam", lambda *given, **more: None)
    task, step = prepared(mini(name), tmp_path, "meta")
    for number in (0, 11):  # at the start, and with everything that sets in later
        batch = task.finish(task.read(number, slice(None), number / 12), number)
        row = step(number, batch, epoch=number // 4 + 1)
    assert row["loss/total"].device.type == "meta"
    with pytest.raises(RuntimeError, match="meta"):
        read([row])


@pytest.mark.parametrize("name", ["corrected", "embednet_corrected"])
def test_a_step_whose_loss_is_no_number_leaves_the_weights_as_they_are(name, tmp_path, cache):
    task, step = prepared(mini(name), tmp_path)
    step(0, task.finish(task.read(0, slice(None), 0.0), 0), 1)
    before = [p.detach().clone() for p in step.parameters]
    forward = task.forward
    task.forward = lambda *given: ({"total": forward(*given)[0]["total"] * torch.nan}, {})
    row = step(1, task.finish(task.read(1, slice(None), 0.1), 1), 1)
    assert not row["loss/total"].isfinite()
    assert all(torch.equal(p, kept) for p, kept in zip(step.parameters, before, strict=True))
    task.forward = forward
    step(2, task.finish(task.read(2, slice(None), 0.2), 2), 1)
    assert not all(torch.equal(p, kept) for p, kept in zip(step.parameters, before, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_two_steps_in_bfloat16_are_near_those_in_float32(name, tmp_path, cache):
    found = {}
    for half in (False, True):
        torch.manual_seed(0)
        task, step = prepared(mini(name), tmp_path / str(half))
        if half:  # as Accelerate has it: the forward pass alone
            task.model.forward = torch.autocast("cpu", torch.bfloat16)(task.model.forward)
        taken = [step(number, task.finish(task.read(number, slice(None), 0.9), number), epoch=3)
                 for number in range(2)]
        assert all(value.dtype == torch.float32 for row in taken for key, value in row.items()
                   if key.startswith("loss/"))
        learned = [p for p in step.parameters if p.grad is not None]
        assert learned and all(p.grad.isfinite().all() for p in learned)
        found[half] = [row["loss/total"] for row in read(taken)]
    assert found[True] == pytest.approx(found[False], rel=0.02) and found[True] != found[False]


def test_numbers_of_many_steps_are_fetched_at_once(monkeypatch):
    asked, fetch = [], torch.Tensor.tolist

    def counted(tensor):
        asked.append(len(tensor))
        return fetch(tensor)
    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    given = [{"step": k, "lr": 0.1, "loss/total": torch.tensor(k / 8), "gate": torch.ones(1)}
            for k in range(3)]
    assert read(given) == [{"step": k, "lr": 0.1, "loss/total": k / 8, "gate": 1.0}
                          for k in range(3)]
    assert asked == [6] and read([]) == []


@pytest.mark.slow
def test_how_often_the_loss_is_looked_at_changes_no_number(tmp_path, cache, monkeypatch):
    looks, kept = [], {}
    monkeypatch.setattr("reidlab.engine.train.read", lambda rows: looks.append(len(rows)) or
                        read(rows))
    for every in (1, 100):
        looks.clear()
        train(mini(training__epochs=1, training__log_every=every), tmp_path / str(every),
              quiet=True)
        kept[every] = rows(tmp_path / str(every)), list(looks)
    assert kept[1][0] == kept[100][0]
    assert max(kept[1][1]) == 1 < max(kept[100][1])
