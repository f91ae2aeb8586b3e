"""A description is typed, a ranking appears, a click says why."""
import gc
import io
import weakref

import pytest
from PIL import Image

from reidlab.engine.search import Searcher, search
from reidlab.widgets.panel import stack
from reidlab.widgets.search_box import SearchBox

SAID = "a tall man with red hair, wearing a blue coat"


@pytest.fixture(scope="module")
def searcher(run):
    return Searcher(run)


@pytest.mark.covers("R16")
def test_typing_ranks_and_clicking_explains(searcher, run, tmp_path):
    box = SearchBox(searcher, SAID, k=4)
    assert [h.path for h in box.hits] == [h.path for h in search(run, SAID, k=4)]
    assert box.buttons[0].description.startswith("1: ")
    why = box.why.value
    box.buttons[2].click()
    assert box.why.value != why and box.buttons[2].button_style == "primary"
    assert box.buttons[0].button_style == ""
    box.text.value = "a woman in a long yellow dress"
    assert [h.path for h in box.hits] == [h.path for h in search(run, box.text.value, k=4)]
    box.weight.value = 0.0
    assert all(h.cloth_score == 0 for h in box.hits)
    assert box.still()[:4] == b"\x89PNG"
    box.close()


def test_parts_of_a_hits_score_are_what_is_shared_out(searcher):
    hit = searcher.find(SAID, 1)[0]
    found = searcher.explain(hit, SAID)
    assert found["identity"].score == pytest.approx(hit.id_score, abs=1e-5)
    assert searcher.cloth_weight * found["cloth"].score == pytest.approx(hit.cloth_score, abs=1e-5)
    assert set(searcher.explain(hit, "a tall man")) == {"identity"}


def test_an_unknown_description_is_answered_with_a_mend(searcher):
    box = SearchBox(searcher, SAID, k=2)
    before = [h.path for h in box.hits]
    box.text.value = "qwertz"
    assert "try words such as" in box.fault.value and [h.path for h in box.hits] == before
    box.text.value = "a tall man"
    assert box.fault.value == ""
    box.close()


def test_a_second_box_lets_the_first_and_its_gallery_go(run):
    mine = Searcher(run)
    seen = weakref.ref(mine.model)
    first = SearchBox(mine, SAID, k=2)
    gone = weakref.ref(first)
    del mine, first
    second = SearchBox(Searcher(run), SAID, k=2)
    gc.collect()
    assert gone() is None and seen() is None
    second.close()


def test_pictures_are_stacked_on_white():
    red, blue = (io.BytesIO() for _ in range(2))
    Image.new("RGB", (2, 1), "red").save(red, "png")
    Image.new("RGB", (1, 2), "blue").save(blue, "png")
    whole = Image.open(io.BytesIO(stack(red.getvalue(), blue.getvalue())))
    assert whole.size == (2, 3) and whole.getpixel((1, 2)) == (255, 255, 255)
    assert whole.getpixel((0, 0)) == (255, 0, 0) and whole.getpixel((0, 1)) == (0, 0, 255)
