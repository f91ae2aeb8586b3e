"""Nearest vectors: the same as a sort of all products, in memory, on disk and in Milvus."""
import sys

import numpy as np
import pytest

from reidlab.errors import ReidlabError
from reidlab.gallery.gallery import Gallery, LocalVectors
from reidlab.gallery.milvus import MilvusVectors, connected, keys_of
from reidlab.gallery.rows import Only, Row
from reidlab.gallery.vectors import BLOCK, VectorIndex

COUNT, WIDTH = 3000, 32


@pytest.fixture(scope="module")
def vectors():
    rows = np.random.default_rng(0).standard_normal((COUNT, WIDTH), dtype=np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(
        np.float32)


@pytest.fixture(scope="module")
def rows():
    return [Row(f"cam{k % 5}/{k:04d}.png", 1, k * 10**9, k * 10**9, k % 5) for k in range(COUNT)]


def slow(vectors, query, k, allowed=None):
    """All products, sorted; equal ones by number."""
    scores = vectors @ query
    order = sorted(np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed),
                   key=lambda n: (-scores[n], n))
    return list(order[:k])


def queries(count=8):
    return np.random.default_rng(1).standard_normal((count, WIDTH)).astype(np.float32)


def test_an_exact_search_is_a_sort_of_all_products(vectors):
    in_memory = VectorIndex.of(vectors)
    halved = VectorIndex.build(lambda n: vectors[n], COUNT, WIDTH)
    for index in (in_memory, halved):
        assert index.exact and index.recall == 1 and (len(index), index.width) == (COUNT, WIDTH)
        for query in queries():
            numbers, scores = index.search(query, 20)
            assert list(numbers) == slow(vectors, query, 20)
            assert scores == pytest.approx(vectors[numbers] @ query, rel=1e-5, abs=1e-5)
    picked = np.array([7, 3, 2999])
    assert (halved.vectors(picked) == vectors[picked]).all()
    assert halved.vectors(np.empty(0, np.int64)).shape == (0, WIDTH)


def test_equal_scores_come_by_number():
    same = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    numbers, scores = VectorIndex.of(same).search(np.array([1, 0], np.float32), 5)
    assert list(numbers) == [0, 1, 2, 3, 4] and set(scores) == {1.0}


def test_a_written_index_answers_as_it_did_and_a_damaged_one_is_refused(vectors, tmp_path):
    file = tmp_path / "vectors.faiss"
    before = VectorIndex.build(lambda n: vectors[n], COUNT, WIDTH)
    before.write(file)
    after, query = VectorIndex.read(file), queries(1)[0]
    assert list(after.search(query, 9)[0]) == list(before.search(query, 9)[0])
    assert file.stat().st_size < COUNT * WIDTH * 2 + 1000  # two bytes a number
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ReidlabError, match="is missing or damaged; delete the gallery"):
        VectorIndex.read(file)
    with pytest.raises(ReidlabError, match="is missing or damaged"):
        VectorIndex.read(tmp_path / "none.faiss")


def test_an_approximate_search_says_how_many_it_finds(vectors):
    index = VectorIndex.build(lambda n: vectors[n], COUNT, WIDTH, most_exact=1000)
    assert not index.exact and 0.95 <= index.recall <= 1
    asked = vectors[np.linspace(0, COUNT - 1, 100).astype(int)]
    counted = np.mean([len(set(index.search(q, 10)[0]) & set(slow(vectors, q, 10))) / 10
                       for q in asked])
    assert index.recall == pytest.approx(counted, abs=1e-9)
    assert index._index.nprobe < index._index.nlist  # and no farther than it has to look


def test_only_what_is_allowed_is_found_however_rare(vectors, tmp_path):
    allowed = np.zeros(COUNT, bool)
    allowed[[5, 900, 2222]] = True
    exact = VectorIndex.build(lambda n: vectors[n], COUNT, WIDTH)
    approximate = VectorIndex.build(lambda n: vectors[n], COUNT, WIDTH, most_exact=1000)
    approximate.write(tmp_path / "a.faiss")
    for index in (exact, approximate, VectorIndex.read(tmp_path / "a.faiss", 0.9)):
        for query in queries(3):
            assert list(index.search(query, 10, allowed)[0]) == slow(vectors, query, 10, allowed)


CHOICES = [Only(), Only(cameras=(2, 3)), Only(since=500, until=600), Only((1,), 100, 2000),
           Only((9,))]


def test_a_choice_leaves_the_cameras_and_times_that_it_names(rows):
    cameras, times = (np.array([getattr(r, n) for r in rows]) for n in ("camera", "time"))
    assert CHOICES[0].mask(cameras, times) is None
    for only in CHOICES[1:]:
        slowly = [(not only.cameras or r.camera in only.cameras)
                  and (only.since is None or r.time >= only.since)
                  and (only.until is None or r.time <= only.until) for r in rows]
        assert list(only.mask(cameras, times)) == slowly


def test_milvus_and_faiss_rank_equally(vectors, rows, tmp_path):
    local = Gallery(rows, LocalVectors(VectorIndex.build(lambda n: vectors[n], COUNT, WIDTH), rows))
    uri = str(tmp_path / "milvus.db")
    MilvusVectors(uri, "people", WIDTH, rows, make=True).put(rows, lambda n: vectors[n])
    there = Gallery(rows, MilvusVectors(uri, "people", WIDTH, rows))
    for query in queries(4):
        for only in CHOICES:
            ours, theirs = (g.search(query, 12, only) for g in (local, there))
            assert [f.number for f in theirs] == [f.number for f in ours]
            assert [f.score for f in theirs] == pytest.approx([f.score for f in ours], abs=1e-5)
            assert all((a.vector == b.vector).all() for a, b in zip(theirs, ours, strict=True))


def test_a_collection_that_is_not_there_or_not_whole_is_refused(vectors, rows, tmp_path):
    uri, held = str(tmp_path / "m.db"), rows[:50]
    with pytest.raises(ReidlabError, match="has 0 of 50 pictures of this gallery; name the addr"):
        MilvusVectors(uri, "people", WIDTH, held)
    MilvusVectors(uri, "people", WIDTH, held, make=True).put(held[:20], lambda n: vectors[n])
    with pytest.raises(ReidlabError, match="has 20 of 50 pictures of this gallery"):
        MilvusVectors(uri, "people", WIDTH, held)
    store = MilvusVectors(uri, "people", WIDTH, held, make=True)  # empty again
    store.put(held, lambda n: vectors[n])
    assert len(MilvusVectors(uri, "people", WIDTH, held)) == 50
    assert (store.vectors(np.array([3, 10])) == vectors[[3, 10]]).all()
    store.forget()
    with pytest.raises(ReidlabError, match="has 0 of 50 pictures"):
        MilvusVectors(uri, "people", WIDTH, held)


def test_keys_are_those_of_paths_and_nobody_there_is_told(rows, monkeypatch):
    assert keys_of(rows[:9]) == keys_of(rows)[:9] and max(keys_of(rows)) < 2**63
    with pytest.raises(ReidlabError, match="two pictures have one key"):
        keys_of([rows[0], rows[0]])
    with pytest.raises(ReidlabError, match=r"Milvus at nowhere://x: .*--gallery milvus:URI"):
        connected("nowhere://x")
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ReidlabError, match=r"needs its client; pip install 'reidlab\[milvus\]'"):
        connected("http://127.0.0.1:1")


def test_a_gallery_refuses_more_hits_than_pictures(vectors, rows):
    few = Gallery(rows[:5], LocalVectors(VectorIndex.of(vectors[:5]), rows[:5]))
    for k in (0, 6):
        with pytest.raises(ReidlabError, match=f"k is {k}; the gallery has 5 pictures: ask for 1"):
            few.search(vectors[0], k)
    hit = few.search(vectors[2], 5)[0]
    assert (hit.number, hit.row.path) == (2, "cam2/0002.png")


def test_one_vector_more_than_a_block_is_there_too():
    rows = np.random.default_rng(2).standard_normal((BLOCK + 1, 4)).astype(np.float32)
    index = VectorIndex.build(lambda n: rows[n], len(rows), 4)
    assert len(index) == BLOCK + 1
    assert index.vectors(np.array([BLOCK]))[0] == pytest.approx(rows[-1], rel=2e-3)
