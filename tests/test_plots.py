"""Drawings show what they are given."""
import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch

from reidlab.evaluation.attribution import Attribution
from reidlab.plots.attention import overlays, shared_out
from reidlab.plots.bars import bars
from reidlab.plots.chart import HIGH, WIDE, flow_chart
from reidlab.plots.curves import training_curves
from reidlab.plots.heatmaps import lines, matrices
from reidlab.plots.people import ranked

TEXT = "a bag of $x_$"
PICTURE = np.zeros((8, 4, 3), np.uint8)


def test_a_query_with_dollar_signs_is_drawn_as_text_and_not_as_a_formula(tmp_path):
    fig = ranked([{"text": TEXT, "hits": [(PICTURE, 0.5, True)]}], title=TEXT)
    fig.savefig(tmp_path / "ranked.png")  # a formula that cannot be read fails here
    assert TEXT in [t.get_text() for t in fig.axes[0].texts] and fig._suptitle.get_text() == TEXT


def test_a_word_and_a_title_with_dollar_signs_are_drawn_as_text_too(tmp_path):
    credit = Attribution(["[CLS]", TEXT], np.full((2, 3), 0.1), (2, 1))
    fig = shared_out(PICTURE, {"identity": credit}, title=TEXT)
    fig.savefig(tmp_path / "shared.png")
    words = [t.get_text() for axis in fig.axes for t in axis.get_yticklabels()]
    assert TEXT in words and fig._suptitle.get_text() == TEXT


def test_a_negative_value_makes_the_scale_of_matrices_diverge_and_no_zero_has_a_sign():
    values = {"a": np.array([[0.5, -0.001], [0.0, -0.5]]), "b": np.ones((2, 2))}
    axes = matrices(values, rows="row", columns="column", most=1.0).axes[:2]
    for axis in axes:  # one scale for both, 0 in its light middle
        image, = axis.images
        assert (image.norm.vmin, image.norm.vmax) == (-1.0, 1.0)
        middle = image.cmap(image.norm(0.0))[:3]
        assert min(middle) > 0.9 > max(min(image.cmap(image.norm(v))[:3]) for v in (-1.0, 1.0))
    assert [text.get_text() for text in axes[0].texts] == ["0.50", "0", "0", "-0.50"]
    image, = matrices({"b": values["b"]}, rows="row", columns="column").axes[0].images
    assert image.norm.vmin == 0.0


def test_a_bar_carries_its_number_without_an_exponent():
    axis = bars({"a": {"x": 100.0, "y": 99.2, "z": 0.0}}, y="percent").axes[0]
    assert [text.get_text() for text in axis.texts] == ["100", "99", "", "0"]


def test_a_chart_has_one_box_a_name_one_arrow_an_edge_and_each_arrow_goes_right():
    edges = [("a", "b"), ("a", "c"), ("b", "c"), ("c", "loss: x"), ("a", "loss: y"), ("d", "c")]
    axis = flow_chart(edges).axes[0]
    place = {text.get_text(): text.get_position() for text in axis.texts}
    assert sorted(place) == ["a", "b", "c", "d", "x", "y"] and len(axis.texts) == 6
    assert len(set(place.values())) == 6  # no box stands on another
    arrows = [patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(edges)
    for start, end in edges:
        assert place[start][0] < place[end.removeprefix("loss: ")][0]
    assert place["x"][0] == place["y"][0] and place["d"][0] == place["b"][0]  # d: just before c
    with pytest.raises(ValueError, match="circle"):
        flow_chart([("a", "b"), ("b", "a")])


def test_an_arrow_goes_round_a_box_that_stands_in_its_way():
    """A chart had the patches' arrow pass under the box of the attention that asks."""
    axis = flow_chart([("a", "b"), ("b", "c"), ("a", "c"), ("d", "b")]).axes[0]
    place = {text.get_text(): np.array(text.get_position()) for text in axis.texts}
    arrows = [patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)]
    for arrow, (start, end) in zip(arrows, ["ab", "bc", "ac", "db"], strict=True):
        way = arrow.get_path().interpolated(64).vertices
        for box in set("abcd") - {start, end}:
            inside = np.abs(way - place[box]) < (WIDE / 2, HIGH / 2)
            assert not inside.all(axis=1).any(), (start, end, box)


def test_a_scale_that_ends_early_shows_larger_values_as_its_end():
    strong = overlays([(PICTURE, {"map": np.array([[3.0, -0.1]])})], label="x", signed=True,
                      most=0.5)
    shown = strong.axes[1].images[-1]
    assert (shown.norm.vmin, shown.norm.vmax) == (-0.5, 0.5)
    assert shown.get_alpha().max() == pytest.approx(0.65)  # and no more than that


@pytest.mark.parametrize("names", [("a", "b", "c", "d"), (
    "only the own pair is right", "no contrast on the summed score", "frozen text encoder",
    "share kept for identity, seed 2", "CKA penalty in place of the projection", "as it is")])
def test_a_legend_stays_inside_its_figure(names, tmp_path):
    """Long names in three columns were cut off on both sides of the stored file."""
    for fig in (bars({name: {"R1": 1.0, "mAP": 2.0} for name in names}, y="y"),
                lines({name: ((0, 1), (0, 1)) for name in names}, x="x", y="y")):
        fig.savefig(tmp_path / "legend.png")
        legend = fig.legends[0].get_window_extent()
        assert legend.x0 >= 0 and legend.x1 <= fig.bbox.x1, (names, legend)


def test_a_run_alone_has_full_lines_and_more_than_four_panels_stand_in_two_rows():
    row = {"step": 1, "a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0, "e": 1.0}
    panels = tuple((key, ((key, key, "identity"),)) for key in "abcde")
    alone = training_curves({"one": [row, row | {"step": 2}]}, panels)
    assert {axis.lines[0].get_linestyle() for axis in alone.axes if axis.lines} == {"-"}
    tops = {round(axis.get_position().y1, 2) for axis in alone.axes}
    assert len(tops) == 2 and sum(axis.axison for axis in alone.axes) == 5
