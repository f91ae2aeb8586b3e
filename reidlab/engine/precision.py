"""In which number format a device trains fastest."""
import torch


def fast_bf16() -> bool:
    """Whether bfloat16 is the faster format here: a CUDA device, or a CPU that multiplies in it.

    Elsewhere a step in bfloat16 takes many times as long as one in float32.
    """
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return torch.cuda.is_available() or bool(known())
