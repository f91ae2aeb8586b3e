"""Every choice of an experiment, one frozen dataclass a part, one comment a field.

An experiment is plain data: it is written to ``config.json`` as it is, and
``part.field=value`` on the command line changes any field of it.
"""
from reidlab.config.shared import Image, Training, flatten
from reidlab.config.text_image import (
    Data,
    Disentangle,
    Experiment,
    Fusion,
    Heads,
    Loss,
    LossWeights,
    Scoring,
    Text,
)
from reidlab.config.visible_infrared import (
    Expansion,
    InfraredData,
    InfraredExperiment,
    InfraredLoss,
    InfraredScoring,
    InfraredWeights,
    Stages,
)

TASKS = {kind.task: kind for kind in (Experiment, InfraredExperiment)}

__all__ = ["Data", "Disentangle", "Expansion", "Experiment", "Fusion", "Heads", "Image",
           "InfraredData", "InfraredExperiment", "InfraredLoss", "InfraredScoring",
           "InfraredWeights", "Loss", "LossWeights", "Scoring", "Stages", "TASKS", "Text",
           "Training", "flatten"]
