"""The one log line of note 001: means over the epoch, readable by a program."""
import logging
import re

import pytest

from reidlab.engine.meters import LossMeters
from reidlab.engine.train import train
from tests.conftest import mini
from tests.engine.conftest import rows


def parsed(line: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"(\w+): (-?\d+\.\d{4})", line)}


@pytest.mark.covers("R6")
def test_means_are_over_the_steps_of_the_epoch():
    meters = LossMeters(80, 312)
    for loss in (1.0, 2.0, 6.0):
        meters.update(1, {"loss/cloth_adv": -loss, "loss/total": loss, "lr": 5.0})
    assert meters.line(3) == "Epoch 1/80, Batch 3/312, Total: 3.0000, ClothAdv: -3.0000"
    meters.update(2, {"loss/info_nce": 4.0, "loss/total": 7.0})
    assert meters.line(313) == "Epoch 2/80, Batch 1/312, Total: 7.0000, InfoNCE: 4.0000"


@pytest.mark.covers("R6")
@pytest.mark.slow
def test_the_design_of_note_001_logs_its_eight_meters(tmp_path, caplog, cache):
    experiment = mini("projection", training__epochs=1, training__batches_per_epoch=4,
                      training__monitor_every=2)
    with caplog.at_level(logging.INFO):
        train(experiment, tmp_path / "run", quiet=True)
    lines = [m for m in caplog.messages if m.startswith("Epoch")]
    assert [line.split(", Total")[0] for line in lines] == ["Epoch 1/1, Batch 2/4",
                                                          "Epoch 1/1, Batch 4/4"]
    found = parsed(lines[-1])
    assert list(found) == ["Total", "InfoNCE", "Cls", "Bio", "Cloth", "ClothAdv", "ClothMatch",
                           "Decouple"]
    logged = rows(tmp_path / "run")
    assert found["Total"] == pytest.approx(sum(row["loss/total"] for row in logged) / 4, abs=1e-4)
