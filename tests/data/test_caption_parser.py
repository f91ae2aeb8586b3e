"""The rule splitter: traps one by one, and precision and recall on drawn captions."""
import re
from collections import defaultdict
from pathlib import Path

import pytest

from reidlab.data.caption_parser import parse_caption
from reidlab.synthetic.world import World


@pytest.mark.covers("R4")
@pytest.mark.parametrize(("caption", "identity", "clothing"), [
    ("A tall man with short black hair wearing a red shirt.", "short black hair", "red shirt"),
    ("A woman in a short black skirt.", "woman", "short black skirt"),
    ("He wears dress shoes and carries a bag.", "", "dress shoes"),
    ("A young woman with blond hair, dressed in blue jeans and white shoes.", "blond hair",
     "white shoes"),
    ("The man has a beard and glasses, with a grey coat.", "glasses", "grey coat"),
])
def test_each_side_gets_its_own_words(caption, identity, clothing):
    parts = parse_caption(caption)
    assert identity in parts.identity.lower() and clothing in parts.clothing.lower()
    assert not clothing or clothing not in parts.identity.lower()


@pytest.mark.parametrize("caption", ["A man with no hat.", "A woman, not wearing a coat."])
def test_what_is_denied_is_not_said(caption):
    parts = parse_caption(caption)
    assert parts.clothing == "" and parts.identity


@pytest.mark.parametrize("caption", ["", "   ", "…", "红色夹克", "12 34", "the the the"])
def test_captions_that_say_nothing_give_two_empty_sides(caption):
    assert parse_caption(caption) == ("", "")


def words(text):
    return set(re.findall(r"[a-z\-]+", text.lower())) - {"a", "an", "the", "and", "with", "plus",
                                                         "he", "she", "is", "has", "person"}


@pytest.mark.covers("R4")
def test_precision_and_recall_on_drawn_captions():
    world, hits = World(), {"identity": [0, 0, 0], "clothing": [0, 0, 0]}
    for k in range(400):
        said = world.describe(k, k, k % 4)
        parts = parse_caption(f"{said.id_caption} {said.cloth_caption}")
        for side, true in (("identity", said.id_caption), ("clothing", said.cloth_caption)):
            found, wanted = words(getattr(parts, side)), words(true)
            hits[side][0] += len(found & wanted)
            hits[side][1] += len(found)
            hits[side][2] += len(wanted)
    for side, (right, found, wanted) in hits.items():
        assert right / found > 0.9 and right / wanted > 0.8, (side, right / found, right / wanted)


LABELLED = [line.split("|") for line in (Path(__file__).parent / "labelled_captions.txt"
                                         ).read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")]


@pytest.mark.covers("R4")
def test_precision_and_recall_by_slot_on_captions_labelled_by_hand():
    """A slot's phrase is recalled when it stands whole in its side, and imprecise when it stands
    in the other."""
    assert len(LABELLED) >= 60
    counts = defaultdict(lambda: [0, 0, 0])
    for caption, *sides in LABELLED:
        parts = [text.lower() for text in parse_caption(caption)]
        for k, side in enumerate(sides):
            for item in filter(str.strip, side.split(";")):
                slot, phrase = (text.strip() for text in item.split(":"))
                right, wrong = phrase in parts[k], phrase in parts[1 - k]
                counts[slot] = [a + b for a, b in zip(counts[slot], (right, wrong, 1),
                                                      strict=True)]
    assert {"sex", "hair", "face", "upper", "lower", "shoes", "bag", "head"} <= set(counts)
    for slot, (right, wrong, total) in counts.items():
        assert right / total >= 0.9, (slot, right, total)
        assert right / (right + wrong) >= 0.95, (slot, right, wrong)


@pytest.mark.covers("R4")
@pytest.mark.parametrize(("caption", "identity", "clothing"), [
    ("A man with a blue and white striped shirt.", "A man.",
     "With a blue and white striped shirt."),
    ("A girl without a bag wears a yellow raincoat.", "A girl.", "Wears a yellow raincoat."),
    ("A man in black.", "A man.", "In black."),
    ("A man with short sleeves and short hair.", "A man, short hair.", "With short sleeves."),
])
def test_traps(caption, identity, clothing):
    assert parse_caption(caption) == (identity, clothing)


@pytest.mark.parametrize(("caption", "identity", "clothing"), [
    ("A tall man、 red shirt、 blue jeans.", "A tall man.", "Red shirt, blue jeans."),
    ("A tall man。Red shirt。", "A tall man.", "Red shirt."),
    ("A tall man，red shirt．", "A tall man.", "Red shirt."),
])
def test_full_width_marks_cut_as_commas_and_full_stops_do(caption, identity, clothing):
    assert parse_caption(caption) == (identity, clothing)
