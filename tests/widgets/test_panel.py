"""Panels: a control changes the picture, a cell run again leaves nothing behind."""
import base64
import gc
import weakref

import ipywidgets
import pytest
import torch

from reidlab.plots.heatmaps import lines, matrices
from reidlab.synthetic.world import World
from reidlab.tasks import build, load
from reidlab.widgets.attention_viewer import MAPS, attention_viewer
from reidlab.widgets.explorer import people_explorer
from reidlab.widgets.panel import Panel, png
from reidlab.widgets.swap import swap_viewer
from tests.conftest import mini


def slider(value=1):
    return ipywidgets.IntSlider(value=value, min=0, max=5)


def test_a_control_changes_the_picture_and_a_wrong_value_says_so():
    def view(k):
        if k == 5:
            raise ValueError("five is too many")
        return bytes([k])
    panel = Panel("test", view, k=slider())
    assert panel.image.value == bytes([1]) and panel.values == {"k": 1}
    panel.controls["k"].value = 3
    assert panel.image.value == bytes([3])
    panel.controls["k"].value = 5
    assert "five is too many" in panel.fault.value and panel.image.value == bytes([3])
    panel.controls["k"].value = 2
    assert panel.fault.value == ""


def test_running_a_cell_againcloses_the_panel_and_lets_its_tensors_go():
    held = torch.zeros(10)
    seen = weakref.ref(held)
    first = Panel("again", lambda k, held=held: bytes([k + len(held)]), k=slider())
    del held
    gone, control = weakref.ref(first), first.controls["k"]
    second = Panel("again", lambda k: bytes([k]), k=slider(4))
    assert first.view is None and second.image.value == bytes([4])
    control.value = 0  # what a stale page may still send
    del first, control
    gc.collect()
    assert gone() is None and seen() is None


@pytest.mark.parametrize("value", [1, 4])
def test_a_page_without_widgets_shows_the_picture_that_the_panel_shows(value, monkeypatch):
    said = []
    monkeypatch.setattr("reidlab.widgets.panel.display", lambda data, raw: said.append(data))
    panel = Panel("shown", lambda k: bytes([k]), k=slider())
    panel.controls["k"].value = value
    panel.show()
    view = said[0]["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == panel.box.model_id
    assert base64.b64decode(said[0]["image/png"]) == bytes([value]) == panel.image.value


def test_heat_maps_and_lines_have_labels_and_units():
    figure = matrices({"a": torch.eye(3).numpy(), "b": torch.ones(3, 3).numpy()},
                      rows="asks", columns="answers")
    axes = figure.axes
    assert axes[0].get_ylabel() == "asks" and axes[1].get_xlabel() == "answers"
    assert [t.get_text() for t in axes[0].texts][:3] == ["1.00", "0", "0"]
    figure = lines({"a": ([1, 2], [3, 4])}, x="steps", y="loss (nats)", marks={"chance": 3.5})
    assert figure.axes[0].get_xlabel() == "steps" and png(figure)[:4] == b"\x89PNG"


def test_the_explorer_turns_one_factor_at_a_time():
    panel = people_explorer(size=(96, 48))
    first = panel.image.value
    panel.controls["person__hair_colour"].value = "red"
    red = panel.image.value
    panel.controls["yaw"].value = 90
    assert len({first, red, panel.image.value}) == 3 and panel.fault.value == ""
    panel.controls["person__hair_colour"].value = "as sampled"
    panel.controls["yaw"].value = -15
    assert panel.image.value == first


@pytest.mark.covers("X7")
def test_the_attention_viewer_draws_every_kind_of_map(run):
    world = World(0, (96, 48))
    model = load(run)
    viewer = attention_viewer(model, build(mini()), [world.draw(k, k, 0) for k in range(3)])
    seen = {viewer.image.value}
    for kind in MAPS:
        viewer.controls["kind"].value = kind
        assert viewer.fault.value == ""
        seen.add(viewer.image.value)
    assert len(seen) == len(MAPS)
    before = viewer.image.value                       # word → patch: walk into the second caption
    viewer.controls["word"].value = 30
    assert viewer.image.value != before and viewer.fault.value == ""
    viewer.controls["kind"].value = "encoder, from CLS"
    before = viewer.image.value
    viewer.controls["head"].value = "2"
    assert viewer.image.value != before
    viewer.close()


def test_the_swap_viewer_compares_what_it_shows(run):
    viewer = swap_viewer(load(run), World(0, (96, 48)))
    before = viewer.image.value
    viewer.controls["other_outfit"].value += 3
    assert viewer.image.value != before and viewer.fault.value == ""
    viewer.close()
