"""The plateau controller raises, bounds, and survives a checkpoint."""
from types import SimpleNamespace

import pytest
import torch

from reidlab.batches.text_image import Batches
from reidlab.losses.controller import PlateauController
from reidlab.losses.text_image import TextImageLoss
from reidlab.models.text_image_output import TextImageOutput
from reidlab.tasks import build
from reidlab.tasks.text_image import TextImageTraining
from tests.conftest import mini

CONTROLLED = {"loss__weights__decouple": 1.0, "loss__decouple_controller": "true"}


@pytest.mark.covers("L14")
def test_it_waits_while_the_value_falls_and_raises_when_it_does_not():
    control = PlateauController(factor=2, patience=2, most=8)
    assert [control.update(v) for v in (0.9, 0.7, 0.5, 0.3)] == [1, 1, 1, 1]
    assert [control.update(0.3) for _ in range(4)] == [1, 2, 2, 4]
    assert [control.update(0.3) for _ in range(6)][-1] == 8  # bounded
    assert control.update(0.1) == 8


@pytest.mark.covers("L14")
def test_its_state_is_part_of_the_loss_and_scales_decouple_alone():
    loss = TextImageLoss(mini("corrected", **CONTROLLED).loss, 128, 256)
    loss.controller.multiple.fill_(3.0)
    again = TextImageLoss(mini("corrected", **CONTROLLED).loss, 128, 256)
    again.load_state_dict(loss.state_dict())
    assert again.controller.multiple == 3 and torch.isinf(again.controller.best)
    assert again.controller(0.5) == 1.5


@pytest.mark.covers("L14")
def test_the_raised_weight_reaches_the_total(data):
    experiment = mini("corrected", **CONTROLLED, loss__decouple_from=0.0, loss__decouple_ramp=0.0)
    model, batch = build(experiment, data.classes).eval(), Batches(data.train, experiment)(0)
    with torch.no_grad():
        out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text)
        loss = TextImageLoss(experiment.loss, 128, 256)
        plain = loss(out, batch, 1)
        loss.controller.multiple.fill_(3.0)
        raised = loss(out, batch, 1)
    assert (raised["total"] - plain["total"]).item() == pytest.approx(
        2 * plain["decouple"].item(), rel=1e-3)
    assert raised["decouple"] == plain["decouple"] and raised["info_nce"] == plain["info_nce"]


def looking(readings, **changes):
    """A task that looks at given readings of the monitor, at each share of training in turn."""
    task = TextImageTraining.__new__(TextImageTraining)
    task.loss = TextImageLoss(mini("corrected", **CONTROLLED, **changes).loss, 128, 256)
    found = []
    for progress, reading in readings:
        task.held_out, task.progress = lambda model, reading=reading: dict(reading), progress
        found.append(task.monitor(SimpleNamespace())["controller/multiple"])
    return found


def both(raw, embedded):
    return {"monitor/id_cloth_cka": raw, "monitor/embedding_cka": embedded}


@pytest.mark.covers("L14")
def test_it_does_not_count_while_its_penalty_is_off():
    """Six looks without a fall before the penalty sets in at .4 raise nothing and are forgotten;
    then three are needed, as ever, after the first."""
    early = [(0.05 * k, both(0.5, 0.5)) for k in range(6)] + [(0.4, both(0.5, 0.5))]
    late = [(p, both(0.5, 0.5)) for p in (0.45, 0.5, 0.55, 0.6)]
    assert looking(early + late) == [1] * 7 + [1, 1, 1, 1.5]
    at_once = looking([(p, both(0.5, 0.5)) for p in (0.0, 0.1, 0.2, 0.3)],
                      loss__decouple_from=0.0, loss__decouple_ramp=0.0)
    assert at_once == [1, 1, 1, 1.5]


@pytest.mark.covers("L14")
@pytest.mark.parametrize(("penalised", "raised"), [("pooled", True), ("embedding", False)])
def test_it_watches_what_is_penalised(penalised, raised):
    """The pooled features stay dependent while the embeddings part."""
    readings = [(0.7, both(0.5, 0.5 - 0.1 * k)) for k in range(4)]
    assert looking(readings, loss__decouple_on=penalised)[-1] == (1.5 if raised else 1)


def test_the_share_of_training_is_the_one_of_the_last_step(data):
    """What the loop hands to the forward pass is what the next look goes by."""
    seen = TextImageOutput()
    task = TextImageTraining.__new__(TextImageTraining)
    task.experiment = mini("corrected", loss__weights__words=0.0)
    task.accelerator = SimpleNamespace(unwrap_model=lambda model: SimpleNamespace(
        set_reversal=lambda alpha: False))
    task.loss = type("Loss", (), {
        "adversary": None, "schedules": lambda self, epoch, progress: {},
        "__call__": lambda self, *given: {"total": torch.zeros(())}})()
    batch = SimpleNamespace(
        image=None, cloth_text=[], id_text=[], negative_text=None, shard=slice(0)
    )
    task.forward(lambda *given, **named: seen, batch, 3, 0.25)
    assert task.progress == 0.25
