"""What a design is made of: parts and their sizes, losses and weights, and where each is from."""
from typing import Any

import torch

from reidlab.config import Experiment, flatten
from reidlab.config.changes import change
from reidlab.encoders.tokens import train_tokenizer
from reidlab.presets import preset
from reidlab.presets.sources import source
from reidlab.tables import grid
from reidlab.tasks import build

FORMS = {"cloth_adv": ("loss.cloth_adv",), "cloth_match": ("loss.cloth_match",),
         "decouple": ("loss.decouple",), "info_nce": ("loss.positives",),
         "orthogonality": ("loss.orthogonality",), "contrast": ("loss.contrast_over",)}


def describe(experiment: Experiment) -> dict[str, Any]:
    """Parts, losses and choices of an experiment.

    Args:
        experiment: of any preset; fields that differ from the preset as written say so.

    Returns:
        ``parts`` (name, class, parameters; None for pretrained ones), ``losses`` (term, weight,
        form, source), ``choices`` (field, value, source).
    """
    flat = flatten(experiment)
    weights = {name.rpartition(".")[2]: value for name, value in flat.items()
               if name.startswith("loss.weights.") and value}
    return {
        "preset": experiment.name, "size": experiment.size, "task": experiment.task,
        "parts": _parts(experiment),
        "losses": [{"term": term, "weight": weight,
                    "form": ", ".join(str(flat[f]) for f in FORMS.get(term, ()) if f in flat),
                    "source": _origin(experiment, f"loss.weights.{term}", weight),
                    "form_source": next((_origin(experiment, f, flat[f])
                                         for f in FORMS.get(term, ()) if f in flat), "")}
                   for term, weight in weights.items()],
        "choices": [{"field": name, "value": value, "source": _origin(experiment, name, value)}
                    for name, value in flat.items() if not name.startswith("loss.weights.")
                    and _origin(experiment, name, value)],
    }


def markdown(found: dict[str, Any]) -> str:
    """Three tables of what `describe` found."""
    return "\n\n".join([
        f"{found['preset']} ({found['task']}, size {found['size']})",
        grid(["part", "class", "parameters"],
             [[part["name"], part["class"], "pretrained" if part["parameters"] is None
               else f"{part['parameters']:,}"] for part in found["parts"]]),
        grid(["loss", "weight", "source of the weight", "form", "source of the form"],
             [[loss["term"], f"{loss['weight']:g}", loss["source"], loss["form"],
               loss["form_source"]] for loss in found["losses"]]),
        grid(["choice", "value", "source"],
             [[choice["field"], str(choice["value"]), choice["source"]]
              for choice in found["choices"]])])


def _origin(experiment: Experiment, name: str, value) -> str:
    """``printed: 001 §2.5``; what size or user changed is theirs; empty where it is no choice."""
    found = source(experiment.name, name)
    if found is None:
        return ""
    for size in ("base", experiment.size):
        if flatten(preset(experiment.name, size)).get(name) == value:
            if size == "base":
                return ": ".join(part for part in found if part)
            return f"size {size}"
    return "changed here"


def _parts(experiment: Experiment) -> list[dict[str, Any]]:
    """Top-level modules with what they hold, built without memory."""
    flat = flatten(experiment)
    pretrained = [name for name in ("image.pretrained", "text.pretrained") if flat.get(name)]
    plain = change(experiment, dict.fromkeys(pretrained, None))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = build(plain, tokenizer=train_tokenizer(["a"]))
    known = {"image.pretrained": ("visual_encoder", "backbone", "stems", "trunk"),
             "text.pretrained": ("text_encoder",)}
    from_elsewhere = {part for name in pretrained for part in known[name]}
    return [{"name": name, "class": type(module).__name__,
             "parameters": None if name in from_elsewhere
             else sum(p.numel() for p in module.parameters())}
            for name, module in model.named_children()]


