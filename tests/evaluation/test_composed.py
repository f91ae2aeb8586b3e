"""This person, wearing that: who asks what, and that both halves are needed."""
import numpy as np
import pytest

from reidlab.data.records import Record
from reidlab.evaluation.composed import composed_queries, composed_table
from reidlab.evaluation.embeddings import Embeddings


def worn(pairs):
    """Vectors of a model that knows both: a direction a person, one an outfit, two pictures."""
    pairs = [pair for pair in pairs for _ in range(2)]
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
