"""Export, read, train; and every way an annotation can be wrong."""
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from reidlab.batches.text_image import Batches
from reidlab.data.caption_parser import parse_caption
from reidlab.data.loading import load_text_image
from reidlab.data.pictures import open_picture
from reidlab.data.text_image import SIDE_FILE, export, read
from reidlab.engine.train import train
from reidlab.errors import MissingPath, ReidlabError
from tests.conftest import mini
from tests.data.making import cuhk, edit


@pytest.fixture(scope="module")
def original(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "cuhk"
    count = export(data, folder)
    assert count == 576 + 144 + 144
    return folder


@pytest.fixture
def exported(original, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "cuhk")


def rewrite(folder, change):
    file = folder / "reid_raw.json"
    rows = json.loads(file.read_text())
    rows = change(rows) or rows
    file.write_text(json.dumps(rows))


@pytest.mark.covers("R1", "R5")
def test_what_is_written_is_read_back(exported, data):
    read = load_text_image(mini(data__source=f"cuhk-pedes:{exported}").data, (96, 48))
    for name in ("train", "val", "test"):
        before, after = getattr(data, name), getattr(read, name)
        assert (before.images == after.images).all()
        for a, b in zip(before.records, after.records, strict=True):
            assert (a.captions, a.id_captions, a.cloth_captions, a.outfit, a.camid, a.factors,
                    a.facts) == (b.captions, b.id_captions, b.cloth_captions, b.outfit, b.camid,
                                 b.factors, b.facts)
    row = json.loads((exported / "reid_raw.json").read_text())[0]
    assert set(row) == {"split", "captions", "file_path", "processed_tokens", "id"}
    assert row["id"] == 1


@pytest.mark.slow
def test_training_from_the_exported_folder_gives_the_same_scores(exported, run, tmp_path):
    train(mini(data__source=f"cuhk-pedes:{exported}"), tmp_path / "run", quiet=True)
    ours, theirs = (json.loads((f / "report.json").read_text()) for f in (tmp_path / "run", run))
    assert ours["tables"] == theirs["tables"] and ours["probes"] == theirs["probes"]


@pytest.mark.covers("R4")
def test_without_the_side_file_captions_are_split_by_rule(exported):
    (exported / SIDE_FILE).unlink()
    _, splits = read("cuhk-pedes", exported)
    one = splits["train"][0]
    assert one.outfit == -1 and one.factors == {} and len(one.id_captions) == len(one.captions)
    assert sum(bool(r.id_captions[0]) and bool(r.cloth_captions[0]) for r in splits["train"]) > 500


@pytest.mark.covers("R4")
def test_each_caption_of_each_picture_is_split_by_itself(tmp_path):
    """Not once a person, and not once a picture."""
    said = ["A tall man with red hair, wearing a blue coat.", "A bald man. He wears a white shirt.",
            "A tall man in black trousers.", "A man with glasses, wearing a grey hat."]
    cuhk(tmp_path)
    edit(tmp_path, lambda rows: [row.update(captions=said[2 * k:2 * k + 2])
                                 for k, row in enumerate(rows[:2])])
    _, splits = read("cuhk-pedes", tmp_path)
    records = splits["train"][:2]
    assert records[0].pid == records[1].pid
    for record in records:
        assert list(zip(record.id_captions, record.cloth_captions, strict=True)) == [
            parse_caption(caption) for caption in record.captions]
    assert len({half for record in records for half in record.cloth_captions}) == 4


@pytest.mark.covers("R5")
def test_caption_all_has_splits_by_id_range(tmp_path):
    (tmp_path / "imgs").mkdir()
    rows = []
    for pid in (1, 11003, 11004, 12003, 12004, 13003):
        for shot in "ab":
            Image.new("RGB", (8, 16)).save(tmp_path / "imgs" / f"{pid}{shot}.png")
            rows.append({"id": pid, "file_path": f"{pid}{shot}.png",
                         "captions": ["A man in black."]})
    (tmp_path / "caption_all.json").write_text(json.dumps(rows))
    _, splits = read("cuhk-pedes", tmp_path)
    assert {n: [r.pid for r in s[::2]] for n, s in splits.items()} == {
        "train": [1, 11003], "val": [11004, 12003], "test": [12004, 13003]}


@pytest.mark.covers("R1")
def test_ids_may_have_gaps(exported):
    rewrite(exported, lambda rows: [r | {"id": r["id"] * 7} for r in rows])
    read = load_text_image(mini(data__source=f"cuhk-pedes:{exported}").data, (96, 48))
    assert read.classes == 48 and read.train.pids.max() > 48
    batch = Batches(read.train, mini())(0)
    assert set(batch.pid.tolist()) <= set(range(48))  # contiguous, whatever the file calls them
    assert batch.pid.unique().numel() == 8  # people of four pictures each


@pytest.mark.parametrize(("field", "value", "says"), [
    ("id", "7", "id must be an integer of 64 bits; got '7'"), ("id", True, "id must be an integer"),
    ("id", None, "id must be an integer"), ("file_path", 3, "file_path must be a file name"),
    ("file_path", "../../secret.png", "leaves the folder"),
    ("file_path", "/etc/passwd", "leaves the folder"),
    ("file_path", "cam_a/none.png", "no picture cam_a/none.png"),
    ("captions", "a man", "captions must be a list of strings"),
    ("captions", [], "captions must be a list"), ("captions", ["a man", 3], "list of strings"),
    ("captions", ["  "], "an empty caption"), ("split", "dev", "split must be one of"),
])
def test_wrong_records_are_named(exported, field, value, says):
    def change(rows):
        rows[5][field] = value
    rewrite(exported, change)
    with pytest.raises(ReidlabError) as fault:
        read("cuhk-pedes", exported)
    assert "record 5" in str(fault.value) and says in str(fault.value)
    assert "reid_raw.json" in str(fault.value) and "\n" not in str(fault.value)


@pytest.mark.covers("R1")
def test_a_person_in_two_splits_is_refused(exported):
    rewrite(exported, lambda rows: [r | {"id": 1} if k == len(rows) - 1 else r
                                    for k, r in enumerate(rows)])
    with pytest.raises(ReidlabError, match="person 1 is in train and in test"):
        read("cuhk-pedes", exported)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', "\xff"])
def test_annotations_that_are_no_list_are_named(exported, content):
    (exported / "reid_raw.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ReidlabError, match="reid_raw.json"):
        read("cuhk-pedes", exported)


@pytest.mark.parametrize("side", ['{"x": 1', "[1]", "BROKEN_ENTRY"])
def test_a_damaged_side_file_is_named(exported, side):
    if side == "BROKEN_ENTRY":
        known = json.loads((exported / SIDE_FILE).read_text())
        known[next(iter(known))] = {"id_captions": ["only this"]}
        side = json.dumps(known)
    (exported / SIDE_FILE).write_text(side)
    with pytest.raises(ReidlabError, match="reidlab_parts.json"):
        read("cuhk-pedes", exported)


def test_a_broken_picture_is_named(exported):
    broken = next((exported / "imgs").rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(ReidlabError, match="cannot be opened as a picture"):
        open_picture(broken, (96, 48))
    with pytest.raises(ReidlabError, match=broken.name):
        load_text_image(mini(data__source=f"cuhk-pedes:{exported}").data, (96, 48))


def test_missing_folders_say_how_to_get_one(tmp_path):
    with pytest.raises(MissingPath, match="reidlab data export"):
        read("cuhk-pedes", tmp_path / "none")
    with pytest.raises(MissingPath, match="needs imgs/ and reid_raw.json"):
        read("cuhk-pedes", tmp_path)


def test_export_never_overwrites_and_leaves_nothing_half_written(data, tmp_path, monkeypatch):
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(ReidlabError, match="is not empty"):
        export(data, tmp_path)
    calls = []

    def full(self, *args, **options):
        calls.append(1)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ReidlabError, match="No space left"):
        export(data, tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["keep.txt"]


def test_pictures_of_other_sizes_are_resized(tmp_path):
    Image.new("L", (30, 90), 128).save(tmp_path / "a.jpg")
    picture = open_picture(tmp_path / "a.jpg", (96, 48))
    assert picture.shape == (96, 48, 3) and np.allclose(picture, 128, atol=2)
