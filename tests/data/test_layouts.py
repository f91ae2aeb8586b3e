"""The three public layouts: written, read back, looked through."""
import json
import socket

import pytest
from PIL import Image

from reidlab.__main__ import main
from reidlab.data.checking import check
from reidlab.data.loading import load_text_image
from reidlab.data.records import Split, TextImageData
from reidlab.data.text_image import LAYOUTS, SIDE_FILE, export, read
from reidlab.errors import MissingPath, ReidlabError
from reidlab.tasks import build
from tests.conftest import mini
from tests.data.making import CAPTION, picture


@pytest.fixture
def few(data):
    """A dozen people of each split."""
    return TextImageData(source="synthetic", **{
        name: Split(getattr(data, name).records[:72], getattr(data, name).images[:72])
        for name in ("train", "val", "test")})


@pytest.mark.covers("R1", "R5")
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_what_is_written_is_read_back(name, few, tmp_path):
    folder, known = tmp_path / name, LAYOUTS[name]
    assert export(few, folder, name) == 216
    row = json.loads((folder / known.annotations[0]).read_text())[0]
    assert row["id"] == known.first_id and known.path in row
    assert known.captions in (None, len(row["captions"]))
    _, splits = read(name, folder)
    assert sum(len(records) for records in splits.values()) == 216
    ids = [{r.pid for r in splits[s]} for s in ("train", "val", "test")]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    written = {r.id_captions[0]: r.cloth_captions[0] for s in (few.train, few.val, few.test)
               for r in s.records}
    for records in splits.values():
        for record in records:
            assert written[record.id_captions[0]] == record.cloth_captions[0]
    found = check(name, folder)
    assert not [p for p in found["problems"] if p["fatal"]], found["problems"][:3]
    assert found["counts"]["test"]["pictures"] == 72
    assert found["counts"]["train"]["published"]["people"] == known.sizes["train"][0]


@pytest.mark.covers("R5")
@pytest.mark.parametrize(("name", "file", "row"), [
    ("icfg-pedes", "ICFG-PEDES.json", {"file_path": "train/0000/0000_01.jpg", "captions": [CAPTION],
                                       "processed_tokens": [["a", "tall", "man"]]}),
    ("rstpreid", "data_captions.json", {"img_path": "0000_c1_0001.jpg",
                                        "captions": [CAPTION, "A man in blue jeans."]})])
def test_a_file_with_the_published_field_names_is_read(name, file, row, tmp_path):
    """Names written down here once more, as the data sets are published."""
    path = next(field for field in row if field.endswith("path"))
    rows = []
    splits = ["train"] * 20 + ["test"] * 2 + ["val"] * 2 * (name == "rstpreid")
    for pid, split in enumerate(splits):
        for shot in range(2):
            where = row[path].replace("0000", f"{pid:04d}").replace("01.jpg", f"0{shot}.jpg")
            picture(tmp_path / "imgs" / where)
            rows.append(row | {path: where, "id": pid, "split": split})
    (tmp_path / file).write_text(json.dumps(rows))
    _, splits = read(name, tmp_path)
    found = [record for records in splits.values() for record in records]
    assert sorted(r.path for r in found) == sorted(r[path] for r in rows)
    assert all(record.captions == tuple(row["captions"]) for record in found)


@pytest.mark.covers("R5")
def test_synthetic_people_and_shipped_encoders_need_no_network(monkeypatch, tmp_path):
    def refused(*given):
        raise AssertionError("the network was asked")
    monkeypatch.setenv("REIDLAB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    found = load_text_image(mini(data__people=6, data__val_people=2, data__test_people=2).data,
                            (96, 48))
    assert build(mini(), found.classes).eval().encode_text(["a man"]).shape == (1, 256)


def test_icfg_gets_val_people_from_train_and_says_so(few, tmp_path, caplog):
    export(few, tmp_path / "icfg", "icfg-pedes")
    with caplog.at_level("WARNING"):
        _, splits = read("icfg-pedes", tmp_path / "icfg")
    assert "no val split" in caplog.text and splits["val"]
    (tmp_path / "icfg" / "ICFG-PEDES.json").rename(tmp_path / "icfg" / "ICFG_PEDES.json")
    assert read("icfg-pedes", tmp_path / "icfg")[1]["test"]  # the other spelling


def test_check_names_every_problem_with_file_record_and_mend(few, tmp_path, capsys):
    folder = tmp_path / "rstp"
    export(few, folder, "rstpreid")
    (folder / SIDE_FILE).unlink()
    file = folder / "data_captions.json"
    rows = json.loads(file.read_text())
    rows[1]["img_path"] = rows[0]["img_path"]                      # named twice
    rows[2]["captions"] = ["Only one."]                             # RSTPReid has two
    rows[3]["captions"] = ["同一个人", "Said of two people."]
    rows[100]["captions"] = ["Said of two people.", "Something else."]
    rows[4]["split"] = "test"                                       # person in two splits
    rows[5]["id"] = "seven"
    rows[6]["img_path"] = "../outside.png"
    file.write_text(json.dumps(rows))
    (folder / "imgs" / rows[7]["img_path"]).write_bytes(b"no picture")
    Image.new("RGB", (4, 4)).save(folder / "imgs" / "spare.png")
    found = check("rstpreid", folder)
    said = "\n".join(f"{p['where']}: {p['what']}; {p['fix']}" for p in found["problems"])
    for part in ("record 1: ", "was named before", "record 2: 1 captions", "record 5: id must be",
                 "record 6: img_path '../outside.png' leaves", "record 7: ", "cannot be opened",
                 "share the caption 'said of two people.'", "is in test and train", "ASCII"):
        assert part in said, part
    assert main(["data", "check", str(folder), "--layout", "rstpreid"]) == 1
    out = capsys.readouterr().out
    assert "| train |" in out and "18505" in out


def test_the_variant_without_splits_is_named(few, tmp_path):
    folder = tmp_path / "cuhk"
    export(few, folder)
    rows = json.loads((folder / "reid_raw.json").read_text())
    for row in rows:
        del row["split"]
    (folder / "reid_raw.json").unlink()
    (folder / "caption_all.json").write_text(json.dumps(rows))
    found = check("cuhk-pedes", folder)
    assert "without splits" in found["problems"][0]["what"]
    assert not found["problems"][0]["fatal"]
    with pytest.raises(ReidlabError, match="no val records"):  # ids below 11004 are all train
        read("cuhk-pedes", folder)


def test_unknown_layouts_and_empty_folders(tmp_path):
    with pytest.raises(ReidlabError, match="known: cuhk-pedes, icfg-pedes, rstpreid"):
        read("market", tmp_path)
    with pytest.raises(MissingPath, match="is no RSTPReid folder"):
        read("rstpreid", tmp_path)
