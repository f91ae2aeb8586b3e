"""Large batches in little memory: one chunk of rows is in work at a time, the gradient is exact."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def in_chunks(encode: Callable[[Any], Sequence[Tensor | None]], rows: Tensor | list[str],
              size: int | None, device: torch.device | None = None) -> list[Tensor | None]:
    """``encode(rows)`` for functions that treat every row alone.

    A contrastive loss needs the whole batch, but only its vectors. So the activations of a chunk
    are forgotten once its vectors are there, and made again when the gradient of those vectors is
    known: one more forward pass, and the memory of one chunk.

    Args:
        encode: B rows → tensors of B rows each, or None.
        rows: pictures or texts.
        size: rows of a chunk; None takes all at once, and so does a pass without gradients.
        device: of the model, where `rows` are texts: what is drawn there is drawn again.

    Source: gradient caching, arXiv:2101.06983.
    """
    if size is None or len(rows) <= size or not torch.is_grad_enabled():
        return list(encode(rows))
    where = torch.empty(0, device=device)  # whose device's random state the library restores
    made = [checkpoint(lambda chunk, _: encode(chunk), rows[k:k + size], where,
                       use_reentrant=False) for k in range(0, len(rows), size)]
    return [None if pieces[0] is None else torch.cat(pieces)
            for pieces in zip(*made, strict=True)]
