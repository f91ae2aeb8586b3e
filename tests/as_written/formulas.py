"""The notes' formulas in plain tensor code, one expression each, sharing weights with the kit.

Nothing of the kit's forward code is used: each function gets tensors and says the formula.
"""
import math

import torch
from torch import Tensor


def linear(layer, x: Tensor) -> Tensor:
    return torch.einsum("...i,oi->...o", x, layer.weight) + layer.bias


def layer_norm(norm, x: Tensor) -> Tensor:
    moved = x - x.mean(-1, keepdim=True)
    return moved / (moved.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def batch_norm(norm, x: Tensor, training: bool) -> Tensor:
    mean = x.mean(0) if training else norm.running_mean
    spread = (x - mean).pow(2).mean(0) if training else norm.running_var
    return (x - mean) / (spread + norm.eps).sqrt() * norm.weight + norm.bias


def unit(x: Tensor) -> Tensor:
    return x / x.pow(2).sum(-1, keepdim=True).sqrt().clamp(min=1e-12)


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


def attention(layer, query: Tensor, source: Tensor, padded: Tensor | None = None) -> Tensor:
    """(B, N, D) reads (B, M, D), head by head."""
    dim, heads = layer.embed_dim, layer.num_heads
    w, b = layer.in_proj_weight, layer.in_proj_bias
    q, k, v = (x @ w[n * dim:(n + 1) * dim].T + b[n * dim:(n + 1) * dim]
               for n, x in enumerate((query, source, source)))
    seen = []
    for h in range(heads):
        part = slice(h * dim // heads, (h + 1) * dim // heads)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(dim / heads)
        if padded is not None:
            scores = scores.masked_fill(padded[:, None], -math.inf)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        seen.append(weights @ v[..., part])
    return linear(layer.out_proj, torch.cat(seen, -1))


def mlp(layers, x: Tensor, training: bool) -> Tensor:
    """BatchNorm, ReLU, Linear, BatchNorm, ReLU, Linear; dropout is off in these tests."""
    x = linear(layers[3], relu(batch_norm(layers[0], x, training)))
    return linear(layers[7], relu(batch_norm(layers[4], x, training)))


def head(shared, own, x: Tensor, training: bool) -> Tensor:
    return unit(mlp(own, linear(shared, x), training))


def gated_fusion(fusion, image: Tensor, text: Tensor) -> Tensor:
    """At length 1 attention is the value's projection, whatever the query."""
    def value(layer, x):
        dim = layer.embed_dim
        return linear(layer.out_proj, x @ layer.in_proj_weight[2 * dim:].T
                      + layer.in_proj_bias[2 * dim:])
    i = layer_norm(fusion.norm_image, value(fusion.image_attn, text) + image)
    t = layer_norm(fusion.norm_text, value(fusion.text_attn, image) + text)
    scores = linear(fusion.gate[3], relu(linear(fusion.gate[0], torch.cat([i, t], -1)))).exp()
    w = scores / scores.sum(-1, keepdim=True)
    return layer_norm(fusion.norm_final, linear(fusion.fc, w[:, :1] * i + w[:, 1:] * t))


def mamba_of_one(layer, x: Tensor) -> Tensor:
    """One step of a selective scan that starts at zero, (B, D) → (B, D)."""
    inner = layer.out_proj.weight.shape[1]
    a, z = (x @ layer.in_proj.weight.T).split(inner, -1)
    a = a * layer.conv1d.weight[:, 0, -1] + layer.conv1d.bias      # earlier taps see zeros
    a = a / (1 + (-a).exp())
    state = layer.A_log.shape[1]
    low, b, c = (a @ layer.x_proj.weight.T).split(
        [layer.dt_proj.weight.shape[1], state, state], -1)
    delta = (1 + linear(layer.dt_proj, low).exp()).log()
    h = delta[..., None] * b[:, None] * a[..., None]               # exp(Δ·A) meets a zero state
    y = (h * c[:, None]).sum(-1) + layer.D * a
    return (y * z / (1 + (-z).exp())) @ layer.out_proj.weight.T


def mamba_fusion(fusion, image: Tensor, text: Tensor) -> Tensor:
    joint = torch.cat([layer_norm(align[2], relu(linear(align[0], x))) for align, x in (
        (fusion.image_align, image), (fusion.text_align, text))], -1)
    for layer, norm in zip(fusion.layers, fusion.norms, strict=True):
        joint = layer_norm(norm, mamba_of_one(layer, joint) + joint)
    return layer_norm(fusion.norm_final, linear(fusion.fc, joint))


def two_branches(split, x: Tensor, add_input: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Notes 002 and 003: self layers, cross layers side by side, mean, gate."""
    sides = []
    for branch in (split.identity, split.cloth):
        f = linear(branch.linear, x)
        for layer, norm in zip(branch.layers, branch.norms, strict=True):
            f = layer_norm(norm, attention(layer, f, f) + (x if add_input else f))
        sides.append(f)
    i, c = sides
    for to_i, to_c, norm_i, norm_c in zip(split.identity_cross, split.cloth_cross,
                                          split.identity_norms, split.cloth_norms, strict=True):
        i, c = (layer_norm(norm_i, attention(to_i, i, c) + i),
                layer_norm(norm_c, attention(to_c, c, i) + c))
    i, c = i.mean(1), c.mean(1)
    g = 1 / (1 + (-linear(split.gate.to_gate, torch.cat([i, c], -1))).exp())
    return g * i, (1 - g) * c, g


def cross_entropy_of_diagonal(scores: Tensor) -> Tensor:
    rows = [-(scores[k, k] - scores[k].exp().sum().log()) for k in range(len(scores))]
    return sum(rows) / len(rows)


def info_nce(a: Tensor, b: Tensor, t: float) -> Tensor:
    scores = unit(a) @ unit(b).T / t
    return (cross_entropy_of_diagonal(scores) + cross_entropy_of_diagonal(scores.T)) / 2


def info_nce_one_way(a: Tensor, b: Tensor, t: float) -> Tensor:
    return cross_entropy_of_diagonal(unit(a) @ unit(b).T / t)


def gram(a: Tensor, b: Tensor) -> Tensor:
    total = sum((unit(a)[i] @ unit(a)[j]) * (unit(b)[i] @ unit(b)[j])
                for i in range(len(a)) for j in range(len(a)))
    return total / len(a) ** 2


def off_diagonal_mean(a: Tensor, b: Tensor) -> Tensor:
    alike, rows = unit(a) @ unit(b).T, len(a)
    others = [torch.cat([alike[i, :i], alike[i, i + 1:]]) for i in range(rows)]
    return torch.cat(others).sum() / (rows * (rows - 1))
