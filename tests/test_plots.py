"""Drawings show what they are given."""
import numpy as np

from reidlab.evaluation.attribution import Attribution
from reidlab.plots.attention import shared_out
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
