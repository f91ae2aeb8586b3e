"""Galleries are asked: as folders are, in Milvus, by both tasks, and what is refused."""
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pymilvus import MilvusClient

from reidlab.__main__ import main
from reidlab.engine.embedding import Embedder, embed_folder
from reidlab.engine.indexing import index
from reidlab.engine.search import Searcher, search
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.gallery.folder import GalleryFolder
from reidlab.gallery.rows import Only, rows_of
from reidlab.tasks import TASKS
from tests.conftest import mini
from tests.engine.making import draw

SAID = "a tall man with red hair, wearing a blue coat"
pytestmark = pytest.mark.usefixtures("small_parts")


def test_a_gallery_answers_as_the_folder_itself_does(run, pictures, tmp_path):
    index(run, pictures, tmp_path / "g", quiet=True)
    photo = pictures / "cam1" / "003.png"
    for asked in ({"text": SAID}, {"photo": photo}, {"text": SAID, "photo": photo},
                  {"text": SAID, "photo": photo, "by": "clothing"}, {"photo": photo, "by": "both"},
                  {"text": SAID, "cloth_weight": 0.0}, {"text": SAID, "cloth_weight": 2.0}):
        kept = {h.path: h for h in search(tmp_path / "g", k=20, **asked)}
        now = search(run, k=20, gallery=pictures, **asked)
        for hit in now:
            same = kept[str(Path(hit.path).relative_to(pictures))]
            assert (same.score, same.id_score, same.cloth_score) == pytest.approx(
                (hit.score, hit.id_score, hit.cloth_score), abs=3e-3)
            assert (same.image == hit.image).all()
    assert search(tmp_path / "g", photo=photo, k=1)[0].path == "cam1/003.png"
    assert {h.path[:4] for h in search(tmp_path / "g", SAID, k=20, only=Only((2,)))} == {"cam2"}
    late = max(r.time for r in rows_of(pictures)) + 1
    with pytest.raises(ReidlabError, match="no picture of the gallery is of these cameras and tim"):
        search(tmp_path / "g", SAID, only=Only(since=late))
    with pytest.raises(ReidlabError, match="no picture of the gallery is of these cameras and tim"):
        search(run, SAID, gallery=pictures, only=Only((9,)))
    assert len(search(run, SAID, k=20, gallery=pictures, only=Only((2,), since=1))) == 7
    with pytest.raises(ReidlabError, match="nothing says when the run's own test people were seen"):
        search(run, SAID, only=Only(since=1))


def test_a_vanished_picture_is_told_and_the_rest_is_shown(run, pictures, tmp_path, caplog):
    index(run, pictures, tmp_path / "g", quiet=True)
    for file in pictures.rglob("00*.png"):
        file.unlink()
    hits = search(tmp_path / "g", SAID, k=20)
    assert len(hits) == 20 and "is missing; fetch it again" in caplog.text
    gone = [h for h in hits if "/00" in h.path]
    assert len(gone) == 10 and all((h.image == 128).all() for h in gone)


def test_a_damaged_gallery_is_refused(run, pictures, tmp_path):
    folder = tmp_path / "g"
    index(run, pictures, folder, quiet=True)
    rows = folder / "state-0001" / "pictures.jsonl"
    whole = rows.read_bytes()
    for damage, said in ((b"[1]\n", "pictures.jsonl is missing or damaged"), (b"{", "damaged"),
                         (whole.splitlines()[0] + b"\n", "1 pictures and 20 vectors")):
        rows.write_bytes(damage)
        with pytest.raises(ReidlabError, match=said):
            search(folder, SAID)
    rows.write_bytes(whole)
    (folder / "gallery.json").write_text('{"format": 1}')
    with pytest.raises(ReidlabError, match="gallery.json is damaged; delete"):
        search(folder, SAID)
    with pytest.raises(ReidlabError, match="is a gallery, which has its pictures; leave"):
        Searcher(folder, pictures)


@pytest.mark.slow
def test_a_visible_infrared_run_has_galleries_too(pictures, tmp_path):
    run = tmp_path / "run"
    train(mini("embednet_corrected"), run, quiet=True)
    index(run, pictures, tmp_path / "g", quiet=True)
    photo = draw(tmp_path / "night", 3, infrared=True)
    embedder = Embedder(run)
    task, experiment = TASKS["visible-infrared"], embedder.experiment
    query = task.vectors(experiment, embedder.model, np.asarray(Image.open(photo))[None],
                         "infrared")[0]
    _, gallery = GalleryFolder(tmp_path / "g").open()
    slow = np.argsort(-gallery.vectors.vectors(np.arange(20)) @ query, kind="stable")
    hits = search(tmp_path / "g", photo=photo, k=20)
    assert [h.path for h in hits] == [gallery.rows[n].path for n in slow]
    assert all(h.cloth_score == 0 and h.id_score == pytest.approx(h.score) for h in hits)
    seen = search(tmp_path / "g", photo=pictures / "cam1" / "003.png", k=1, modality="visible")
    assert seen[0].path == "cam1/003.png"
    assert len(search(run, photo=photo, k=5)) == 5  # its own test people
    for asked in ({"text": SAID}, {"text": SAID, "photo": photo},
                  {"photo": photo, "by": "clothing"}):
        with pytest.raises(ReidlabError, match="one vector a picture and reads no descriptions"):
            search(run, **asked)


def test_vectors_in_one_file_are_those_of_the_model(run, pictures, tmp_path):
    (pictures / "bad.png").write_bytes(b"")
    found = embed_folder(run, pictures, tmp_path / "v.npz")
    assert found["count"] == 20 and set(found["broken"]) == {"bad.png"}
    kept = np.load(tmp_path / "v.npz")
    images = np.stack([np.asarray(Image.open(pictures / p)) for p in kept["path"]])
    expected = Embedder(run).vectors(images)
    assert np.concatenate([kept["identity"], kept["clothing"]], axis=1) == pytest.approx(
        expected, abs=1e-4)
    parquet = pytest.importorskip("pyarrow.parquet")
    embed_folder(run, pictures, tmp_path / "v.parquet")
    table = parquet.read_table(tmp_path / "v.parquet").to_pydict()
    assert table["path"] == list(kept["path"])
    assert np.array(table["identity"]) == pytest.approx(kept["identity"], abs=1e-6)
    with pytest.raises(ReidlabError, match="ends in neither .npz nor .parquet; choose one"):
        embed_folder(run, pictures, tmp_path / "v.csv")


@pytest.mark.slow
def test_the_commands_index_search_and_embed(run, pictures, tmp_path, capsys):
    folder = str(tmp_path / "g")
    assert main(["index", str(run), str(pictures), "--out", folder]) == 0
    assert "20 pictures (20 embedded now, 0 dropped, 0 broken), exact search" in (
        capsys.readouterr().out)
    drawn = ["--draw", str(tmp_path / "s.png")]
    assert main(["search", folder, SAID, "-k", "3", "--camera", "2", "--since", "2020-01-01",
                 "--weight", "0", "--json", *drawn]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert len(hits) == 3 and all(h["path"].startswith("cam2/") for h in hits)
    assert {h["cloth_score"] for h in hits} == {0.0}
    for asked, said in ((["-k", "21"], "k is 21; the gallery has 20 pictures"),
                        (["--weight", "-1"], "the weight of clothing is -1.0; it must be 0"),
                        (["--weight", "nan"], "the weight of clothing is nan"),
                        (["--since", "soon"], "'soon' is no date; write 2026-01-31"),
                        (["--gallery", str(pictures)], "is a gallery, which has its pictures"),
                        (["--modality", "infrared"], "knows visible pictures; got modality")):
        assert main(["search", folder, SAID, *asked, *drawn]) == 2
        assert said in capsys.readouterr().err
    assert main(["embed", str(run), str(pictures), "--out", str(tmp_path / "v.npz")]) == 0
    assert "20 vectors of width" in capsys.readouterr().out


def test_milvus_keeps_a_gallery_that_grows_and_shrinks(run, pictures, tmp_path):
    store = f"milvus:{tmp_path / 'm.db'}"
    for step in range(2):
        index(run, pictures, tmp_path / "g", quiet=True)
        found = index(run, pictures, tmp_path / "m", store=store, quiet=True)
        assert found["count"] == 20 and found["embedded"] == (20, 1)[step]
        kept = MilvusClient(str(tmp_path / "m.db")).list_collections()
        assert len(kept) == 1  # that of the state that holds
        for asked in ({"text": SAID}, {"text": SAID, "cloth_weight": 0.3},
                      {"photo": pictures / "cam3" / "005.png"}, {"text": SAID, "only": Only((1,))}):
            here, there = (search(tmp_path / name, k=20, **asked) for name in ("g", "m"))
            assert [h.path for h in there] == [h.path for h in here]
            assert [h.score for h in there] == pytest.approx([h.score for h in here], abs=1e-5)
        (pictures / "cam1" / "000.png").unlink(missing_ok=True)
        draw(pictures, 50)


def test_an_index_into_milvus_that_dies_leaves_the_old_state_as_it_was(
        run, pictures, tmp_path, monkeypatch):
    store = f"milvus:{tmp_path / 'm.db'}"
    index(run, pictures, tmp_path / "m", store=store, quiet=True)
    before = [(h.path, round(h.score, 5)) for h in search(tmp_path / "m", SAID, k=20)]
    for number in range(30, 36):
        draw(pictures, number)
    with monkeypatch.context() as patched:
        patched.setattr("reidlab.gallery.folder.write_json", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index(run, pictures, tmp_path / "m", store=store, quiet=True)
    assert [(h.path, round(h.score, 5)) for h in search(tmp_path / "m", SAID, k=20)] == before
    assert index(run, pictures, tmp_path / "m", store=store, quiet=True)["count"] == 26
    assert len(search(tmp_path / "m", SAID, k=26)) == 26
    other = index(run, pictures, tmp_path / "n", store=store, quiet=True)  # the same pictures
    assert other["count"] == 26 and len(search(tmp_path / "m", SAID, k=26)) == 26
    draw(pictures, 37)
    assert index(run, pictures, tmp_path / "n", store=store, quiet=True)["state"] == 2
    assert len(search(tmp_path / "m", SAID, k=26)) == 26  # whose state has that number, too


def test_a_file_of_milvus_is_the_same_from_anywhere(run, pictures, tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    index(run, pictures, tmp_path / "m", store="milvus:m.db", quiet=True)
    monkeypatch.chdir(tmp_path / "two")
    assert len(search(tmp_path / "m", SAID, k=20)) == 20
    assert not any((tmp_path / "two").iterdir())


def test_a_gallery_lies_beside_its_pictures_and_one_of_broken_ones_says_so(
        run, pictures, tmp_path, monkeypatch):
    with pytest.raises(ReidlabError, match="whose pictures it shall hold; choose a folder beside"):
        index(run, pictures, pictures / "gallery", quiet=True)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    assert index(run, tmp_path / "bad", tmp_path / "b", quiet=True)["count"] == 0
    with pytest.raises(ReidlabError, match="the gallery has no picture that could be read"):
        search(tmp_path / "b", SAID)
    for name in ("v.npz", "v.parquet"):
        with pytest.raises(ReidlabError, match="none of the 1 pictures in .* can be read, such as"):
            embed_folder(run, tmp_path / "bad", tmp_path / name)
    (tmp_path / "folder.npz").mkdir()
    monkeypatch.setattr(Embedder, "parts", lambda *given: 1 / 0)  # told before hours of work
    with pytest.raises(ReidlabError, match="it is a folder; name a file"):
        embed_folder(run, pictures, tmp_path / "folder.npz")


def test_words_that_would_not_be_read_are_refused(run, pictures, tmp_path):
    photo = pictures / "cam1" / "003.png"
    for text, by, what in ((SAID, "both", "both"), ("a tall man", "identity", "identity"),
                           ("a tall man", None, "identity"), ("in a red coat", "clothing",
                                                              "clothing")):
        with pytest.raises(ReidlabError, match=f"the photo gives {what}, so nothing of the descr"):
            search(run, text, photo=photo, by=by)
