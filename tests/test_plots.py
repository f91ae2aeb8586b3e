"""Drawings show what they are given."""
import numpy as np

from reidlab.plots.people import ranked


def test_a_query_with_dollar_signs_is_drawn_as_text_and_not_as_a_formula(tmp_path):
    text, picture = "a bag of $x_$", np.zeros((8, 4, 3), np.uint8)
    fig = ranked([{"text": text, "hits": [(picture, 0.5, True)]}], title=text)
    fig.savefig(tmp_path / "ranked.png")  # a formula that cannot be read fails here
    assert text in [t.get_text() for t in fig.axes[0].texts] and fig._suptitle.get_text() == text
