"""Where each choice of a design as written comes from; citations are headings of docs/notes.md.

A choice that nothing here names with its whole field takes the entry of the part it belongs to.
"""
from typing import NamedTuple


class Source(NamedTuple):
    """Origin of one choice.

    Attributes:
        kind: ``printed`` (the note has it as code, formula or number, or in words that leave one
            reading), ``ancestor`` (the note only
            describes it; the public code base that it speaks of does it this way), ``rebuilt`` (the
            note's code does not run) or ``assumed`` (neither says).
        where: heading of docs/notes.md; empty where no note speaks of it.
    """

    kind: str
    where: str = ""


def _printed(where: str, *fields: str) -> dict[str, Source]:
    return dict.fromkeys(fields, Source("printed", where))


def _assumed(where: str, *fields: str) -> dict[str, Source]:
    return dict.fromkeys(fields, Source("assumed", where))


NO_CHOICE = {  # which people are shown, not what the design is
    "data.source", "data.seed", "data.people", "data.val_people", "data.test_people",
    "data.outfits", "data.images_per_outfit", "data.trial", "data.labelled_fraction",
    "data.train_on_val", "seed",
    "name", "size", "training.monitor_every", "training.checkpoint_minutes",
    "training.checkpoint_every",
    "training.validate_every", "training.compile", "training.mixed_precision", "scoring"}

_TEXT_IMAGE = {
    **_assumed("", "data", "training", "image", "text", "disentangle", "heads", "fusion", "loss"),
    **_printed("003 §1", "image.height", "image.width", "image.patch", "image.dim", "text.dim"),
    **_printed("003 §2", "image.layers", "image.heads"),
    **_printed("001 §2.10", "image.pretrained", "text.pretrained"),
    **_printed("001 §2.2.4 and §2.2.5", "data.mismatched_fraction", "data.negatives",
               "data.pairs"),
    **_printed("001 §2.6", "heads"),
    **_assumed("", "heads.alignment"),
    **_printed("001 §2.2.2", "loss.temperature", "loss.learned_temperature", "loss.positives",
               "loss.cloth_match", "loss.decouple_on"),
    "loss.projectors": Source("ancestor", "001 §2.2.2"),
    "loss.weights.bio": Source("assumed", "002 §3.3"),
}
_NOTE_001 = {
    **_TEXT_IMAGE,
    **_printed("001 §2.10", "text.max_length", "text.pooling", "text.trainable"),
    **_printed("001 §2.5", "disentangle.name", "disentangle.pooling"),
    **_printed("001 §2.2", "disentangle.reversal"),
    **_printed("001 fusion §2", "fusion.name", "fusion.heads", "fusion.dropout",
               "fusion.gate_groups", "fusion.mixer"),
    **_printed("001 §2.2.4 and §2.2.5", "loss.weights.cloth_match", "loss.weights.decouple"),
    **_printed("001 §2.2.2", "loss.decouple"),
    **_assumed("000 The list of losses", "loss.cloth_adv"),
}
_NOTE_002_LOSSES = {
    **_printed("002 §3.3", "loss.weights.bio", "loss.weights.cloth", "loss.temperature"),
    **_printed("002 §3.4", "loss.weights.cloth_adv"),
    **_printed("002 §3.5", "loss.weights.cloth_match"),
    **_printed("002 §3.1", "loss.weights.decouple", "loss.decouple"),
    **_printed("002 §3.2", "loss.weights.gate_regularization"),
    "loss.cloth_adv": Source("ancestor", "002 §3.4"),
}
_NOTE_003 = {
    **_TEXT_IMAGE,
    **_printed("003 §3", "text.max_length", "text.pooling", "text.trainable", "text.attention"),
    **_printed("003 §2", "disentangle.name", "disentangle.pooling", "disentangle.self_layers",
               "disentangle.cross_layers", "disentangle.heads", "disentangle.mixer",
               "disentangle.residual_from", "disentangle.cross_order", "disentangle.gate"),
    **_printed("003 §4.3", "fusion.name", "fusion.layers", "fusion.gate"),
    **_printed("003 §1", "fusion.d_state", "fusion.d_conv", "fusion.dropout", "text.dropout"),
    **_assumed("003 §4.3", "fusion.expand"),
}
_NOTE_004 = {
    **_assumed("", "data", "training", "image", "stages", "expansion", "loss"),
    **_printed("004 §2.1", "image.height", "image.width", "image.patch", "image.dim",
               "image.layers", "stages.backbone", "stages.embeddings"),
    **_printed("004 §2.2 and §2.3", "stages.chained"),
    **_printed("004 §2", "stages.low"),
    **_assumed("004 §2", "stages.aggregation"),
    **_printed("004 §2.5", "stages.depth", "stages.pooling", "stages.neck", "stages.retrieve"),
    **_assumed("004 §2.5", "stages.final_norm"),
    "expansion.name": Source("ancestor", "004 §2.4"),
    **_assumed("004 §3.1.4", "loss.orthogonality"),
}


def _expansion(where: str, kind: str, *fields: str) -> dict[str, Source]:
    return {"expansion.name": Source(kind, where), **_printed("004 §3.1.4", "loss.orthogonality"),
            **_printed(where, *(f"expansion.{field}" for field in fields))}


SOURCES: dict[str, dict[str, Source]] = {
    "projection": _NOTE_001,
    "merged": {
        **_NOTE_001, **_printed("000 §1", "disentangle.name", "heads.name"),
        "loss.decouple": Source("assumed", "000 The list of losses")},
    "residual": {
        **_NOTE_001, **_printed("000 §2", "disentangle.name"),
        "loss.decouple": Source("assumed", "000 The list of losses")},
    "attention": {  # note 003 has no losses
        **_NOTE_003, **{name: Source("assumed", found.where)
                        for name, found in _NOTE_002_LOSSES.items()}},
    "deep_attention": {
        **_NOTE_003, **_NOTE_002_LOSSES,
        **_printed("002 §2.2 and §2.3", "disentangle.self_layers", "disentangle.cross_layers",
                   "disentangle.residual_from"),
        **_assumed("002 §2.2 and §2.3", "disentangle.cross_order", "disentangle.heads"),
        **_assumed("002 §2.5", "disentangle.gate")},
    "embednet": _NOTE_004,
    "embednet_tmhee": {**_NOTE_004, **_expansion("004 suggestion 1", "printed", "heads",
                                                 "dropout")},
    "embednet_cmatm": {**_NOTE_004, **_expansion("004 suggestion 2", "rebuilt", "heads",
                                                 "dropout", "views")},
    "embednet_ssdec": {**_NOTE_004, **_expansion("004 suggestion 3", "rebuilt", "heads", "dropout",
                                                 "views", "drop"),
                       **_assumed("004 suggestion 3", "loss.weights.contrast",
                                  "loss.contrast_over")},
}
OF_OURS = {"deen": Source("published", "arXiv:2303.14481"),
           "baseline": Source("published", "arXiv:2303.12501"),
           **dict.fromkeys(("corrected", "clothes_changing", "embednet_corrected"),
                           Source("the kit's"))}


def source(design: str, name: str) -> Source | None:
    """Origin of the field `name` of a design; None where the field is no choice of it.

    Args:
        design: a preset's name.
        name: dotted, for example ``loss.weights.bio``.

    Raises:
        KeyError: an as-written design whose field nothing covers.
    """
    parts = name.split(".")
    prefixes = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    if not NO_CHOICE.isdisjoint(prefixes):
        return None
    if design in OF_OURS:
        return OF_OURS[design]
    return next(SOURCES[design][prefix] for prefix in prefixes if prefix in SOURCES[design])
