"""What happens to a trained model when the picture changes in one known way.

Shapes: N pictures, T captions, H × W pixels.
"""
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from reidlab.data.packing import to_tensor
from reidlab.data.records import Split
from reidlab.evaluation.embeddings import Embeddings, embed
from reidlab.evaluation.probes import probe, unfit
from reidlab.evaluation.ranking import retrieval_metrics
from reidlab.evaluation.text_image import score_same_clothes
from reidlab.models.modes import evaluating


def occluded(images: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Cover a grey block of full width and `share` of the height of each picture, anywhere.

    Args:
        images: (N, H, W, 3) uint8.
        share: in [0, 1].
    """
    height = images.shape[1]
    rows = round(share * height)
    covered = np.array(images)
    starts = np.random.default_rng(seed).integers(0, height - rows + 1, len(images))
    for picture, start in zip(covered, starts, strict=True):
        picture[start:start + rows] = 127
    return covered


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` pixels; 0 gives a copy."""
    if not sigma:
        return np.array(images)
    return np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in images])


def salient(images: np.ndarray, parts: np.ndarray, which: tuple[int, ...], gain: float
            ) -> np.ndarray:
    """Colour of some body parts driven away from grey (gain > 1) or towards it (gain < 1).

    Args:
        images: (N, H, W, 3) uint8; parts: (N, H, W) labels; which: labels to change.
    """
    pixels = images.astype(np.float32)
    grey = pixels.mean(axis=-1, keepdims=True)
    changed = np.clip(grey + gain * (pixels - grey), 0, 255)
    return np.where(np.isin(parts, which)[..., None], changed, pixels).astype(np.uint8)


def robustness(model, split: Split, change: Callable[[np.ndarray, float], np.ndarray],
               doses: tuple[float, ...], cloth_weight: float = 1.0) -> list[dict]:
    """R1 and mAP, text to image, same clothes, as pictures are changed more and more.

    Returns:
        ``[{"dose", "r1", "map"}]``.
    """
    found = []
    for dose in doses:
        changed = embed(model, replace(split, images=change(split.images, dose)))
        report = retrieval_metrics(*score_same_clothes(changed, cloth_weight)["text_to_image"])
        found.append({"dose": dose, "r1": report.r1, "map": report.map})
    return found


def _pictures(model, images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) where the model is."""
    return to_tensor(images).to(next(model.parameters()).device)


@torch.inference_mode()
def mean_gate(model, images: np.ndarray) -> float:
    """Mean share that the disentangling gate gives identity, over pictures and channels."""
    with evaluating(model):
        return model.image_features(_pictures(model, images))[0].gate.mean().item()


@torch.inference_mode()
def text_weight(model, images: np.ndarray, texts: list[str]) -> float:
    """Mean weight that a vector fusion gives the text."""
    with evaluating(model):
        out = model(_pictures(model, images), id_text=texts)
    return out.gate_weights[:, 1].mean().item()


@torch.inference_mode()
def layer_features(model, images: np.ndarray, batch_size: int = 256) -> dict[str, np.ndarray]:
    """Mean token after every layer of both branches of an attention split, (N, D) each.

    Names are ``identity 1 … n`` for self layers and ``identity ×1 … ×m`` after cross layers; the
    encoder's own tokens are ``tokens``.
    """
    split = model.disentangle
    kept: dict[str, list[Tensor]] = {}

    def keep(name: str):
        return lambda module, given, out: kept.setdefault(name, []).append(
            out.mean(dim=1).float().cpu())

    hooks = []
    for side in ("identity", "cloth"):
        for k, norm in enumerate(getattr(split, side).norms, start=1):
            hooks.append(norm.register_forward_hook(keep(f"{side} {k}")))
        for k, norm in enumerate(getattr(split, f"{side}_norms"), start=1):
            hooks.append(norm.register_forward_hook(keep(f"{side} ×{k}")))
    try:
        with evaluating(model):
            for k in range(0, len(images), batch_size):
                _, tokens = model.image_features(_pictures(model, images[k:k + batch_size]))
                kept.setdefault("tokens", []).append(tokens.mean(dim=1).float().cpu())
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(rows).numpy() for name, rows in kept.items()}


def layer_probes(model, fit: Split, judge: Split,
                 factors: tuple[str, ...] = ("person/hair_colour", "outfit/upper_colour")
                 ) -> dict[str, dict[str, float]]:
    """What can be read after each layer: ``{layer: {factor: balanced accuracy above chance}}``.

    Factors that `unfit` names a reason for are left out.
    """
    learned, seen = layer_features(model, fit.images), layer_features(model, judge.images)
    told = {factor: [[r.factors.get(factor) for r in split.records] for split in (fit, judge)]
            for factor in factors}
    return {layer: {factor: probe(learned[layer], known, seen[layer], asked,
                                  permutations=1)["above_chance"]
                    for factor, (known, asked) in told.items() if not unfit(known, asked)}
            for layer in learned}


def similar_by_clothes(found: Embeddings, cloth_weights: tuple[float, ...]) -> list[dict]:
    """same-clothes R1 for each weight λ of the clothing clue; λ = 0 is the ranking by identity."""
    scores = []
    for weight in cloth_weights:
        report = retrieval_metrics(*score_same_clothes(found, weight)["text_to_image"])
        scores.append({"cloth_weight": weight, "r1": report.r1, "map": report.map})
    return scores


def token_lengths(tokens, captions: list[str], limits: tuple[int, ...] = (64, 100)) -> dict:
    """How long captions are in tokens, [CLS] and [SEP] included, and how many a limit cuts.

    Args:
        tokens: a `Tokens`.
        captions: any.

    Returns:
        ``{"lengths": (n,) array, "cut": {limit: share}}``.
    """
    lengths = np.array([len(tokens.tokenizer(c)["input_ids"]) for c in captions])
    return {"lengths": lengths, "cut": {n: float((lengths > n).mean()) for n in limits}}
