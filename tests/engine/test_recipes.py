"""What saves memory changes no gradient; running means and rates are what they say."""
import pytest
import torch

from reidlab.engine.precision import Precision
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.models.chunks import in_chunks
from reidlab.models.modes import evaluating
from reidlab.presets import preset
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from reidlab.tasks.visible_infrared import VisibleInfraredTraining
from tests.conftest import mini
from tests.engine.conftest import rows, train_and_stop
from tests.engine.test_step import prepared

STILL = {"text": ("text__dropout", "disentangle__dropout", "heads__dropout", "fusion__dropout"),
         "cross": ("expansion__dropout", "expansion__drop")}
DESIGNS = {"corrected": "text", "attention": "text", "merged": "text", "embednet": "cross",
           "embednet_corrected": "cross"}


def one_pass(name, folder, **changes):
    """Loss, gradients, and bytes kept for the backward pass."""
    still = dict.fromkeys(STILL[DESIGNS[name]], 0.0)
    torch.manual_seed(0)
    task, _ = prepared(mini(name, training__batch_size=16, data__images_per_person=4, **still,
                            **changes) if DESIGNS[name] == "cross" else
                       mini(name, training__batch_size=16, **still, **changes), folder)
    kept = 0

    def keep(tensor):
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total = task.forward(task.model, task.finish(task.read(0, slice(None), 0.9), 0), 3, 0.9
                             )[0]["total"]
    forward = kept
    total.backward()
    return total.item(), {n: p.grad for n, p in task.model.named_parameters()
                          if p.grad is not None}, forward


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("saving", [{"training__micro_batch": 4},
                                    {"training__gradient_checkpointing": True}],
                         ids=["chunks", "layers"])
def test_memory_is_saved_and_the_gradient_is_that_of_the_whole_batch(name, saving, tmp_path, cache):
    loss, gradients, much = one_pass(name, tmp_path / "whole")
    again, remade, little = one_pass(name, tmp_path / "saving", **saving)
    assert again == pytest.approx(loss, rel=1e-5) and remade.keys() == gradients.keys()
    size = torch.stack([g.norm() for g in gradients.values()]).norm()
    for weight, gradient in gradients.items():
        assert (remade[weight] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-5 * size, weight
    assert little < 0.8 * much


def test_chunks_are_encoded_one_by_one_twice_and_only_where_gradients_are_asked_for():
    layer, seen = torch.nn.Linear(3, 2), []

    def encode(rows):
        seen.append(len(rows))
        return layer(rows), None
    x = torch.randn(10, 3)
    vectors, nothing = in_chunks(encode, x, 4)
    assert torch.equal(vectors, layer(x)) and nothing is None and seen == [4, 4, 2]
    vectors.sum().backward()
    assert seen == [4, 4, 2, 2, 4, 4]
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(2, 3))
    seen.clear()
    with torch.no_grad():
        in_chunks(encode, x, 4)
    in_chunks(encode, x, None)
    in_chunks(encode, x, 10)
    assert seen == [10, 10, 10]


@pytest.mark.parametrize("changes", [{"training__micro_batch": 4},
                                     {"training__gradient_checkpointing": True}])
def test_a_network_whose_batch_norms_read_the_batch_once_is_refused(changes):
    with pytest.raises(ReidlabError, match="deen has stages.backbone=resnet.*leave training.micro"):
        preset("deen", "tiny", **changes)


@pytest.mark.slow
def test_the_running_mean_of_the_weights_is_scored_kept_and_resumed(tmp_path, cache, monkeypatch):
    short = mini(training__ema=0.5, training__epochs=1, training__checkpoint_every=1)
    after = []
    write = checkpoint.write

    def seen(path, tensors, state):
        if path.name == "last.safetensors":
            after.append(tensors)
        write(path, tensors, state)
    monkeypatch.setattr(checkpoint, "write", seen)
    train(short, tmp_path / "whole", quiet=True)
    name = "id_classifier.weight"
    mean = after[0][f"model.{name}"]
    for step in after[1:]:
        mean = 0.5 * mean + 0.5 * step[f"model.{name}"]
        torch.testing.assert_close(step[f"averaged.module.{name}"], mean)
    best = checkpoint.read(RunFolder(tmp_path / "whole").best)[0][f"model.{name}"]
    torch.testing.assert_close(best, mean)
    assert not torch.allclose(best, after[-1][f"model.{name}"])
    train_and_stop(short, RunFolder(tmp_path / "halves"), step=1)
    train(short, tmp_path / "halves", quiet=True)
    assert rows(tmp_path / "halves") == rows(tmp_path / "whole")


@pytest.mark.slow
def test_the_running_mean_is_scored_by_its_own_weights_in_bf16_too(tmp_path, cache, monkeypatch):
    """A copy of a model whose forward pass was wrapped would call that of the original."""
    validate, seen = VisibleInfraredTraining.validate, []

    def judged(self, model):
        found = validate(self, model)
        x = self.held_out[0][:4]
        with torch.no_grad(), evaluating(model):
            before = model.encode(x, 0)
            for parameter in model.parameters():  # of the mean; training goes on with the others
                parameter.zero_()
            seen.append(torch.equal(model.encode(x, 0), before))
        return found
    monkeypatch.setattr(VisibleInfraredTraining, "validate", judged)
    monkeypatch.setattr("reidlab.engine.train.choose", lambda *given: Precision(True, "a test"))
    train(mini("embednet_corrected", training__ema=0.5, training__epochs=1), tmp_path / "run",
          quiet=True)
    assert seen == [False]


def test_texts_in_chunks_name_the_device_whose_draws_are_repeated(monkeypatch):
    given = []

    def remember(function, *arguments, use_reentrant):
        given.append([a for a in arguments if isinstance(a, torch.Tensor)])
        return function(*arguments)
    monkeypatch.setattr("reidlab.models.chunks.checkpoint", remember)
    found = in_chunks(lambda texts: (torch.ones(len(texts)),), ["a", "b", "c"], 2,
                      torch.device("meta"))
    assert found[0].tolist() == [1, 1, 1]
    assert [[t.device.type for t in tensors] for tensors in given] == [["meta"], ["meta"]]


@pytest.mark.parametrize("fault", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to")])
def test_out_of_memory_says_what_to_lower(tmp_path, data, monkeypatch, fault):
    def step(self, number, batch, epoch):
        raise fault
    monkeypatch.setattr("reidlab.engine.step.TrainStep.__call__", step)
    with pytest.raises(ReidlabError, match="^out of memory .*lower training.batch_size, training."
                                           "micro_batch or image.height.*gradient_checkpointing"):
        train(mini(), tmp_path / "run", quiet=True)


def test_another_fault_of_a_step_stays_what_it_is(tmp_path, data, monkeypatch):
    def step(self, number, batch, epoch):
        raise RuntimeError("shapes do not fit")
    monkeypatch.setattr("reidlab.engine.step.TrainStep.__call__", step)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(mini(), tmp_path / "run", quiet=True)
