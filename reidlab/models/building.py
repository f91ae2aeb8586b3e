"""From an experiment, or from a run on disk, to a model."""
from functools import lru_cache
from pathlib import Path

import psutil
import torch
from transformers import BertTokenizer

from reidlab.changes import AnyExperiment
from reidlab.config import InfraredExperiment
from reidlab.data.world import World
from reidlab.encoders.bert import SPECIAL, train_tokenizer
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


def refuse_unbuildable(experiment: AnyExperiment) -> None:
    """Build the model without memory or, from pretrained weights, once for good measure.

    What does not fit together, or into this machine, is told before a picture is drawn or read.

    Raises:
        ReidlabError: widths that do not divide or meet, an unknown part, too large a model, or
            pretrained weights that are missing or made for another picture size.
    """
    parts = [part for part in (experiment.image, getattr(experiment, "text", None)) if part]
    light = not any(part.pretrained for part in parts)
    words = train_tokenizer(["a"]) if light else None
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta" if light else "cpu"):
            model = build(experiment, 2, words)
    except ReidlabError:
        raise
    except (ValueError, RuntimeError, AssertionError, ArithmeticError, TypeError) as fault:
        why = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise ReidlabError(f"{experiment.name} cannot be built at these settings: {why}; change "
                           "the widths, heads, layers or patches that differ from the preset"
                           ) from fault
    needed = 16 * sum(p.numel() for p in model.parameters())  # weights, gradients, two moments
    if needed > psutil.virtual_memory().total:
        raise ReidlabError(f"{experiment.name} needs {needed / 1e9:.0f} GB for its weights and "
                           f"their training; this machine has "
                           f"{psutil.virtual_memory().total / 1e9:.0f} GB: lower the widths")
    _refuse_another_picture_size(experiment, model)


def _refuse_another_picture_size(experiment: AnyExperiment, model) -> None:
    """Position embeddings of a pretrained text-image ViT are made for one grid of patches."""
    if not experiment.image.pretrained or not isinstance(model, TextImageModel):
        return
    size = model.visual_encoder.config.image_size
    made = (size, size) if isinstance(size, int) else tuple(size)
    asked = (experiment.image.height, experiment.image.width)
    if made != asked:
        raise ReidlabError(f"the weights in {experiment.image.pretrained!r} are made for pictures "
                           f"of {made[0]}x{made[1]}; image.height and image.width are "
                           f"{asked[0]}x{asked[1]}: set them to the former")


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
        tokenizer = read_tokenizer(run)
    model = build(experiment, classes, tokenizer)
    checkpoint.restore(run.best, {"model": model})
    return model.eval()


def read_tokenizer(run: RunFolder) -> BertTokenizer:
    """The tokenizer that was trained with a run.

    Raises:
        ReidlabError: there is none, or it is damaged.
    """
    try:
        found = BertTokenizer.from_pretrained(run.tokenizer)
    except Exception as fault:  # a damaged folder fails in many ways inside the library
        raise ReidlabError(f"{run.tokenizer} holds no tokenizer; the run is incomplete, train it "
                           "again in a new folder") from fault
    if len(found) <= len(SPECIAL):  # the library makes up an empty one where the file is gone
        raise ReidlabError(f"{run.tokenizer} holds a tokenizer without words; the run is damaged, "
                           "train it again in a new folder")
    return found
