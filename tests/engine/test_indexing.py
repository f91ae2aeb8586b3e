"""A gallery on disk: what is embedded, kept, forgotten, and left whole by whatever ends it."""
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pymilvus import MilvusClient

from reidlab.__main__ import main
from reidlab.engine import embedding
from reidlab.engine.embedding import Embedder, embed_folder
from reidlab.engine.indexing import index
from reidlab.engine.search import Searcher, search
from reidlab.engine.train import train
from reidlab.errors import MissingPath, ReidlabError
from reidlab.gallery.folder import GalleryFolder
from reidlab.gallery.rows import Only, rows_of
from reidlab.runs import lock
from reidlab.synthetic.world import World
from reidlab.tasks import TASKS
from tests.conftest import mini

SAID = "a tall man with red hair, wearing a blue coat"
WORLD = World(5, (96, 48))


def draw(folder: Path, number: int, infrared: bool = False) -> Path:
    file = folder / f"cam{number % 3 + 1}" / f"{number:03d}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    see = WORLD.infrared_picture if infrared else WORLD.picture
    Image.fromarray(see(number // 2, number // 2, number % 2)).save(file)
    return file


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for number in range(20):
        draw(folder, number)
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(embedding, "BATCH", 2)
    monkeypatch.setattr(embedding, "PART", 4)
    monkeypatch.setattr("reidlab.engine.indexing.PART", 4)


def state(folder) -> dict[str, bytes]:
    """Every byte of the state that holds, and nothing else may lie there."""
    held = json.loads((folder / "gallery.json").read_text())
    assert {p.name for p in folder.iterdir()} == {"gallery.json", f"state-{held['state']:04d}"}
    return {p.name: p.read_bytes() for p in (folder / f"state-{held['state']:04d}").iterdir()}


def test_a_gallery_holds_what_the_model_says_of_each_picture(run, pictures, tmp_path):
    found = index(run, pictures, tmp_path / "g", quiet=True)
    assert (found["count"], found["embedded"], found["dropped"], found["broken"]) == (20, 20, 0, {})
    held, gallery = GalleryFolder(tmp_path / "g").open()
    assert [r.path for r in gallery.rows] == sorted(
        p.relative_to(pictures).as_posix() for p in pictures.rglob("*.png"))
    assert [r.camera for r in gallery.rows[:3]] == [1, 1, 1] and held.width == found["width"]
    embedder = Embedder(run)
    for number, row in enumerate(gallery.rows):
        image = np.asarray(Image.open(pictures / row.path))[None]
        assert gallery.vectors.vectors(np.array([number]))[0] == pytest.approx(
            embedder.vectors(image)[0], abs=1e-3)


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
    for place in (tmp_path / "g", tmp_path / "g"):
        with pytest.raises(ReidlabError, match="no picture of the gallery is of these cameras and"):
            search(place, SAID, only=Only(since=late))
    with pytest.raises(ReidlabError, match="no picture of the gallery is of these cameras and tim"):
        search(run, SAID, gallery=pictures, only=Only((9,)))
    assert len(search(run, SAID, k=20, gallery=pictures, only=Only((2,), since=1))) == 7
    with pytest.raises(ReidlabError, match="nothing says when the run's own test people were seen"):
        search(run, SAID, only=Only(since=1))


def test_only_what_is_new_or_changed_is_embedded_and_what_is_gone_is_dropped(
        run, pictures, tmp_path, monkeypatch):
    index(run, pictures, tmp_path / "g", quiet=True)
    asked, vectors = [], Embedder.vectors
    monkeypatch.setattr(Embedder, "vectors", lambda self, images, *more: (
        asked.append(len(images)), vectors(self, images, *more))[1])
    assert index(run, pictures, tmp_path / "g", quiet=True)["embedded"] == 0 and asked == []
    before = state(tmp_path / "g")
    (pictures / "cam1" / "000.png").unlink()
    Image.fromarray(WORLD.picture(77, 77, 0)).save(pictures / "cam2" / "001.png")
    (pictures / "cam3" / "bad.png").write_bytes(b"no picture")
    (pictures / "cam3" / "gone.png").symlink_to("nowhere.png")
    draw(pictures, 40)
    found = index(run, pictures, tmp_path / "g", quiet=True)
    assert (found["count"], found["embedded"], found["dropped"]) == (20, 3, 2)
    assert set(found["broken"]) == {"cam3/bad.png", "cam3/gone.png"}
    assert sum(asked) == 2 + 1  # two sound pictures, and one for the width
    again = index(run, pictures, tmp_path / "g", quiet=True)
    assert again["embedded"] == 0 and set(again["broken"]) == set(found["broken"])
    updated = state(tmp_path / "g")
    assert updated != before
    index(run, pictures, tmp_path / "fresh", quiet=True)
    kept, fresh = (GalleryFolder(tmp_path / name).open()[1] for name in ("g", "fresh"))
    assert kept.rows == fresh.rows
    assert np.abs(kept.vectors.vectors(np.arange(20))
                  - fresh.vectors.vectors(np.arange(20))).max() < 2e-3


def test_whatever_write_fails_the_old_gallery_stays_and_the_command_goes_on(
        run, pictures, tmp_path, monkeypatch):
    from reidlab import files
    folder = tmp_path / "g"
    index(run, pictures, folder, quiet=True)
    before = state(folder)
    for number in range(20, 32):
        draw(pictures, number)
    index(run, pictures, tmp_path / "whole", quiet=True)
    replace, failed = os.replace, 0
    for last in range(1, 12):
        done = []

        def full(a, b, last=last, done=done):
            done.append(b)
            if len(done) == last:
                raise OSError(28, "No space left on device")
            return replace(a, b)
        monkeypatch.setattr(files.os, "replace", full)
        try:
            index(run, pictures, folder, quiet=True)
        except ReidlabError as fault:
            assert "No space left on device" in str(fault)
            failed += 1
            monkeypatch.setattr(files.os, "replace", replace)
            assert len(GalleryFolder(folder).open()[1]) == 20  # the old one, whole
            assert len(search(folder, SAID, k=20)) == 20
    monkeypatch.setattr(files.os, "replace", replace)
    assert failed >= 5 and len(GalleryFolder(folder).open()[1]) == 32
    kept, whole = state(folder), state(tmp_path / "whole")
    assert kept["pictures.jsonl"] == whole["pictures.jsonl"] != before["pictures.jsonl"]
    vectors = [GalleryFolder(f).open()[1].vectors.vectors(np.arange(32)) for f in (
        folder, tmp_path / "whole")]
    assert np.abs(vectors[0] - vectors[1]).max() < 2e-3


@pytest.mark.slow
def test_killed_at_random_moments_and_continued_it_is_the_same_gallery(
        run, pictures, tmp_path):
    code = ("import sys; from reidlab.engine import embedding, indexing\n"
            "embedding.BATCH, embedding.PART, indexing.PART = 2, 4, 4\n"
            "from reidlab.__main__ import main; print('ready', flush=True); "
            "sys.exit(main(sys.argv[1:]))")
    asked = [sys.executable, "-c", code, "index", str(run), str(pictures), "--out"]
    index(run, pictures, tmp_path / "whole", quiet=True)
    dice = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen([*asked, str(tmp_path / "g")], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0, 3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main([*asked[3:], str(tmp_path / "g")]) == 0
    assert state(tmp_path / "g") == state(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_share_the_work(run, pictures, tmp_path):
    index(run, pictures, tmp_path / "one", quiet=True)
    found = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m",
         "reidlab", "index", str(run), str(pictures), "--out", str(tmp_path / "two"), "--json"],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1])["count"] == 20
    one, two = (GalleryFolder(tmp_path / name).open()[1] for name in ("one", "two"))
    assert one.rows == two.rows
    assert np.abs(one.vectors.vectors(np.arange(20))
                  - two.vectors.vectors(np.arange(20))).max() < 2e-3


def test_a_gallery_of_something_else_is_refused_and_stays(run, pictures, tmp_path):
    folder = tmp_path / "g"
    index(run, pictures, folder, quiet=True)
    before = state(folder)
    other = tmp_path / "other"
    draw(other, 1)
    with pytest.raises(ReidlabError, match="is a gallery of the pictures in .*index into a new"):
        index(run, other, folder, quiet=True)
    with pytest.raises(ReidlabError, match="is a gallery kept in local; got milvus:"):
        index(run, pictures, folder, store=f"milvus:{tmp_path / 'm.db'}", quiet=True)
    held = json.loads((folder / "gallery.json").read_text())
    for change, said in (({"weights": "0" * 16}, "made by other weights"),
                         ({"format": 99}, "no gallery of this version")):
        (folder / "gallery.json").write_text(json.dumps(held | change))
        with pytest.raises(ReidlabError, match=said):
            index(run, pictures, folder, quiet=True)
        with pytest.raises(ReidlabError, match=said):
            search(folder, SAID)
    (folder / "gallery.json").write_text(json.dumps(held))
    assert state(folder) == before
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ReidlabError, match="holds 'cam2' and no gallery; choose a new folder"):
        index(run, pictures, other, quiet=True)
    with pytest.raises(ReidlabError, match="knows visible pictures; got modality 'infrared'"):
        index(run, pictures, tmp_path / "x", modality="infrared", quiet=True)
    with pytest.raises(ReidlabError, match="unknown store 'redis:x'; known: local, or milvus:URI"):
        index(run, pictures, tmp_path / "x", store="redis:x", quiet=True)
    with pytest.raises(MissingPath, match="no pictures"):
        index(run, tmp_path / "nobody", tmp_path / "x", quiet=True)
    assert not (tmp_path / "x").exists()


def test_two_cannot_index_into_one_folder(run, pictures, tmp_path, monkeypatch):
    index(run, pictures, tmp_path / "g", quiet=True)
    before = state(tmp_path / "g")
    other = lock.Writer(os.getppid(), lock.this_process().host,
                        __import__("psutil").Process(os.getppid()).create_time())
    with monkeypatch.context() as patched:
        patched.setattr(lock, "this_process", lambda: other)
        lock.take(tmp_path / "g" / "lock", "indexing")
    with pytest.raises(ReidlabError, match=r"is indexing in .*g; stop it, or choose another fold"):
        index(run, pictures, tmp_path / "g", quiet=True)
    (tmp_path / "g" / "lock").unlink()
    assert state(tmp_path / "g") == before


def test_a_gallery_that_is_not_whole_says_how_to_go_on(run, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(GalleryFolder, "finish", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        index(run, pictures, tmp_path / "g", quiet=True)
    with pytest.raises(ReidlabError, match="is not indexed to its end yet; repeat reidlab index"):
        search(tmp_path / "g", SAID)
    monkeypatch.undo()
    monkeypatch.setattr(embedding, "PART", 4)
    monkeypatch.setattr("reidlab.engine.indexing.PART", 4)
    kept = sorted((tmp_path / "g" / "parts").glob("*.npy"))
    np.save(kept[0], np.load(kept[0])[:1])  # damaged: rows without their vectors
    kept[1].write_bytes(b"")
    assert index(run, pictures, tmp_path / "g", quiet=True)["embedded"] == 8  # the rest was kept
    assert len(search(tmp_path / "g", SAID, k=20)) == 20


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
        collections = {len(MilvusClient(str(tmp_path / "m.db")).list_collections())}
        assert collections == {1}  # that of the state that holds
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


def test_a_file_of_milvus_is_the_same_from_anywhere(run, pictures, tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    index(run, pictures, tmp_path / "m", store="milvus:m.db", quiet=True)
    monkeypatch.chdir(tmp_path / "two")
    assert len(search(tmp_path / "m", SAID, k=20)) == 20
    assert not any((tmp_path / "two").iterdir())


def test_more_parts_than_files_that_may_be_open_are_no_trouble(run, pictures, tmp_path):
    for number in range(20, 120):
        draw(pictures, number)  # 30 parts of four pictures
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 24, hard))
    try:
        assert index(run, pictures, tmp_path / "g", quiet=True)["count"] == 120
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_reader_whom_an_index_overtakes_reads_the_new_state(run, pictures, tmp_path, monkeypatch):
    index(run, pictures, tmp_path / "g", quiet=True)
    opened, draw_once = GalleryFolder._opened, iter([True])

    def overtaken(self, held):
        if next(draw_once, False):
            draw(pictures, 90)
            index(run, pictures, tmp_path / "g", quiet=True)
        return opened(self, held)
    monkeypatch.setattr(GalleryFolder, "_opened", overtaken)
    assert len(GalleryFolder(tmp_path / "g").open()[1]) == 21


def test_a_gallery_lies_beside_its_pictures_and_one_of_broken_ones_says_so(run, pictures, tmp_path):
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
    with pytest.raises(ReidlabError, match="it is a folder; name a file"):
        embed_folder(run, pictures, tmp_path / "folder.npz")


def test_words_that_would_not_be_read_are_refused(run, pictures, tmp_path):
    photo = pictures / "cam1" / "003.png"
    for text, by, what in ((SAID, "both", "both"), ("a tall man", "identity", "identity"),
                           ("a tall man", None, "identity"), ("in a red coat", "clothing",
                                                              "clothing")):
        with pytest.raises(ReidlabError, match=f"the photo gives {what}, so nothing of the descr"):
            search(run, text, photo=photo, by=by)


def test_processes_share_one_list_of_pictures(run, pictures, tmp_path, monkeypatch):
    """A process that looks later sees other parts, and shares what the first one saw."""
    seen = []
    monkeypatch.setattr("reidlab.engine.indexing.broadcast_object_list", lambda plan: (
        seen.append([list(part) for part in plan]), plan)[1])
    index(run, pictures, tmp_path / "g", quiet=True)
    assert [len(part) for part in seen[0]] == [20, 20]
