"""The plateau controller raises, bounds, and survives a checkpoint."""
import pytest
import torch

from reidlab.losses.controller import PlateauController
from reidlab.losses.total import TotalLoss
from tests.conftest import mini


@pytest.mark.covers("L14")
def test_it_waits_while_the_value_falls_and_raises_when_it_does_not():
    control = PlateauController(factor=2, patience=2, most=8)
    assert [control.look(v) for v in (0.9, 0.7, 0.5, 0.3)] == [1, 1, 1, 1]
    assert [control.look(0.3) for _ in range(4)] == [1, 2, 2, 4]
    assert [control.look(0.3) for _ in range(6)][-1] == 8  # bounded
    assert control.look(0.1) == 8


@pytest.mark.covers("L14")
def test_its_state_is_part_of_the_loss_and_scales_decouple_alone():
    loss = TotalLoss(mini("corrected", loss__decouple_controller="true").loss, 128, 256)
    loss.controller.multiple.fill_(3.0)
    again = TotalLoss(mini("corrected", loss__decouple_controller="true").loss, 128, 256)
    again.load_state_dict(loss.state_dict())
    assert again.controller.multiple == 3 and torch.isinf(again.controller.best)
    assert again.controller(0.5) == 1.5
