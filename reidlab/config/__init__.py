"""Every choice of an experiment, one frozen dataclass a part, one comment a field.

An experiment is plain data: it is written to ``config.json`` as it is, and
``part.field=value`` on the command line changes any field of it. ``Data``, ``Loss``, ``Weights``
and ``Scoring`` are each task's own: import them from ``config.text_image`` or
``config.visible_infrared``.
"""
from reidlab.config.shared import Experiment, Image, Training, flatten
from reidlab.config.text_image import Disentangle, Fusion, Heads, Text, TextImageExperiment
from reidlab.config.visible_infrared import Expansion, Stages, VisibleInfraredExperiment

EXPERIMENTS = {kind.task: kind for kind in (TextImageExperiment, VisibleInfraredExperiment)}

__all__ = ["EXPERIMENTS", "Disentangle", "Expansion", "Experiment", "Fusion", "Heads", "Image",
           "Stages", "Text", "TextImageExperiment", "Training", "VisibleInfraredExperiment",
           "flatten"]
