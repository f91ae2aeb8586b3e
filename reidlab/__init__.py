"""reidlab: identity and clothing as two vectors, every step open to view, every claim measured.

    >>> import reidlab
    >>> report = reidlab.train(reidlab.preset("corrected"), "runs/corrected")
    >>> hits = reidlab.search("runs/corrected", "a tall man with red hair, wearing a blue coat")
"""
from reidlab.evaluation.report import evaluate
from reidlab.evaluation.search import search
from reidlab.models.building import build, load
from reidlab.presets import preset
from reidlab.training.loop import train

__all__ = ["build", "evaluate", "load", "preset", "search", "train"]
