"""This person, wearing that: who asks what, and that both halves are needed."""
import numpy as np
import pytest

from reidlab.data.records import Record
from reidlab.evaluation.composed import composed_queries, composed_table
from reidlab.evaluation.embeddings import Embeddings
from reidlab.evaluation.text_image import IDENTITY_TRAITS, composed_agreement


def worn(pairs, shots=2):
    """Vectors of a model that knows both: a direction a person, one an outfit, some pictures."""
    pairs = [pair for pair in pairs for _ in range(shots)]
    records = [Record(path=f"{k}", pid=p, camid=0, captions=("x",), id_captions=("x",),
                      cloth_captions=("y",), outfit=o) for k, (p, o) in enumerate(pairs)]
    people, outfits = np.eye(9)[[p for p, _ in pairs]], np.eye(9)[[o for _, o in pairs]]
    return Embeddings(records, people, outfits, people, outfits, np.arange(len(pairs)),
                      np.zeros(len(pairs), int))


# three people in two outfits each; each outfit is worn by two of them
THREE = worn([(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 0)])


def test_each_picture_asks_for_its_person_in_the_next_outfit():
    pictures, captions = composed_queries(THREE)
    assert pictures.tolist() == list(range(12))
    asked = [(int(THREE.pids[p]), int(THREE.outfits[THREE.picture[c]]))
             for p, c in zip(pictures, captions, strict=True)]
    assert asked[::2] == [(0, 1), (0, 0), (1, 2), (1, 1), (2, 0), (2, 2)]
    three = worn([(0, 5), (0, 3), (0, 8)], shots=1)
    _, captions = composed_queries(three)
    assert three.outfits[three.picture[captions]].tolist() == [8, 5, 3]  # by number, round again


def test_one_half_alone_cannot_tell_and_both_together_can():
    table = composed_table(THREE, 1.0)
    assert table["photo_and_words"]["r1"] == table["photo_and_words"]["map"] == 1.0
    # by the photo alone the person's third picture in the old clothes ties with two that fit; by
    # the words alone two pictures of somebody else do: ties count against
    assert table["photo"]["r1"] == table["words"]["r1"] == 0.0
    assert table["photo"]["r5"] == table["words"]["r5"] == 1.0
    assert table["photo"]["chance"]["r1"] == pytest.approx(2 / 11)  # two of eleven fit
    assert composed_table(THREE, 0.0)["photo_and_words"]["r1"] == 0.0


def test_the_picture_itself_is_no_answer_and_a_person_in_one_outfit_asks_nothing():
    two = worn([(0, 0), (0, 1), (3, 1)])
    pictures, _ = composed_queries(two)
    assert pictures.tolist() == [0, 1, 2, 3]
    table = composed_table(two, 1.0)
    assert table["photo"]["queries"] == 4 and table["photo_and_words"]["r1"] == 1.0
    assert composed_table(worn([(0, 0), (1, 1)]), 1.0) == {}
    assert composed_table(worn([(0, -1), (0, -1)]), 1.0) == {}
    assert composed_table(worn([(0, -1), (0, 1)]), 1.0) == {}  # one unknown, and nothing is said


def test_the_picture_itself_would_tie_with_the_right_one_and_photo_and_words_differ():
    once = worn([(0, 0), (0, 1), (3, 1), (3, 0)], shots=1)
    table = composed_table(once, 1.0)
    assert table["photo"]["r1"] == 1.0  # one other picture of the person, and it fits
    assert table["words"]["r1"] == 0.0  # somebody else wears the same: a tie
    assert table["photo"]["chance"]["r1"] == pytest.approx(1 / 3)


def test_the_ceiling_is_that_of_an_oracle_who_is_asked_the_same():
    asked = []

    def knows(pictures, captions):
        asked.append((pictures, captions))
        person, outfit = THREE.pids[pictures], THREE.outfits[THREE.picture[captions]]
        return ((person[:, None] == THREE.pids).astype(int)
                + (outfit[:, None] == THREE.outfits).astype(int))

    assert composed_table(THREE, 1.0, knows)["photo_and_words"]["ceiling"]["r1"] == 1.0
    for given, wanted in zip(asked[0], composed_queries(THREE), strict=True):
        assert (given == wanted).all()
    clothes_alone = composed_table(THREE, 1.0, lambda pictures, captions: (
        knows(pictures, captions) * 0 + (THREE.outfits[THREE.picture[captions]][:, None]
                                         == THREE.outfits)))["photo_and_words"]["ceiling"]["r1"]
    assert 0.2 < clothes_alone < 0.8  # half of those who wear it are somebody else


def test_what_the_oracle_sees_are_traits_of_the_photo_and_clothes_of_the_words(data):
    records = data.test.records
    nothing = np.zeros((len(records), 2), np.float32)
    found = Embeddings(records, nothing, nothing, nothing, nothing, np.arange(len(records)),
                       np.zeros(len(records), int))
    pictures, captions = np.array([3, 20]), np.array([40, 7])
    agree = composed_agreement(found)(pictures, captions)
    for q, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        for other in range(0, len(records), 17):
            person = sum(records[picture].factors[f"person/{t}"] == records[other].factors[
                f"person/{t}"] for t in IDENTITY_TRAITS)
            clothes = sum(records[other].factors.get(name) == value for name, value in
                          records[caption].facts[0].items() if name.startswith("outfit/"))
            assert agree[q, other] == person + clothes
    assert composed_agreement(THREE) is None  # of whom no factors are known
