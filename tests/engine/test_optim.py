"""The learning rate over a run."""
import pytest
import torch

from reidlab.engine.optim import build_optimizer, learning_rate, rate_shares
from reidlab.tasks import build
from tests.conftest import mini
from tests.engine.test_step import prepared


def test_learning_rate_warms_up_and_follows_a_cosine():
    config = mini(training__warmup=10, training__lr=1.0, training__final_lr=0.0).training
    assert [learning_rate(config, k, 110) for k in (0, 9, 10, 60)] == pytest.approx(
        [0.1, 1.0, 1.0, 0.5])
    assert learning_rate(config, 110, 110) == pytest.approx(0, abs=1e-9)


def test_encoder_layers_get_their_share_of_the_rate():
    config = mini(training__lr=1e-3, training__backbone_lr=1e-4, training__layer_decay=0.5).training
    encoder = [torch.nn.Linear(2, 2) for _ in range(3)]
    new = torch.nn.Linear(2, 2)
    shares = rate_shares(config, [encoder])
    assert [shares[part.weight] for part in encoder] == pytest.approx([0.025, 0.05, 0.1])
    assert new.weight not in shares
    parameters = [p for part in (*encoder, new) for p in part.parameters()]
    optimizer = build_optimizer(config, parameters, shares)
    held = {(group["share"], group["weight_decay"]): len(group["params"])
            for group in optimizer.param_groups}
    assert held == pytest.approx({(share, decay): 1 for share in (0.025, 0.05, 0.1, 1.0)
                                  for decay in (0.0, config.weight_decay)})
    assert rate_shares(mini().training, [encoder]) == {}


@pytest.mark.parametrize("name", ["corrected", "attention", "embednet", "deen"])
def test_encoders_of_every_kind_of_model_are_named_from_input_to_output(name):
    model = build(mini(name), 4)
    parts = [p for encoder in model.encoders for part in encoder for p in part.parameters()]
    assert len(parts) == len(set(parts))
    images = sum(p.numel() for part in model.encoders[0] for p in part.parameters())
    assert 0.5 < images / sum(p.numel() for n, p in model.named_parameters() if n.startswith(
        ("visual_encoder", "backbone", "stems", "trunk"))) <= 1
    assert len(model.encoders[0]) == 5  # the input and four layers or stages


@pytest.mark.slow
def test_a_step_moves_each_layer_by_its_share(tmp_path, cache):
    """Adam's first step is the rate itself, whatever the gradient."""
    config = mini(training__optimizer="adam", training__weight_decay=0.0, training__warmup=0,
                  training__max_grad_norm=0.0, training__lr=1e-3, training__backbone_lr=1e-4,
                  training__layer_decay=0.5)
    task, step = prepared(config, tmp_path)
    step.optimizer = build_optimizer(config.training, step.parameters,
                                     rate_shares(config.training, task.model.encoders))
    vit = task.model.visual_encoder
    watched = {0.0625 * 1e-4: vit.embeddings.patch_embeddings.projection[0].weight,
               0.5 * 1e-4: vit.layers[2].mlp.fc1.weight, 1e-4: vit.layers[3].mlp.fc1.weight,
               1e-3: task.model.id_classifier.weight}
    before = {rate: weight.detach().clone() for rate, weight in watched.items()}
    step(0, task.finish(task.read(0, slice(None), 0.0), 0), 1)
    for rate, weight in watched.items():
        moved = (weight - before[rate]).abs()
        assert moved[moved > 0].median().item() == pytest.approx(rate, rel=0.05)
