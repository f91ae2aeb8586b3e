"""In which precision a measure of vectors is given."""
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Out = TypeVar("Out", bound=Any)


def precision_of(*inputs: Tensor) -> torch.dtype:
    """The highest of the inputs' own, and float32 at least: in half precision squares overflow
    and small differences vanish."""
    kind = torch.float32
    for tensor in inputs:
        kind = torch.promote_types(kind, tensor.dtype)
    return kind


def in_full_precision(out: Out) -> Out:
    """A model's output with every half-precision tensor in float32: no loss is taken in less.

    Args:
        out: a dataclass; what is no floating-point tensor stays.
    """
    return replace(out, **{item.name: value.float() for item in fields(out)
                           if isinstance(value := getattr(out, item.name), Tensor)
                           and value.dtype in (torch.bfloat16, torch.float16)})
