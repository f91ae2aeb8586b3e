"""In which precision a measure of vectors is given."""
import torch
from torch import Tensor


def precision_of(*inputs: Tensor) -> torch.dtype:
    """The highest of the inputs' own, and float32 at least: in half precision squares overflow
    and small differences vanish."""
    kind = torch.float32
    for tensor in inputs:
        kind = torch.promote_types(kind, tensor.dtype)
    return kind
