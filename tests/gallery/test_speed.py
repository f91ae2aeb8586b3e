"""The bench of galleries: it searches what it says, and shards give what the whole gives."""
import numpy as np
import pytest

from reidlab import gallery_speed
from reidlab.__main__ import main
from reidlab.errors import ReidlabError
from reidlab.gallery.vectors import VectorIndex


def test_made_vectors_are_unit_people_of_ten_pictures():
    vectors = gallery_speed.made(25_000, 64, 0).astype(np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-2)
    own, other = vectors[0] @ vectors[1:10].T, vectors[0] @ vectors[10:].T
    assert own.min() > other.max()
    assert (gallery_speed.made(12_000, 64, 3) == gallery_speed.made(12_000, 64, 3)).all()


def test_the_nearest_of_shards_are_the_nearest_of_all():
    vectors = gallery_speed.made(1000, 32, 1).astype(np.float32)
    parts = [np.arange(1000)[k::7] for k in range(7)]
    for query in vectors[:5]:
        found = [VectorIndex.of(vectors[part]).search(query, 10) for part in parts]
        assert list(gallery_speed.merged(found, parts)) == list(
            VectorIndex.of(vectors).search(query, 10)[0])


def test_the_command_measures_all_three_ways(capsys):
    found = gallery_speed.measure(2000, width=32, shards=4)
    assert [row["recall"] for row in found["rows"]][::2] == [1.0, 1.0]
    assert found["rows"][1]["recall"] >= 0.9 and found["bytes"] == 2000 * 32 * 2
    assert main(["bench", "--gallery", "1000"]) == 0
    shown = capsys.readouterr().out
    assert "1,000 vectors of width 512" in shown and "10 shards, one after the other" in shown
    for count in (999, 10**9):
        with pytest.raises(ReidlabError, match="--gallery must be from 1000 to 50000000"):
            gallery_speed.measure(count)
