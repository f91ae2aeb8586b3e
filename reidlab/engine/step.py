"""One optimizer step, and its numbers: nothing here waits for the device.

Whoever asks a GPU for a number waits until everything before it is done, and the GPU then waits for
the next step. So a step hands out tensors, and `read` fetches those of many steps at once.
"""
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from reidlab.config import Training
from reidlab.engine.optim import learning_rate
from reidlab.models.parallel import average_gradients

Row = dict[str, float | Tensor]


class TrainStep:
    """Forward, losses, backward, clipping, optimizer.

    A step whose total is no number leaves the weights as they are: the optimizer is told on the
    device, and whoever reads the row refuses to go on.

    Args:
        task: its ``forward`` gives the loss terms of a batch.
        model: as the accelerator prepared it.
        parameters: what is trained, for the clipping.
        optimizer: a fused one of PyTorch, prepared by the accelerator.
        accelerator: backward and clipping.
        config: rate, its course and the limit of the gradient norm.
        steps: of the whole run.
    """

    def __init__(self, task, model: nn.Module, parameters: list[nn.Parameter], optimizer,
                 accelerator: Accelerator, config: Training, steps: int):
        self.task, self.model, self.parameters = task, model, parameters
        self.optimizer, self.accelerator = optimizer, accelerator
        self.config, self.steps = config, steps

    def __call__(self, number: int, batch, epoch: int) -> Row:
        """Step `number`, from 0, of an `epoch`, from 1: what is logged of it, unread."""
        rate = learning_rate(self.config, number, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        terms, seen = self.task.forward(self.model, batch, epoch, number / self.steps)
        self.optimizer.zero_grad()
        self.accelerator.backward(terms["total"])
        average_gradients(self.task.loss.parameters())
        row: Row = {f"loss/{name}": term.detach() for name, term in terms.items()}
        row |= {"lr": rate} | seen
        if self.config.max_grad_norm:
            row["gradient/total"] = self.accelerator.clip_grad_norm_(
                self.parameters, self.config.max_grad_norm)
        inner = getattr(self.optimizer, "optimizer", self.optimizer)
        inner.found_inf = (~terms["total"].detach().isfinite()).float()
        self.optimizer.step()
        return row


def read(rows: list[Row]) -> list[dict[str, float]]:
    """The rows as numbers; one transfer for all of them."""
    tensors = [value.detach().reshape(()).float() for row in rows for value in row.values()
               if isinstance(value, Tensor)]
    numbers = iter(torch.stack(tensors).tolist() if tensors else [])
    return [{name: next(numbers) if isinstance(value, Tensor) else value
             for name, value in row.items()} for row in rows]


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each top-level part; 0 where nothing arrives."""
    norms: Row = {}
    for name, part in model.named_children():
        grads = [p.grad for p in part.parameters() if p.grad is not None]
        norms[f"gradient/{name}"] = (
            torch.stack([g.norm() for g in grads]).norm() if grads else 0.0)
    return read([norms])[0]
