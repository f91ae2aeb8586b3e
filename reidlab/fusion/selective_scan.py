"""The Mamba layer in plain PyTorch: same constructor, names and shapes as ``mamba_ssm.Mamba``.

Shapes: B batch, L time, E inner width, S state size. The scan runs over all time steps at once
(log₂ L rounds of doubling) with a backward of its own.

Source: Mamba, arXiv:2312.00752.
"""
import logging
import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

log = logging.getLogger(__name__)


def linear_recurrence(decay: Tensor, drive: Tensor, *, reverse: bool = False) -> Tensor:
    """Solve ``h[t] = decay[t] · h[t−1] + drive[t]`` with ``h[−1] = 0`` for all t at once.

    Args:
        decay, drive: (L, …); time first, so that every slice is one block of memory.
        reverse: run from the end: ``h[t] = decay[t] · h[t+1] + drive[t]``.

    Returns:
        (L, …). After the round with reach k each entry holds the last k terms of its sum.
    """
    h, a = drive.clone(), decay.clone()
    reach, length = 1, len(h)
    while reach < length:
        if reverse:
            now, before = slice(None, -reach), slice(reach, None)
        else:
            now, before = slice(reach, None), slice(None, -reach)
        step = a[now] * h[before]
        h[now] += step
        if 2 * reach < length:
            a[now] = a[now] * a[before]
        reach *= 2
    return h


class _Scan(torch.autograd.Function):
    """States of a diagonal linear recurrence; the gradient is the same recurrence run backwards."""

    @staticmethod
    def forward(ctx, decay: Tensor, drive: Tensor) -> Tensor:
        h = linear_recurrence(decay, drive)
        ctx.save_for_backward(decay, h)
        return h

    @staticmethod
    def backward(ctx, grad: Tensor):
        decay, h = ctx.saved_tensors
        following = torch.cat([decay[1:], torch.zeros_like(decay[:1])])
        flow = linear_recurrence(following, grad, reverse=True)
        grad_decay = torch.zeros_like(decay)
        grad_decay[1:] = flow[1:] * h[:-1]
        return grad_decay, flow


def selective_scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """State space model whose step size and projections depend on the input.

    ``h[t] = exp(Δ[t] A) h[t−1] + Δ[t] B[t] u[t]``, ``y[t] = C[t] · h[t] + D u[t]``.

    Args:
        u, delta: (B, L, E); delta > 0.
        A: (E, S), negative.
        B, C: (B, L, S).
        D: (E,).

    Returns:
        (B, L, E).
    """
    delta_t, u_t = delta.transpose(0, 1), u.transpose(0, 1)            # (L, B, E)
    decay = torch.exp(delta_t[..., None] * A)                         # (L, B, E, S)
    drive = (delta_t * u_t)[..., None] * B.transpose(0, 1)[:, :, None]  # (L, B, E, S)
    h = _Scan.apply(decay, drive)
    y = torch.einsum("lbes,bls->ble", h, C)
    return y + u * D


class Mamba(nn.Module):
    """Selective state space layer, (B, L, D) → (B, L, D), causal.

    Args:
        d_model: width D.
        d_state: state size S.
        d_conv: taps of the depthwise causal convolution.
        expand: inner width E over D.

    Names and shapes of all parameters are those of ``mamba_ssm.Mamba``, so either loads the
    other's weights. 1,694,720 parameters at ``d_model=512``.
    """

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2):
        super().__init__()
        inner, self.rank = expand * d_model, math.ceil(d_model / 16)
        self.d_state = d_state
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)
        self.x_proj = nn.Linear(inner, self.rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, d_model, bias=False)
        self._start_steps()

    @torch.no_grad()
    def _start_steps(self) -> None:
        """Step sizes start log-uniform in [.001, .1], as in the published layer."""
        nn.init.uniform_(self.dt_proj.weight, -self.rank ** -0.5, self.rank ** -0.5)
        low, high = math.log(1e-3), math.log(1e-1)
        step = torch.exp(low + (high - low) * torch.rand_like(self.dt_proj.bias)).clamp(min=1e-4)
        self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))  # inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.in_proj(x).chunk(2, dim=-1)                        # (B, L, E) each
        u = self.conv1d(u.transpose(1, 2))[..., :x.shape[1]].transpose(1, 2)
        u = F.silu(u)
        delta, B, C = self.x_proj(u).split([self.rank, self.d_state, self.d_state], dim=-1)
        delta = F.softplus(self.dt_proj(delta))
        y = selective_scan(u, delta, -torch.exp(self.A_log), B, C, self.D)
        return self.out_proj(y * F.silu(z))


@lru_cache(maxsize=1)
def _probe() -> tuple[type[nn.Module], str]:
    """The layer to use and why; a small scan on the GPU decides, since some builds of mamba_ssm
    import and fail only in ``forward``."""
    if not torch.cuda.is_available():
        return Mamba, "torch (no CUDA device)"
    try:
        from mamba_ssm import Mamba as CudaMamba
        CudaMamba(16).cuda()(torch.zeros(1, 4, 16, device="cuda"))
    except ImportError:
        return Mamba, "torch (mamba_ssm is not installed)"
    except Exception as fault:  # any failure of another package's kernel has one answer: ours
        return Mamba, f"torch (mamba_ssm failed a test scan: {fault})"
    return CudaMamba, "mamba_ssm (ran a test scan)"


def mamba_path() -> str:
    """Which Mamba layer is used and why."""
    return _probe()[1]


@lru_cache(maxsize=1)
def fastest_mamba() -> type[nn.Module]:
    """``mamba_ssm.Mamba`` where it really runs, else ours; the choice is logged once."""
    log.info("scan: %s", mamba_path())
    return _probe()[0]
