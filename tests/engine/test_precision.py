"""Which format is chosen and kept; no loss is taken in less than float32; where a model goes."""
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from reidlab.engine import embedding, precision
from reidlab.engine import evaluate as scoring
from reidlab.engine import train as training
from reidlab.engine.trial import unreached
from reidlab.errors import ReidlabError
from reidlab.losses.precision import in_full_precision
from reidlab.runs.folder import RunFolder
from reidlab.tasks import load
from tests.conftest import MATCHING, mini
from tests.engine.conftest import train_and_stop
from tests.engine.test_step import prepared


@pytest.mark.slow
def test_a_model_is_loaded_where_it_is_asked_to_be(run):
    assert {p.device.type for p in load(run).parameters()} == {"cpu"}
    assert {p.device.type for p in load(run, "meta").parameters()} == {"meta"}
    for wrong in ("cuda:99", "nowhere"):
        with pytest.raises(ReidlabError, match=f"^device {wrong} cannot be used here: .*take cpu$"):
            load(run, wrong)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "use"), [(scoring, scoring.evaluate),
                                             (embedding, embedding.Embedder)])
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


def times(monkeypatch, plain, half):
    asked = []

    def seconds(task, halved, shard):
        asked.append(halved)
        return half if halved else plain
    monkeypatch.setattr(precision, "seconds_a_step", seconds)
    return asked


@pytest.mark.parametrize("plain, half, expected", [(2.0, 1.0, True), (1.0, 2.0, False)])
def test_on_cpus_that_can_the_faster_format_is_measured(monkeypatch, plain, half, expected):
    asked = times(monkeypatch, plain, half)
    monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: True)
    found = precision.choose(None, True, torch.device("cpu"))
    assert found.half is expected and asked == [False, True]
    assert f"{half:.2f} s in bfloat16 and {plain:.2f} s in float32" in found.why


def test_what_is_off_or_impossible_is_not_measured(monkeypatch):
    asked = times(monkeypatch, 2.0, 1.0)
    monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: False)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert precision.choose(None, True, cpu) == (False, "this CPU does not multiply in bfloat16")
    for able in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation, able=able:
                            able)
        assert precision.choose(None, True, gpu).half is able
    monkeypatch.setattr(precision, "cpu_multiplies_bf16", lambda: True)
    assert not precision.choose(None, False, cpu).half and not precision.choose(None, False,
                                                                                gpu).half
    assert asked == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corrected", "attention", "embednet_corrected"])
def test_measuring_a_step_changes_nothing_of_the_run(name, tmp_path, cache):
    task, _ = prepared(mini(name), tmp_path)
    before = {k: v.clone() for part in (task.model, task.loss)
              for k, v in part.state_dict().items()}
    random = torch.get_rng_state()
    assert all(precision.seconds_a_step(task, half, slice(None)) > 0 for half in (False, True))
    after = {k: v for part in (task.model, task.loss) for k, v in part.state_dict().items()}
    assert all(torch.equal(value, before[k]) for k, value in after.items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(p.grad is None for p in task.model.parameters())
    assert "forward" not in vars(task.model)


@pytest.mark.slow
def test_a_run_computes_in_the_format_it_chose_and_keeps_it_when_it_goes_on(tmp_path, data,
                                                                            monkeypatch, caplog):
    seen, chosen = set(), iter([precision.Precision(True, "for a test")])
    half = training.run_in_bf16

    def halved(model, device):
        half(model, device)
        model.id_heads.register_forward_pre_hook(
            lambda *given: seen.add(torch.is_autocast_enabled("cpu")))
        model.disentangle.register_forward_hook(
            lambda *given: seen.add(torch.is_autocast_enabled("cpu")))
    monkeypatch.setattr(training, "choose", lambda *given: next(chosen))
    monkeypatch.setattr(training, "run_in_bf16", halved)
    short, run = mini(training__epochs=2), RunFolder(tmp_path / "run")
    with caplog.at_level("INFO"):
        train_and_stop(short, run, step=2)
    assert run.planned()["precision"] == "bf16" and True in seen
    assert "computing in bfloat16: for a test" in caplog.text
    seen.clear()
    training.train(short, run.path, quiet=True)  # nothing is chosen again: the choices are used up
    assert True in seen and run.planned()["precision"] == "bf16"


@pytest.mark.slow
@pytest.mark.parametrize("name, expected", [
    ("corrected", ()), ("embednet_corrected", ()), ("deen", ()),
    ("embednet", ("aggregations.0",))])
def test_parameters_that_no_step_reaches_are_found(name, expected, tmp_path, cache):
    """As written the first stages of `embednet` never learn; the corrected designs use all."""
    task, _ = prepared(mini(name), tmp_path)
    found = unreached(task, slice(None))
    assert bool(found) == bool(expected)
    assert all(any(name.startswith(part) for name in found) for part in expected)
    assert all(p.grad is None for p in task.model.parameters())


@pytest.mark.slow
def test_what_is_reached_late_alone_is_found_too(tmp_path, cache):
    task, _ = prepared(mini(**MATCHING | {"loss__itm_start": 0.5}), tmp_path)
    found = unreached(task, slice(None))
    assert found and all(name.startswith(("itm_head", "fusion")) for name in found)
