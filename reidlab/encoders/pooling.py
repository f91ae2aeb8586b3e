"""Many tokens in, one vector out. Shapes: B batch, L tokens, D width."""
from torch import Tensor

from reidlab.errors import ReidlabError


def cls_token(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """(B, L, D) → (B, D): the first token, whatever the mask."""
    return tokens[:, 0]


def masked_mean(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over the tokens that `mask` keeps.

    Args:
        tokens: (B, L, D).
        mask: (B, L), nonzero where a token counts; None counts all.

    Returns:
        (B, D); what stands in masked places never matters. A row without any token gives zeros.

    Source: note 003, text encoding.
    """
    if mask is None:
        return tokens.mean(dim=1)
    keep = mask[..., None].to(tokens.dtype)                       # (B, L, 1)
    return (tokens * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)


POOLINGS = {"cls": cls_token, "masked_mean": masked_mean}


def pooling(name: str):
    """The pooling called `name`."""
    if name not in POOLINGS:
        raise ReidlabError(f"unknown pooling {name!r}; known: {', '.join(POOLINGS)}")
    return POOLINGS[name]
