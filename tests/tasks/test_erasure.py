"""Which form of the erasure is fitted, by the experiment and by what the data say."""
import dataclasses
import logging

import pytest
from accelerate import Accelerator

from reidlab.data.records import Split
from reidlab.runs.folder import RunFolder
from reidlab.tasks import text_image
from tests.conftest import mini


def nameless(data):
    """The same pictures of people of whom nobody says what they wear."""
    splits = {name: Split([dataclasses.replace(r, outfit=-1) for r in getattr(data, name).records],
                          getattr(data, name).images) for name in ("train", "val", "test")}
    return dataclasses.replace(data, source="cuhk-pedes:people", **splits)


@pytest.mark.parametrize(("form", "known", "spares", "says"), [
    ("outfits", True, True, ""),
    ("outfits", False, False, "cuhk-pedes:people does not say who wears what"),
    ("captions", True, False, "by what clothing captions show"),
])
def test_outfits_are_read_where_they_are_known_and_captions_elsewhere(
        form, known, spares, says, data, tmp_path, monkeypatch, caplog):
    found = data if known else nameless(data)
    monkeypatch.setattr(text_image, "load_text_image", lambda *_: found)
    experiment = mini("corrected", heads__erasure=form)
    with caplog.at_level(logging.INFO):
        task = text_image.TextImageTraining(experiment, RunFolder(tmp_path), Accelerator(cpu=True))
    assert says in caplog.text and ("erased" in caplog.text) is bool(says)
    count = task.fit_concept_eraser(task.model)["concept_erasure/directions"]
    rank = task.model.concept_eraser.projection.double().trace().item()
    assert (count == 256 - 16) is spares
    assert rank == pytest.approx(256 - count, abs=1e-2)
