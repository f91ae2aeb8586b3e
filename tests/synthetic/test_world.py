"""The synthetic world: the same everywhere, independent factors, nothing said that is not so."""
import hashlib
import re

import numpy as np
import pytest

from reidlab.data.caption_parser import CLOTHING
from reidlab.synthetic.captions import COLOUR_WORDS, HAIR_COLOUR_WORDS
from reidlab.synthetic.world import PARTS, World


def test_three_integers_fix_every_pixel_and_word():
    one, two = World(seed=3).draw(5, 9, 2), World(seed=3).draw(5, 9, 2)
    assert (one.image == two.image).all() and (one.infrared == two.infrared).all()
    assert (one.id_caption, one.cloth_caption, one.factors) == (
        two.id_caption, two.cloth_caption, two.factors)


def test_order_of_drawing_does_not_matter():
    world = World(size=(96, 48))
    first = [world.draw(k, k, 0).image for k in range(4)]
    again = [world.draw(k, k, 0).image for k in reversed(range(4))][::-1]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_picture_is_the_one_that_was_drawn_when_this_test_was_written():
    parts = World(seed=0, size=(96, 48)).draw(0, 0, 0).parts
    assert hashlib.sha256(parts.tobytes()).hexdigest()[:12] == "8aa60c998304"


@pytest.mark.parametrize("size", [(224, 112), (96, 48), (384, 144)])
def test_shapes_and_types(size):
    drawing = World(size=size).draw(1, 2, 3)
    assert drawing.image.shape == drawing.infrared.shape == (*size, 3)
    assert drawing.image.dtype == drawing.infrared.dtype == drawing.parts.dtype == np.uint8
    assert drawing.parts.shape == size and drawing.parts.max() < len(PARTS)
    assert (drawing.infrared == drawing.infrared[..., :1]).all()  # three equal channels


def test_every_body_part_has_a_believable_area():
    world = World(size=(96, 48))
    area = np.mean([np.bincount(world.draw(k, k, 0).parts.ravel(), minlength=8) / (96 * 48)
                    for k in range(120)], axis=0)
    share = dict(zip(PARTS, area, strict=True))
    assert 0.55 < share["background"] < 0.85
    assert share["upper"] > 0.06 and share["lower"] > 0.04
    assert all(0.002 < share[name] < 0.06 for name in ("skin", "hair", "shoes", "bag", "hat"))


def test_new_clothes_leave_the_person_and_a_new_person_leaves_the_clothes():
    world = World()
    assert world.person(4) == world.person(4) != world.person(5)
    before, after = world.draw(4, 10, 0).factors, world.draw(4, 11, 0).factors
    same = {k for k in before if before[k] == after[k]}
    assert {k for k in before if k.startswith("person/")} <= same
    assert before["outfit/upper_infrared"] != after["outfit/upper_infrared"]


def test_identity_and_clothing_are_drawn_independently():
    world, n = World(), 3000
    hair = np.array([world.person(k)["hair_colour"] == "black" for k in range(n)])
    coat = np.array([world.outfit(k)["upper_colour"] == "red" for k in range(n)])
    expected = hair.mean() * coat.mean()
    assert abs((hair & coat).mean() - expected) < 3 * np.sqrt(expected / n)


def test_captions_state_only_what_is_so():
    world = World()
    for k in range(300):
        drawing_facts, factors = world.describe(k, k, k % 4), {}
        factors |= {f"person/{n}": v for n, v in world.person(k).items()}
        factors |= {f"outfit/{n}": v for n, v in world.outfit(k).items()}
        for name, value in {**drawing_facts.id_facts, **drawing_facts.cloth_facts}.items():
            assert factors[name] == value, (k, name)


def test_stated_colours_are_in_the_words():
    world = World()
    for k in range(200):
        said = world.describe(k, k, 0)
        for facts, caption in ((said.id_facts, said.id_caption),
                               (said.cloth_facts, said.cloth_caption)):
            for name, value in facts.items():
                words = {"person/hair_colour": HAIR_COLOUR_WORDS,
                         "outfit/lower_colour": COLOUR_WORDS}.get(name)
                if words and facts.get("person/hair_style") != "bald":
                    assert any(w in caption.lower() for w in words[value]), (caption, value)


def test_id_captions_name_no_clothes_and_cloth_captions_no_person():
    world = World()
    garments = set(CLOTHING) - {"top", "suit"}
    people = {"man", "woman", "he", "she", "lady", "guy", "hair", "beard", "glasses", "tall", "his",
              "her", "male", "female", "skin"}
    for k in range(500):
        said = world.describe(k, k, k % 3)
        assert not garments & set(re.findall(r"[a-z\-]+", said.id_caption.lower()))
        assert not people & set(re.findall(r"[a-z\-]+", said.cloth_caption.lower()))


def test_captions_vary_and_use_a_large_vocabulary():
    world = World()
    said = [world.describe(7, 7, shot) for shot in range(12)]
    assert len({s.id_caption for s in said}) > 6 and len({s.cloth_caption for s in said}) > 8
    words = set()
    for k in range(5000):
        one = world.describe(k, k, 0)
        words |= set(re.findall(r"[a-z\-]+", f"{one.id_caption} {one.cloth_caption}".lower()))
    assert len(words) >= 250


def test_all_views_occur_and_infrared_hides_colour():
    world = World(size=(96, 48))
    assert len({world.scene(k, k, 0)["view"] for k in range(100)}) == 8
    drawing = world.draw(2, 2, 0)
    visible = drawing.image.astype(int)
    assert np.ptp(visible, axis=2).mean() > 5 > np.ptp(drawing.infrared.astype(int), axis=2).max()


@pytest.mark.parametrize("bad", [dict(seed=-1), dict(size=(4, 4)), dict(size=(96,))])
def test_unusable_worlds_are_refused(bad):
    with pytest.raises(ValueError, match="seed >= 0 and size"):
        World(**bad)


@pytest.mark.parametrize("key", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0.5, 0, 0), (True, 0, 0)])
def test_unusable_keys_are_refused(key):
    with pytest.raises(ValueError, match="integer of at least 0"):
        World().draw(*key)


def test_a_factor_changed_by_hand_changes_what_it_should_and_nothing_else():
    world = World(0, (96, 48))
    plain = world.draw(3, 7, 0)
    same = world.draw_changed(3, 7, 0, {})
    assert np.array_equal(plain.image, same.image) and plain.id_caption == same.id_caption
    dyed = world.draw_changed(3, 7, 0, {"outfit/upper_colour": "white"})
    changed = (dyed.image != plain.image).any(axis=2)
    worn = np.isin(plain.parts, [PARTS.index("upper"), PARTS.index("lower")])
    assert changed[worn].any() and changed[~worn].mean() < 0.02
    assert np.array_equal(dyed.infrared, plain.infrared)
    tall = world.draw_changed(3, 7, 0, {"person/height": "tall"})
    short = world.draw_changed(3, 7, 0, {"person/height": "short"})
    assert (tall.parts > 0).sum() > 1.1 * (short.parts > 0).sum()
    with pytest.raises(ValueError, match="unknown factor 'person/mood'"):
        world.draw_changed(3, 7, 0, {"person/mood": "good"})
