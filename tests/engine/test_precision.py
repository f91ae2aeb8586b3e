"""No loss is taken in less than float32, and a model goes to the device that it is asked to."""
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from reidlab.engine import evaluate as scoring
from reidlab.engine import search
from reidlab.errors import ReidlabError
from reidlab.losses.precision import in_full_precision
from reidlab.tasks import load


@pytest.mark.slow
def test_a_model_is_loaded_where_it_is_asked_to_be(run):
    assert {p.device.type for p in load(run).parameters()} == {"cpu"}
    assert {p.device.type for p in load(run, "meta").parameters()} == {"meta"}
    for wrong in ("cuda:99", "nowhere"):
        with pytest.raises(ReidlabError, match=f"^device {wrong} cannot be used here: .*take cpu$"):
            load(run, wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "use"), [(scoring, scoring.evaluate),
                                             (search, search.Searcher)])
def test_scoring_and_searching_take_the_fastest_device(run, monkeypatch, module, use):
    asked = []
    monkeypatch.setattr(module, "fastest_device", lambda: "fast")
    monkeypatch.setattr(module, "load", lambda folder, device: asked.append(device) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        use(run)
    assert asked == ["fast"]


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
