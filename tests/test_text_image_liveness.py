"""No option is dead: changing any one field changes what is built, drawn, lost or scored."""
import dataclasses

import numpy as np
import pytest
import torch

from reidlab.batches.text_image import Batches
from reidlab.config import flatten
from reidlab.config.changes import change
from reidlab.data.loading import load_text_image
from reidlab.engine.optim import build_optimizer, learning_rate
from reidlab.losses.text_image import TextImageLoss
from reidlab.tasks import build
from tests.conftest import MATCHING, mini
from tests.liveness import IN_BOTH_TASKS, assert_alive

ELSEWHERE = {  # fields whose effect another test shows, or that only other machines have
    **IN_BOTH_TASKS, "data.source": "tests/data/test_layouts.py",
    "text.pretrained": "tests/encoders/test_text.py",
    "heads.erasure": "tests/models/test_concept_erasure.py",
    "heads.erasure_kept": "tests/models/test_concept_erasure.py",
    "scoring.cloth_weight": "tests/evaluation/test_studies.py",
    "scoring.mirror": "tests/evaluation/test_probes_and_protocols.py",
    "scoring.rerank": "tests/evaluation/test_reranking.py",
    "scoring.itm_weight": "tests/evaluation/test_reranking.py",
}
MATCH = {k.replace("__", "."): v for k, v in MATCHING.items()}
SCRATCH = {"image.pretrained": None, "text.pretrained": None}  # weights decide their shape
BASE = {  # a field is looked at where the component that reads it is in use
    "disentangle.pooling": ("attention", {}), "disentangle.reversal": ("projection", {}),
    "disentangle.features": ("attention", {"disentangle.mixer": "performer"}),
    "disentangle.heads": ("attention", {}), "heads.hidden": ("attention", {}),
    "heads.dropout": ("attention", {}), "heads.separate": ("attention", {}),
    "heads.alignment": ("corrected", {"loss.weights.fine_grained": 1.0}),
    "loss.cloth_adv": ("attention", {}), "loss.projectors": ("attention", {}),
    "loss.adversary": ("attention", {"loss.cloth_adv": "identity_adversary"}),
    "loss.label_smoothing": ("attention", {}), "data.negatives": ("attention", {}),
    **{f"loss.{n}": ("corrected", {"loss.weights.decouple": 1.0}) for n in (
        "decouple", "decouple_controller", "decouple_from", "decouple_on", "decouple_ramp")},
    **{f"image.{n}": ("corrected", SCRATCH) for n in (
        "activation", "dim", "heads", "height", "layers", "patch", "stem", "width")},
    **{f"text.{n}": ("corrected", SCRATCH) for n in ("activation", "dim", "heads", "layers")},
    "text.attention": ("attention", {}),
    "fusion.d_state": ("attention", {}), "fusion.d_conv": ("attention", {}),
    "fusion.expand": ("attention", {}), "fusion.gate": ("attention", {}),
    "fusion.layers": ("attention", {}), "fusion.heads": ("corrected", MATCH),
    "loss.itm_start": ("corrected", MATCH), "loss.itm_every": ("corrected", MATCH),
    "loss.weights.itm": ("corrected", {"fusion.name": "attention_tokens",
                                            "loss.itm_every": 1}),
    "fusion.dropout": ("attention", {}),
    "text.max_length": ("corrected", {}),
    **{f"disentangle.{n}": ("attention", {}) for n in (
        "self_layers", "cross_layers", "mixer", "gate", "residual_from", "dropout")},
    **{f"loss.weights.{n}": ("attention", {}) for n in (
        "cls", "bio", "cloth", "cloth_adv", "gate_regularization", "gate_smoothing",
        "fusion_gate", "fusion_gate_smoothing")},
    "data.pairs": ("attention", {}), "disentangle.cross_order": ("attention", {}),
    "fusion.gate_groups": ("projection", {}), "fusion.mixer": ("projection", {}),
}
OTHER = {  # a second value where the first is a name
    "image.activation": "gelu",
    "text.activation": "gelu",
    "text.pooling": "cls",
    "disentangle.name": "residual",
    "disentangle.pooling": "max",
    "disentangle.mixer": "conv",
    "disentangle.gate": "mlp",
    "disentangle.residual_from": "running",
    "heads.name": "joint",
    "heads.alignment": "light",
    "fusion.name": "attention_gated",
    "fusion.gate": "applied",
    "loss.positives": "diagonal",
    "loss.projectors": "trained",
    "loss.cloth_adv": "negative_info_nce",
    "loss.cloth_match": "diagonal",
    "loss.decouple": "cka_rbf",
    "loss.decouple_on": "pooled",
    "training.optimizer": "adam",
    "data.negatives": "similar",
    "data.pairs": "sampled",
    "disentangle.cross_order": "in_turn",
    "fusion.mixer": "performer",
    "image.height": 112,
    "image.width": 64,
    "image.patch": 8,
    "image.dim": 256,
    "text.dim": 64,
    "text.max_length": 8,
    "data.images_per_person": 1,
    "training.batch_size": 16,
    "heads.dropout": 0.5,
    "disentangle.dropout": 0.5,
    "text.dropout": 0.5,
    "image.dropout": 0.5,
    "fusion.dropout": 0.5,
    "data.mismatched_fraction": 0.5,
    "data.flip": 0.0,
    "data.captions": "whole",
    "loss.adversary": 0.25,
    "loss.label_smoothing": 0.3,
    "loss.itm_start": 0.9,
}


def observe(experiment):
    """Everything an experiment fixes, as plain numbers: batch, model, losses, optimizer."""
    data = load_text_image(experiment.data, (experiment.image.height, experiment.image.width))
    model = build(experiment, data.classes)
    loss = TextImageLoss(experiment.loss, model.text_encoder.dim, experiment.heads.embedding,
                         model.identity_width, data.classes,
                         len(model.text_encoder.tokens.tokenizer))
    batch = Batches(data.train, experiment)(1, hard_negatives=loss.needs_negatives(1, 0.65))
    seen = [len(data.train.records), len(data.val.records), len(data.test.records),
            batch.image.shape, batch.image.sum().item(), batch.pid.tolist(), batch.cloth_text]
    seen.append([tuple(p.shape) for p in model.state_dict().values()])
    parameters = [p for p in (*model.parameters(), *loss.parameters()) if p.requires_grad]
    seen += [len(parameters), loss.controller is None]
    optimizer = build_optimizer(experiment.training, parameters)
    seen += [type(optimizer).__name__, optimizer.param_groups[0]["weight_decay"],
             [learning_rate(experiment.training, k, 100) for k in (0, 3, 50, 99)],
             experiment.training.batches_per_epoch]
    torch.manual_seed(0)
    out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text,
                negative_text=batch.negative_text)
    words = {s: model.text_encoder.tokens.bag(getattr(batch, f"{s}_text")) for s in ("id", "cloth")}
    terms = loss(out, batch, 2, 0.65, words)
    seen.append({k: round(v.item(), 5) for k, v in terms.items()})
    for vector in (out.fused_embeds, out.itm_logits):
        seen.append(None if vector is None else np.round(vector.detach().numpy(), 4).tolist())
    if experiment.disentangle.name == "projection":  # the reversal shows in gradients alone
        terms["total"].backward()
        seen.append(model.disentangle.cloth.linear.weight.grad.sum().item())
    if loss.adversary is not None:
        terms["cloth_adv"].backward()
        seen.append(model.disentangle.cloth.linear.weight.grad.norm().item())
    return repr(seen)


@pytest.fixture(scope="module")
def seen_before():
    return {}


FIELDS = sorted(set(flatten(mini())) - ELSEWHERE.keys())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIELDS)
def test_changing_a_field_changes_something(name, seen_before, cache):
    preset, more = BASE.get(name, ("corrected", {}))
    both = {"image.dim": 64, "text.dim": 64}  # they go through one layer
    assert_alive(name, change(mini(preset), more), OTHER, observe, seen_before,
                 both if name in both else None)


def test_every_field_is_looked_at():
    assert ELSEWHERE.keys() <= set(flatten(mini()))
    assert dataclasses.is_dataclass(mini())
