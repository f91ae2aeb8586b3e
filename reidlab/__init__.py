"""reidlab: identity and clothing as two vectors, every step open to view, every claim measured.

    >>> import reidlab
    >>> report = reidlab.train(reidlab.preset("corrected"), "runs/corrected")
    >>> hits = reidlab.search("runs/corrected", "a tall man with red hair, wearing a blue coat")

A trained model is looked into by the same names:

    >>> model, data = reidlab.load("runs/corrected"), reidlab.load_data("runs/corrected")
    >>> vectors = reidlab.embed(model, data.test).id_image
    >>> maps = reidlab.attention(model, data.test.images[:4])["identity"]
    >>> share = reidlab.gate(model, data.test.images[:4])  # None: `corrected` has no gate

Each name is fetched from its home when it is first asked for, so that a command which needs no
model does not wait for torch.
"""
from importlib import import_module

from reidlab.threads import wait_briefly

wait_briefly()  # before anything here loads torch

_HOMES = {"attention": "evaluation.attention_maps", "build": "tasks",
          "embed": "evaluation.embeddings", "evaluate": "engine.evaluate",
          "gate": "evaluation.attention_maps", "index": "engine.indexing", "load": "tasks",
          "load_data": "tasks", "preset": "presets", "search": "engine.search",
          "train": "engine.train"}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"reidlab has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"reidlab.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
