"""The reference refuses what it does not have, by the names of the fields."""
import copy

import pytest

from reidlab.config.changes import change
from reidlab.errors import ReidlabError
from reidlab.models.deen import DEEN
from reidlab.presets import preset
from reidlab.tasks import build


@pytest.mark.parametrize(("part", "field", "value", "said"), [
    ("weights", "patches", 1.0, r"loss\.weights\.patches is 1\.0.*set it to 0$"),
    ("stages", "low", "stage0", r"stages\.low is stage0.*set it to previous or none$")])
def test_fields_that_deen_does_not_read_are_refused_in_one_line(part, field, value, said):
    """By the model itself, whatever the config lets through."""
    experiment = copy.deepcopy(preset("deen"))
    owner = {"weights": experiment.loss.weights, "stages": experiment.stages}[part]
    object.__setattr__(owner, field, value)
    with pytest.raises(ReidlabError, match=said) as fault:
        DEEN(experiment, 5)
    assert "\n" not in str(fault.value) and "stages.backbone resnet" in str(fault.value)


@pytest.mark.parametrize("low", ["previous", "none"])
def test_the_lower_views_it_has_are_built(low):
    model = build(change(preset("deen"), {"stages.low": low}), 5)
    assert (model.aggregations is None) == (low == "none")
