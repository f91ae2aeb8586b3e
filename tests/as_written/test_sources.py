"""Every choice of a design as written has a source, and `describe` shows it."""
import json
import re

import pytest

from reidlab.__main__ import main
from reidlab.config import flatten
from reidlab.engine.describe import describe
from reidlab.places import docs_folder
from reidlab.presets import PRESETS, preset
from reidlab.presets.sources import NO_CHOICE, OF_OURS, SOURCES, source

KINDS = {"printed", "ancestor", "rebuilt", "assumed"}
PRINTED = {  # numbers of the notes, written down once more
    "projection": {"text.max_length": 100, "loss.weights.cloth_match": 0.5,
                   "loss.weights.decouple": 0.3, "loss.temperature": 0.1, "heads.hidden": 512,
                   "heads.embedding": 256, "heads.dropout": 0.2, "fusion.heads": 4,
                   "fusion.dropout": 0.1, "image.height": 224},
    "deep_attention": {"loss.weights.bio": 0.5, "loss.weights.cloth": 0.5,
                       "loss.weights.cloth_adv": 0.1, "loss.weights.cloth_match": 1.0,
                       "loss.weights.decouple": 0.2, "loss.weights.gate_regularization": 0.01,
                       "disentangle.self_layers": 6, "disentangle.cross_layers": 3},
    "attention": {"text.max_length": 64, "disentangle.heads": 4, "fusion.layers": 2,
                  "fusion.d_state": 16, "fusion.d_conv": 4, "fusion.dropout": 0.1},
    "embednet": {"image.height": 384, "image.width": 384, "stages.depth": 1},
    "embednet_tmhee": {"expansion.heads": 4, "expansion.dropout": 0.1},
    "embednet_cmatm": {"expansion.heads": 8, "expansion.views": 3, "expansion.dropout": 0.1},
    "embednet_ssdec": {"expansion.heads": 8, "expansion.views": 3, "expansion.drop": 0.3},
}


def test_every_design_has_sources():
    assert SOURCES.keys() | OF_OURS.keys() == PRESETS.keys()
    assert not SOURCES.keys() & OF_OURS.keys()


@pytest.mark.parametrize("design", list(SOURCES))
def test_every_choice_has_a_source_that_can_be_looked_up(design):
    headings = re.findall(r"^### (.+)$", (docs_folder() / "notes.md").read_text(), re.M)
    for name in flatten(preset(design, "base")):
        found = source(design, name)
        if found is None:
            assert any(name == part or name.startswith(f"{part}.") for part in NO_CHOICE), name
            continue
        assert found.kind in KINDS, name
        assert found.where or found.kind == "assumed", name
        assert not found.where or any(h.startswith(found.where) for h in headings), found
    known = set(flatten(preset(design, "base")))
    for name in SOURCES[design]:  # no entry speaks of a field that is gone
        assert any(field == name or field.startswith(f"{name}.") for field in known), name


@pytest.mark.covers("E11")
@pytest.mark.parametrize("design", list(PRINTED))
def test_printed_numbers_are_the_notes(design):
    flat = flatten(preset(design, "base"))
    for name, value in PRINTED[design].items():
        assert flat[name] == value, name
        assert source(design, name).kind == "printed", name


def test_what_was_rebuilt_says_so():
    assert source("embednet_cmatm", "expansion.name").kind == "rebuilt"
    assert source("embednet_ssdec", "expansion.name").kind == "rebuilt"
    for name in ("embednet_cmatm", "embednet_ssdec"):
        about = PRESETS[name].__doc__
        assert "rebuilt" in about and "as written" not in about


def test_describe_prints_parts_losses_and_choices(capsys):
    assert main(["describe", "deep_attention"]) == 0
    shown = capsys.readouterr().out
    assert "| disentangle | AttentionDisentangler | 44,911,872 |" in shown
    assert "| cloth_adv | 0.1 | printed: 002 §3.4 | off_diagonal | ancestor: 002 §3.4 |" in shown
    assert "| visual_encoder | ViTModel | pretrained |" in shown
    assert "| loss.projectors | frozen | ancestor: 001 §2.2.2 |" in shown


def test_describe_says_what_size_and_user_changed(capsys):
    assert main(["describe", "attention", "--size", "tiny", "--set", "loss.decouple=cka_rbf",
                 "--json"]) == 0
    found = {c["field"]: c for c in json.loads(capsys.readouterr().out)["choices"]}
    assert found["image.height"]["source"] == "size tiny"
    assert found["loss.decouple"]["source"] == "changed here"
    assert found["fusion.layers"]["source"] == "printed: 003 §4.3"


@pytest.mark.parametrize("design", list(PRESETS))
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_every_design_can_be_described(design, size):
    found = describe(preset(design, size))
    assert found["parts"] and found["losses"] and found["choices"]
    assert all(row["source"] for key in ("losses", "choices") for row in found[key])


def test_describe_refuses_an_unknown_design_in_one_line(capsys):
    assert main(["describe", "nothing"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
