"""Look at a model at rest, and leave it as it was found."""
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; afterwards every part is in its own former mode, whatever happened.

    ``model.train(was_training)`` would also wake the parts that somebody put to rest.
    """
    before = [(part, part.training) for part in model.modules()]
    try:
        yield model.eval()
    finally:
        for part, training in before:
            part.training = training
