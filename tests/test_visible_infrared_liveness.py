"""No option of the visible-infrared task is dead: changing any one field changes something."""
import numpy as np
import pytest
import torch

from reidlab.batches.visible_infrared import VisibleInfraredBatches
from reidlab.config import flatten
from reidlab.config.changes import change
from reidlab.data.loading import load_visible_infrared
from reidlab.engine.optim import build_optimizer, learning_rate
from reidlab.evaluation.visible_infrared import protocol
from reidlab.losses.visible_infrared import VisibleInfraredLoss
from reidlab.presets import preset
from reidlab.tasks import build
from tests.liveness import IN_BOTH_TASKS, assert_alive

ELSEWHERE = {  # fields whose effect another test shows, or that only other machines have
    **IN_BOTH_TASKS, "data.source": "tests/data/test_visible_infrared.py",
    "data.train_on_val": "tests/data/test_clothes_changing.py",
    "scoring.reciprocal": "tests/evaluation/test_visible_infrared.py",
}
SMALL = {
    "data.people": 16,
    "data.val_people": 4,
    "data.test_people": 4,
    "data.images_per_outfit": 2,
    "training.batch_size": 8,
    "data.images_per_person": 2,
    "training.warmup": 4,
}
SCRATCH = {"image.pretrained": None}  # weights decide their shape
BASE = {  # a field is looked at where the component that reads it is in use
    **{f"image.{n}": SCRATCH for n in ("activation", "dim", "heads", "layers", "patch", "stem")},
    "expansion.views": {"expansion.name": "cmatm"},
    "expansion.tokens": {"expansion.name": "cmatm"},
    "expansion.drop": {"expansion.name": "ssdec"},
    "expansion.dropout": {"expansion.name": "cmatm"},
    "loss.clusters": {"data.labelled_fraction": 0.5},
    "loss.margin": {"loss.metric_from": 0.0, "loss.weights.triplet": 1.0},
    "loss.metric_from": {"loss.weights.triplet": 1.0},
    "loss.label_smoothing": {"loss.weights.cls": 1.0},
    "loss.cpm_margin": {"loss.metric_from": 0.0, "loss.weights.cpm": 1.0},
    "loss.weights.triplet": {"loss.metric_from": 0.0},
    "loss.weights.cpm": {"loss.metric_from": 0.0},
    "loss.weights.patches": {"data.aligned_until": 0.9},
    "loss.temperature": {"loss.weights.contrast": 1.0},
    "stages.backbone": SCRATCH | {
        "loss.weights.patches": 0.0, "image.stem": False, "image.dim": 256},
    "stages.resnet": SCRATCH | {
        "stages.backbone": "resnet",
        "image.dim": 256,
        "image.stem": False,
        "loss.weights.patches": 0.0,
        "expansion.name": "deen",
    },
    "scoring.search": {"data.source": "sysu-mm01:DIR"},
    "data.trial": {"data.source": "regdb:DIR"},
}
OTHER = {  # a second value where the first is a name or twice it makes no sense
    "image.height": 128,
    "image.width": 64,
    "image.patch": 8,
    "image.dim": 64,
    "image.layers": 8,
    "image.activation": "gelu",
    "image.dropout": 0.5,
    "stages.backbone": "resnet",
    "stages.low": "stage0",
    "stages.aggregation": "cross_pyramid",
    "stages.neck": "linear",
    "stages.resnet": 18,
    "data.flip": 0.0,
    "expansion.name": "dee",
    "expansion.dropout": 0.5,
    "expansion.drop": 0.6,
    "loss.orthogonality": "patches",
    "loss.metric_from": 0.1,
    "loss.contrast_over": "cross_modality",
    "loss.label_smoothing": 0.3,
    "stages.pooling": "mean",
    "stages.retrieve": "both",
    "stages.embeddings": 2,
    "training.optimizer": "adam",
    "data.aligned_until": 0.9,
    "scoring.direction": "visible_to_infrared",
    "scoring.search": "indoor",
    "data.trial": 2,
    "data.labelled_fraction": 0.5,
    "loss.clusters": 6,
    "data.random_erasing": 0.5,
    "data.channel_exchange": 0.0,
    "data.images_per_person": 4,
}


def observe(experiment):
    """Everything an experiment fixes, as plain numbers: batch, model, losses, optimizer, rules."""
    drawn = change(experiment, {"data.source": "synthetic"})
    data = load_visible_infrared(drawn.data, (experiment.image.height, experiment.image.width))
    batch = VisibleInfraredBatches(data.train, drawn)(1, progress=0.45)
    seen = [len(data.train.visible.records), len(data.val.visible.records),
            len(data.test.visible.records), batch.visible.shape, batch.visible.sum().item(),
            batch.infrared.sum().item(), batch.pid.tolist(), str(protocol(experiment))]
    model = build(experiment, data.classes)
    seen.append([tuple(p.shape) for p in model.state_dict().values()])
    optimizer = build_optimizer(experiment.training,
                                [p for p in model.parameters() if p.requires_grad])
    seen += [type(optimizer).__name__, optimizer.param_groups[0]["weight_decay"],
             [learning_rate(experiment.training, k, 100) for k in (0, 3, 50, 99)],
             experiment.training.batches_per_epoch]
    torch.manual_seed(0)
    out = model(batch.visible, batch.infrared)
    loss = VisibleInfraredLoss(experiment.loss, model.dim)
    terms = loss(out, batch.pid, 0.45, batch.aligned)
    seen.append({k: round(v.item(), 5) for k, v in terms.items()})
    seen.append(np.round(out.pooled[0].detach().numpy(), 4).tolist())
    with torch.inference_mode():
        seen.append(model.eval().encode(batch.visible[:1], 0).shape)
    return repr(seen)


@pytest.fixture(scope="module")
def seen_before():
    return {}


FIELDS = sorted(set(flatten(preset("embednet_corrected"))) - ELSEWHERE.keys())


@pytest.mark.slow
@pytest.mark.covers("V29", "V11", "V12")
@pytest.mark.parametrize("name", FIELDS)
def test_changing_a_field_changes_something(name, seen_before, cache):
    base = change(preset("embednet_corrected"), SMALL | BASE.get(name, {}))
    assert_alive(name, base, OTHER, observe, seen_before)
