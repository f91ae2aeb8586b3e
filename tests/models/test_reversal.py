"""The strength of the gradient reversal is reported where reversed gradients flow."""
from types import SimpleNamespace

import pytest
import torch

from reidlab.batches.text_image import Batches
from reidlab.config.changes import change
from reidlab.losses.text_image import TextImageLoss
from reidlab.tasks import build
from reidlab.tasks.text_image import TextImageTraining
from tests.conftest import mini

CLOTHING = {f"loss.weights.{name}": 0.0 for name in (
    "cloth", "cloth_adv", "cloth_match", "decouple", "words", "summed_score")}


def task(experiment, data):
    """The task's forward pass, without the world drawn and the run it would set up."""
    model = build(experiment, data.classes)
    loss = TextImageLoss(experiment.loss, 128, 256, model.identity_width, data.classes,
                     len(model.text_encoder.tokens.tokenizer))
    accelerator = SimpleNamespace(unwrap_model=lambda m: m, device="cpu")
    made = TextImageTraining.__new__(TextImageTraining)
    made.experiment, made.accelerator, made.loss, made.model = experiment, accelerator, loss, model
    made.tokens = model.text_encoder.tokens
    return made


def reversed_flow(experiment, data):
    """Whether clothing's gradient arrives turned around, and what the log says."""
    made = task(experiment, data)
    batch = Batches(data.train, experiment)(0)
    found = []
    for alpha_of in (lambda epoch: 0.0, lambda epoch: 1.0):
        made.model.zero_grad()
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reidlab.tasks.text_image.alpha_ramp", alpha_of)
            terms, row = made.forward(made.model, batch, 1, 1.0)
        terms["total"].backward()
        weight = getattr(made.model.disentangle, "cloth", None)
        linear = getattr(weight, "linear", None)
        found.append(None if linear is None or linear.weight.grad is None
                     else linear.weight.grad.clone())
    moved = found[0] is not None and not torch.equal(*found)
    return moved, "reversal/alpha" in row


@pytest.mark.covers("R10", "D3")
@pytest.mark.parametrize(("name", "changes", "flows"), [
    ("projection", {}, True), ("merged", {}, True), ("residual", {}, True),
    ("projection", {"disentangle.reversal": False}, False),
    ("merged", {"disentangle.reversal": False}, False),
    ("projection", CLOTHING, False),
    ("projection", CLOTHING | {"loss.weights.summed_score": 1.0}, True),
    ("projection", CLOTHING | {"loss.weights.words": 1.0}, True),
    ("attention", {}, False), ("corrected", {}, False)])
def test_the_log_names_a_reversal_where_it_turns_a_gradient(data, name, changes, flows):
    experiment = change(mini(name), changes)
    assert reversed_flow(experiment, data) == (flows, flows)


def test_a_reversal_that_is_left_out_is_not_set():
    model = build(mini("projection", disentangle__reversal=False), 4)
    assert not model.set_reversal(0.3) and model.disentangle.cloth.alpha == 1.0
