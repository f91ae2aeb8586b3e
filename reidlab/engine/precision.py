"""What a run computes on, and in which number format that is fastest."""
import torch


def fast_bf16() -> bool:
    """Whether bfloat16 is the faster format here: a CUDA device, or a CPU that multiplies in it.

    Elsewhere a step in bfloat16 takes many times as long as one in float32.
    """
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return torch.cuda.is_available() or bool(known())


def fastest_device() -> str:
    """Where a model that nobody trains is put: the first GPU, where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """What a run computes on, as a model card says it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"a CPU, {threads} thread{'s' if threads > 1 else ''}"
