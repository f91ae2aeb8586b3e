"""What the notes call a weight, and what the kit calls it.

Names that a note prints are mapped as printed. Where a note only describes a part, its name here is
assumed: ``disentangle`` for the module of notes 002 and 003, ``id_norm_layers`` and
``cloth_norm_layers`` in note 002, ``mamba_layers`` and ``mamba_norms`` for note 003's fusion. Names
of ViT are those of the library versions before 5, too.
"""
import re
from collections.abc import Collection

HEADS = ("id_heads.", "id_heads.joint.", "cloth_heads.")  # one module, by several ways
_SIDES = {"id": "identity", "cloth": "cloth"}
_VIT = (  # before the library's version 5
    (r"attention\.attention\.query", "attention.q_proj"),
    (r"attention\.attention\.key", "attention.k_proj"),
    (r"attention\.attention\.value", "attention.v_proj"),
    (r"attention\.output\.dense", "attention.o_proj"),
    (r"intermediate\.dense", "mlp.fc1"), (r"output\.dense", "mlp.fc2"))
_PARTS = (
    (r"text_attn_norm\.(.+)", r"text_encoder.attention_norm.\1"),
    (r"text_attn\.(.+)", r"text_encoder.attention.\1"),
    (r"text_encoder\.(.+)", r"text_encoder.bert.\1"),
    (r"disentangle\.gate\.(\d.*)", r"disentangle.gate.to_gate.\1"),
    (r"fusion\.mamba_layers\.(.+)", r"fusion.layers.\1"),
    (r"fusion\.mamba_norms\.(.+)", r"fusion.norms.\1"))


def kit_names(name: str, own: Collection[str]) -> list[str]:
    """What a weight of the notes' code is called in a model of the kit; empty where it has none.

    Args:
        name: in the notes' code.
        own: all names of the model. Another design's weights do not pass for this one's.

    Source: note 001 §2.5, §2.6 and fusion §2; note 000 §1 and §2; note 002 §2.2 and §2.3; note 003
        §2, §3 and §4.3.
    """
    return [ours for ours in _candidates(name, own) if ours in own]


def _candidates(name: str, own: Collection[str]) -> list[str]:
    if match := re.fullmatch(r"id_projection\.(\d.*|weight|bias)", name):
        several, number = "disentangle.identity.4.weight" in own, match[1][0].isdigit()
        if several != number:
            return []
        return [f"disentangle.identity.{match[1]}" if number
                else f"disentangle.identity.0.{match[1]}"]
    if name.startswith("cloth_projection."):
        branches = "disentangle.identity.linear.weight" in own
        return [] if branches else [f"disentangle.cloth.linear.{name.partition('.')[2]}"]
    if name.startswith("visual_encoder.encoder.layer."):
        name = name.replace(".encoder.layer.", ".layers.", 1)
        for old, new in _VIT:
            name, changed = re.subn(rf"\.{old}\.", f".{new}.", name)
            if changed:
                break
        return [name]
    if name.split(".")[0] in ("shared_mlp", "image_mlp", "text_mlp"):
        return [head + name for head in HEADS]
    for side, ours in _SIDES.items():
        branch, cross = f"disentangle.{ours}", f"disentangle.{ours}_"
        for pattern, target in (
                (rf"disentangle\.{side}_linear\.(.+)", rf"{branch}.linear.\1"),
                (rf"disentangle\.{side}_attn_layers\.(.+)", rf"{branch}.layers.\1"),
                (rf"disentangle\.{side}_norm_layers\.(.+)", rf"{branch}.norms.\1"),
                (rf"disentangle\.{side}_cross_attn_layers\.(.+)", rf"{cross}cross.\1"),
                (rf"disentangle\.{side}_cross_norm_layers\.(.+)", rf"{cross}norms.\1"),
                (rf"disentangle\.{side}_attn\.(.+)", rf"{branch}.layers.0.\1"),
                (rf"disentangle\.{side}_norm\.(.+)", rf"{branch}.norms.0.\1"),
                (rf"disentangle\.{side}_cross_attn\.(.+)", rf"{cross}cross.0.\1"),
                (rf"disentangle\.{side}_cross_norm\.(.+)", rf"{cross}norms.0.\1")):
            if match := re.fullmatch(pattern, name):
                return [match.expand(target)]
    for pattern, target in _PARTS:
        if match := re.fullmatch(pattern, name):
            ours = match.expand(target)
            return [ours, re.sub(r"to_gate\.0\.", "to_gate.", ours)]  # one Linear, or several
    return []
