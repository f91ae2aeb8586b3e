"""A description is typed, a ranking appears, a click says why."""
import datetime
import gc
import io
import weakref

import pytest
from PIL import Image

from reidlab.engine.search import Searcher, search
from reidlab.plots.attention import shared_out
from reidlab.widgets.panel import stack
from reidlab.widgets.search_box import SearchBox

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
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
    box.buttons[1].click()  # the hits are still those of the words before
    assert box.why.value[:4] == box.still()[:4] == b"\x89PNG"
    box.text.value = "<b>zz</b>"
    assert "&lt;b&gt;zz" in box.fault.value
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


def test_a_photo_asks_for_the_person_in_other_clothes(searcher, monkeypatch):
    shared = []
    monkeypatch.setattr("reidlab.widgets.search_box.shared_out", lambda picture, found, title: (
        shared.append(list(found)), shared_out(picture, found, title))[1])
    box = SearchBox(searcher, "wearing a red coat", k=6)
    words_alone = [h.path for h in box.hits]
    box.explain(2)
    box.this.click()  # the third hit is the photo now
    photo = box.asked_photo
    assert (photo == searcher.picture(searcher.paths.index(words_alone[2]))).all()
    assert [h.path for h in box.hits] == [h.path for h in searcher.find(
        "wearing a red coat", 6, photo=photo, by="identity")] != words_alone
    assert box.photo.value[:4] == b"\x89PNG"
    why = box.why.value  # what the words add to clothing; the photo gives the person
    assert why[:4] == b"\x89PNG"
    box.text.value = "a tall man wearing a red coat"
    assert shared[-1] == ["cloth"]
    box.by.value = "clothing"
    assert shared[-1] == ["identity"]
    box.text.value = "a tall man"
    assert shared[-1] == ["identity"]
    assert [h.path for h in box.hits] == [h.path for h in searcher.find(
        "a tall man", 6, photo=photo, by="clothing")]
    box.text.value = ""
    box.by.value = "both"
    assert box.hits[0].path == words_alone[2] and box.why.value == b"" and box.fault.value == ""
    assert box.still()[:4] == b"\x89PNG"
    box.without.click()
    assert "the description is empty" in box.fault.value and box.asked_photo is None
    box.text.value = "wearing a red coat"
    assert [h.path for h in box.hits] == words_alone and box.photo.value == b""
    box.close()


def test_a_file_of_the_readers_is_looked_at_before_it_asks(searcher):
    box = SearchBox(searcher, "", k=3)
    kept = io.BytesIO()
    Image.fromarray(searcher.picture(5)).save(kept, "PNG")
    box.by.value = "both"
    box.upload.value = ({"name": "me.png", "type": "image/png", "size": 1,
                         "content": memoryview(kept.getvalue()), "last_modified": NOW},)
    assert box.fault.value == "" and box.hits[0].path == searcher.paths[5]
    box.upload.value = ({"name": "text.png", "type": "image/png", "size": 1,
                         "content": memoryview(b"dear"), "last_modified": NOW},)
    assert "text.png cannot be opened as a picture" in box.fault.value
    assert box.hits[0].path == searcher.paths[5]
    box.close()


def test_a_box_over_a_small_gallery_shows_what_there_is(run, tmp_path, searcher):
    for n in range(3):
        Image.fromarray(searcher.picture(n)).save(tmp_path / f"{n}.png")
    box = SearchBox(Searcher(run, tmp_path), SAID, k=8)
    assert len(box.hits) == len(box.buttons) == 3
    box.close()
