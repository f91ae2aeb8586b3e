"""What a model computes from what, found by asking the model, and its flow chart.

A gradient says which output depends on which; a changed caption says what that caption reaches.
"""
import re
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
        edges: (from, to) by name, without those that follow from others.
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
    depends = {name: _sources(tensor, {PICTURE: image} | named)
               for name, tensor in (named | ends).items()}
    for argument, caption in CAPTIONS.items():
        turned = list(given[argument])[1:] + list(given[argument])[:1]
        other = model(image, want_maps=True, **given | {argument: turned})
        for field, name in OUTPUTS.items():
            if name in named and not torch.equal(getattr(out, field), getattr(other, field)):
                depends[name].add(caption)
    for name in ends:
        depends[name] |= {c for source in depends[name] & named.keys() for c in depends[source]}
    edges = _without_shortcuts(depends)
    return Flow(edges, losses, {name: [a for a, b in edges if b == f"loss: {name}"]
                                for name in losses})


def _small(experiment: TextImageExperiment, people: int) -> TextImageExperiment:
    return change(experiment, {"data.people": people, "data.val_people": 4, "data.test_people": 4,
                               "training.batch_size": people})


def _sources(target: Tensor, sources: dict[str, Tensor]) -> set[str]:
    """Which of `sources` a tensor has a gradient path from."""
    if not target.requires_grad:
        return set()
    probe = (target * torch.linspace(0.5, 1.5, target.numel()).view(target.shape)).sum()
    known = {n: s for n, s in sources.items() if s is not target and s.requires_grad}
    found = torch.autograd.grad(probe, list(known.values()), retain_graph=True, allow_unused=True)
    return {name for name, grad in zip(known, found, strict=True) if grad is not None}


def _without_shortcuts(depends: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Edges that no path over a third node explains."""
    return [(source, target) for target, sources in depends.items() for source in sorted(sources)
            if not any(source in depends.get(middle, ()) for middle in sources - {source})]


def mermaid(edges: list[tuple[str, str]], direction: str = "LR") -> str:
    """A Markdown block with a Mermaid chart.

    Args:
        edges: (from, to) by name; a name that starts with ``loss:`` ends a path.
        direction: LR or TD.
    """
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    lines = [f"graph {direction}"]
    for name in names:
        box = (f"([{name.removeprefix('loss: ')}])" if name.startswith("loss:") else f"[{name}]")
        lines.append(f"  {_key(name)}{box}")
    lines += [f"  {_key(a)} --> {_key(b)}" for a, b in edges]
    return "\n".join(["```mermaid", *lines, "```"])


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name)
