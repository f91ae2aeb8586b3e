"""What a model computes from what, found by asking the model, and its flow chart.

A gradient says which output depends on which; a changed caption says what that caption reaches.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from reidlab.batches.text_image import Batches
from reidlab.config import TextImageExperiment
from reidlab.config.changes import change
from reidlab.data.loading import synthetic_text_image
from reidlab.errors import ReidlabError
from reidlab.losses.text_image import TextImageLoss
from reidlab.models.text_image import build

PICTURE = "picture"
CAPTIONS = {"id_text": "identity caption", "cloth_text": "clothing caption"}
OUTPUTS = {  # field of the output → its name on the chart
    "tokens": "image tokens", "id_embeds": "identity feature", "cloth_embeds": "clothing feature",
    "gate": "gate", "image_embeds": "identity vector", "cloth_image_embeds": "clothing vector",
    "id_text_embeds": "identity text vector", "cloth_text_embeds": "clothing text vector",
    "id_logits": "ID logits", "token_similarity": "words against patches",
    "gate_weights": "fusion weights", "fused_embeds": "fused vector"}


@dataclass(frozen=True)
class Flow:
    """A design's flow chart.

    Attributes:
        edges: (from, to) by name: a path from the one to the other that meets no third.
        losses: term → (weight, value on one batch before training).
        reads: term → the outputs it reads at once.
    """

    edges: list[tuple[str, str]]
    losses: dict[str, tuple[float, float]]
    reads: dict[str, list[str]]


def flow(experiment: TextImageExperiment, people: int = 16) -> Flow:
    """Build a design, run it once on synthetic people, and follow what depends on what.

    Args:
        experiment: a text-image design.
        people: drawn for the batch.

    Raises:
        ReidlabError: a design of the other task.
    """
    if not isinstance(experiment, TextImageExperiment):
        raise ReidlabError(f"flow charts are drawn of text-image designs; {experiment.name} is a "
                           f"{experiment.task} design")
    small = _small(experiment, people)
    data = synthetic_text_image(small.data, (small.image.height, small.image.width))
    batch = Batches(data.train, small)(0)
    model = build(small, data.classes).eval()
    loss = TextImageLoss(small.loss, model.text_encoder.dim, small.heads.embedding,
                     model.identity_width, data.classes, len(model.text_encoder.tokens.tokenizer))
    image = batch.image.clone().requires_grad_()
    given = {"id_text": batch.id_text, "cloth_text": batch.cloth_text}
    out = model(image, want_maps=True, **given)
    bag = model.text_encoder.tokens.bag
    terms = loss(out, batch, 60, 1.0, {"id": bag(batch.id_text), "cloth": bag(batch.cloth_text)})
    named = {name: getattr(out, field) for field, name in OUTPUTS.items()
             if getattr(out, field) is not None}
    losses = {name: (loss.weights[name], term.item())
              for name, term in terms.items() if name != "total"}
    ends = {f"loss: {name}": terms[name] for name in losses}
    tensors = {PICTURE: image} | named
    edges = [(source, name) for name, tensor in (named | ends).items()
             for source in sorted(_direct_sources(tensor, tensors))]
    said: dict[str, set[str]] = {name: set() for name in named | ends}  # captions that it tells
    for argument, caption in CAPTIONS.items():
        turned = list(given[argument])[1:] + list(given[argument])[:1]
        other = model(image, want_maps=True, **given | {argument: turned})
        for field, name in OUTPUTS.items():
            if name in named and not torch.equal(getattr(out, field), getattr(other, field)):
                said[name].add(caption)
    edges += [(caption, name) for name, captions in said.items() for caption in sorted(captions)
              if not any(caption in said[a] for a, b in edges if b == name and a in said)]
    return Flow(edges, losses, {name: [a for a, b in edges if b == f"loss: {name}"]
                                for name in losses})


def _small(experiment: TextImageExperiment, people: int) -> TextImageExperiment:
    return change(experiment, {"data.people": people, "data.val_people": 4, "data.test_people": 4,
                               "training.batch_size": people})


def _direct_sources(target: Tensor, sources: dict[str, Tensor]) -> set[str]:
    """Which of `sources` a tensor has a gradient from on a path that meets no other of them."""
    known = {n: s for n, s in sources.items() if s is not target and s.requires_grad}
    if not target.requires_grad or not known:
        return set()
    probe = (target * torch.linspace(0.5, 1.5, target.numel()).view(target.shape)).sum()
    found = set()
    for name, source in known.items():
        stops = [other.register_hook(torch.zeros_like) for n, other in known.items() if n != name]
        grad, = torch.autograd.grad(probe, source, retain_graph=True, allow_unused=True)
        for stop in stops:
            stop.remove()
        if grad is not None and grad.abs().max() > 0:
            found.add(name)
    return found

