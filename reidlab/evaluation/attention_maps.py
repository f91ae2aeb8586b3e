"""Where a model looks: the weights of every layer, head and branch.

Shapes: B pictures, N image tokens (the first is CLS), rows × columns of patches.
"""
import numpy as np
import torch
from torch import Tensor

from reidlab.data.packing import to_tensor
from reidlab.errors import ReidlabError
from reidlab.evaluation.embeddings import refuse_another_task
from reidlab.models.modes import evaluating


@torch.inference_mode()
def encoder_maps(model, images: np.ndarray) -> Tensor:
    """Weights of the picture encoder's self-attention, (layers, B, heads, N, N); rows sum to 1.

    Args:
        model: a `TextImageModel`.
        images: (B, H, W, 3) uint8.

    Raises:
        ReidlabError: an encoder without attention.
    """
    encoder = model.visual_encoder
    if not hasattr(encoder, "set_attn_implementation"):
        raise ReidlabError(f"{type(encoder).__name__} keeps no attention weights; maps need a ViT")
    used = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")  # others keep no weights
    try:
        with evaluating(model):
            seen = encoder(to_tensor(images).to(encoder.device), output_attentions=True)
    finally:
        encoder.set_attn_implementation(used)
    if seen.attentions[0].shape[-1] != seen.last_hidden_state.shape[1]:
        raise ReidlabError(f"{encoder.config.model_type} keeps no attention of a first token that "
                           "stands for the whole picture; maps need a ViT, CLIP or DINOv2")
    return torch.stack(seen.attentions).float().cpu()


@torch.inference_mode()
def branch_maps(model, images: np.ndarray) -> dict[str, Tensor]:
    """Weights of each branch's last attention layer, (B, heads, Q, N): ``identity`` and ``cloth``.

    Q is 1 for designs that pool with a query. Designs without attention give an empty dict, and
    so do branches whose mixer has no weight for each token (conv, window, linformer) where no
    cross layer follows.
    """
    device = model.visual_encoder.device
    with evaluating(model):
        maps = model.image_features(to_tensor(images).to(device), want_maps=True)[0].maps
    return {branch: found[-1].float().cpu() for branch, found in (maps or {}).items() if found}


def rollout(maps: Tensor) -> Tensor:
    """From which pixels each last token was fed, through all layers: (B, N, N), rows sum to 1.

    Half of each layer is its residual path, which keeps a token where it was.

    Args:
        maps: (layers, B, heads, N, N) as `encoder_maps` gives them.

    Source: attention rollout, arXiv:2005.00928.
    """
    stay = torch.eye(maps.shape[-1])
    flow = stay
    for layer in maps.mean(dim=2):                                   # (B, N, N), over heads
        flow = (0.5 * layer + 0.5 * stay) @ flow
    return flow


def on_patches(weights: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """(…, N) weights over tokens → (…, rows, columns) over patches.

    CLS is left out of the picture; the rest keeps its size, so that a map tells what CLS took.

    Args:
        weights: last axis is CLS and then the patches, row by row.
        grid: (rows, columns).
    """
    return weights[..., 1:].reshape(*weights.shape[:-1], *grid).numpy()


def mass_inside(patches: np.ndarray, parts: np.ndarray, which: tuple[int, ...]) -> tuple:
    """Share of attention on some true parts, and the share an even spread would put there.

    Args:
        patches: (B, rows, columns) weights.
        parts: (B, H, W) true labels; a patch counts by the share of its pixels inside.
        which: labels of the region.

    Returns:
        ``(mass, area)``, means over the pictures in which the region is seen.
    """
    inside = torch.from_numpy(np.isin(parts, which)).float()
    pooled = torch.nn.functional.adaptive_avg_pool2d(inside[:, None], patches.shape[1:])[:, 0]
    share, seen = pooled.numpy(), inside.flatten(1).any(dim=1).numpy()
    mass = (patches * share).sum(axis=(1, 2)) / patches.sum(axis=(1, 2))
    return float(mass[seen].mean()), float(share.mean(axis=(1, 2))[seen].mean())


def attention(model, images: np.ndarray) -> dict[str, Tensor]:
    """Every attention map of some images, by a model that is left as it was.

    Args:
        model: a `TextImageModel`.
        images: (B, H, W, 3) uint8.

    Returns:
        ``encoder`` (layers, B, heads, N, N), and ``identity`` and ``cloth`` (B, heads, Q, N) for
        designs whose branches have attention.

    Raises:
        ReidlabError: a model of the other task.
    """
    refuse_another_task(model)
    return {"encoder": encoder_maps(model, images)} | branch_maps(model, images)


@torch.inference_mode()
def gate(model, images: np.ndarray) -> np.ndarray | None:
    """(B, D) fraction of each channel that identity gets; None for a design without a gate.

    Args:
        model: a `TextImageModel`; it is left as it was.
        images: (B, H, W, 3) uint8.

    Raises:
        ReidlabError: a model of the other task.
    """
    refuse_another_task(model)
    device = model.visual_encoder.device
    with evaluating(model):
        found = model.image_features(to_tensor(images).to(device))[0].gate
    return None if found is None else found.float().cpu().numpy()
