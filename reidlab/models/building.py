"""From an experiment, or from a run on disk, to a model."""
from functools import lru_cache
from pathlib import Path

import torch
from transformers import BertTokenizer

from reidlab.changes import AnyExperiment
from reidlab.config import InfraredExperiment
from reidlab.data.world import World
from reidlab.encoders.bert import train_tokenizer
from reidlab.errors import ReidlabError
from reidlab.models.deen import DEEN
from reidlab.models.text_image import TextImageModel
from reidlab.models.visible_infrared import CrossModal, EmbedNet
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder

CLASSIFIERS = ("model.id_classifier.weight", "model.classifier.weight")
BACKBONES = {"dual_vit": EmbedNet, "resnet": DEEN}


def build(experiment: AnyExperiment, classes: int | None = None, tokenizer=None
          ) -> TextImageModel | CrossModal:
    """The untrained model of an experiment; its seed fixes every weight.

    Args:
        experiment: what to build.
        classes: training identities C; when not given, 8000 as in the notes, or the 395 of
            SYSU-MM01.
        tokenizer: of the captions; by default the pretrained one or, from scratch, one trained
            on a sample of the drawn world's captions.
    """
    if isinstance(experiment, InfraredExperiment):
        torch.manual_seed(experiment.seed)
        return BACKBONES[experiment.stages.backbone](experiment, classes or 395)
    if tokenizer is None and not experiment.text.pretrained:
        tokenizer = _drawn_tokenizer()
    torch.manual_seed(experiment.seed)
    return TextImageModel(experiment, tokenizer, classes)


@lru_cache(maxsize=1)
def _drawn_tokenizer() -> BertTokenizer:
    said = [World().describe(k, k, 0) for k in range(1000)]
    return train_tokenizer([f"{s.id_caption} {s.cloth_caption}" for s in said])


def load(run_dir: str | Path) -> TextImageModel | CrossModal:
    """The best model of a run, in eval mode.

    Raises:
        ReidlabError: no run, no checkpoint yet, or one that does not fit.
    """
    run = RunFolder(run_dir)
    experiment = run.experiment()
    tensors, _ = checkpoint.read(run.best)
    classes = next((tensors[name].shape[0] for name in CLASSIFIERS if name in tensors), None)
    tokenizer = None
    if not isinstance(experiment, InfraredExperiment) and not experiment.text.pretrained:
        try:
            tokenizer = BertTokenizer.from_pretrained(run.tokenizer)
        except (OSError, ValueError) as fault:
            raise ReidlabError(f"{run.tokenizer} holds no tokenizer; the run is incomplete, train "
                               "it again") from fault
    model = build(experiment, classes, tokenizer)
    checkpoint.restore(run.best, {"model": model})
    return model.eval()
