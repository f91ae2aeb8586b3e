"""A gallery on disk: what is embedded, kept, forgotten, and left whole by whatever ends it."""
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from reidlab.__main__ import main
from reidlab.engine import embedding
from reidlab.engine.embedding import Embedder
from reidlab.engine.indexing import index
from reidlab.engine.search import search
from reidlab.errors import MissingPath, ReidlabError
from reidlab.gallery.folder import GalleryFolder
from reidlab.runs import lock
from tests.engine.making import WORLD, draw

SAID = "a tall man with red hair, wearing a blue coat"
pytestmark = pytest.mark.usefixtures("small_parts")


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
                        psutil.Process(os.getppid()).create_time())
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


def test_processes_share_one_list_of_pictures(run, pictures, tmp_path, monkeypatch):
    """A process that looks later sees other parts, and shares what the first one saw."""
    seen = []
    monkeypatch.setattr("reidlab.engine.indexing.broadcast_object_list", lambda plan: (
        seen.append([list(part) for part in plan]), plan)[1])
    index(run, pictures, tmp_path / "g", quiet=True)
    assert [len(part) for part in seen[0]] == [20, 20]
