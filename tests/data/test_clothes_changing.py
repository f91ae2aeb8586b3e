"""PRCC, LTCC and folders of one's own: written, read, checked, and what is refused."""
import json
from collections import Counter
from pathlib import Path

import pytest

from reidlab.__main__ import main
from reidlab.config.text_image import Data
from reidlab.config.visible_infrared import Data as InfraredData
from reidlab.data import clothes_changing, own_folder
from reidlab.data.checking import check
from reidlab.data.exporting import export_synthetic
from reidlab.data.loading import load_text_image, load_visible_infrared, silent_splits
from reidlab.errors import MissingPath, ReidlabError
from tests.data.making import picture

SIZE = (32, 16)


@pytest.fixture(scope="module")
def written(tmp_path_factory, cache):
    """The synthetic world in each layout: 12 training, 5 val and 5 test people, 4 shots."""
    root = tmp_path_factory.mktemp("written")
    for name in ("prcc", "ltcc", "folder"):
        export_synthetic(root / name, name, SIZE, 12, 5, 4)
    return root


def prcc(folder: Path) -> Path:
    """Four training people, two test people, by hand."""
    for pid in range(1, 5):
        for name in ("A_1", "A_2", "B_1", "C_1"):
            picture(folder / "rgb" / "train" / f"{pid:03d}" / f"{name}.jpg", pid)
    for pid in (7, 8):
        for camera, count in (("A", 3), ("B", 1), ("C", 2)):
            for n in range(count):
                picture(folder / "rgb" / "test" / camera / f"{pid:03d}" / f"{n}.jpg", pid)
    return folder


def ltcc(folder: Path) -> Path:
    for place, names in (("train", ["001_1_c1_000001", "001_2_c2_000002", "002_1_c3_000003",
                                    "003_1_c1_000001", "003_1_c2_000002", "004_1_c1_000001"]),
                         ("query", ["007_1_c11_000001", "008_1_c2_000001"]),
                         ("test", ["007_1_c1_000009", "007_2_c2_000003", "008_1_c3_000001"])):
        for name in names:
            picture(folder / place / f"{name}.png")
    return folder


def own(folder: Path, lines: list[dict]) -> Path:
    for line in lines:
        picture(folder / line["image"])
    (folder / "people.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


PEOPLE = [{"image": f"{who}/{n}.png", "person": who, "outfit": "coat" if n else "shirt",
           "camera": n + 1} for who in ("ann", "bob", "cat", "dan", "eve", "fay", "gus")
          for n in range(2)]


def test_prcc_is_read_as_its_names_say(tmp_path):
    splits = clothes_changing.read("prcc", prcc(tmp_path / "d"))
    assert {name: sorted({r.pid for r in rows}) for name, rows in splits.items()} == {
        "train": [2, 4], "val": [1, 3], "test": [7, 8]}
    assert Counter((r.camid, r.outfit % 2, r.role) for r in splits["test"]) == {
        (1, 0, "gallery"): 6, (2, 0, "query"): 2, (3, 1, "query"): 4}
    assert Counter((r.camid, r.outfit % 2, r.role) for r in splits["train"]) == {
        (1, 0, ""): 4, (2, 0, ""): 2, (3, 1, ""): 2}
    assert {r.captions for rows in splits.values() for r in rows} == {("",)}


def test_ltcc_is_read_as_its_names_say(tmp_path):
    splits = clothes_changing.read("ltcc", ltcc(tmp_path / "d"))
    found = {r.path: (r.pid, r.outfit % 10_000, r.camid, r.role) for r in splits["test"]}
    assert found == {"query/007_1_c11_000001.png": (7, 1, 11, "query"),
                     "query/008_1_c2_000001.png": (8, 1, 2, "query"),
                     "test/007_1_c1_000009.png": (7, 1, 1, "gallery"),
                     "test/007_2_c2_000003.png": (7, 2, 2, "gallery"),
                     "test/008_1_c3_000001.png": (8, 1, 3, "gallery")}
    outfits = {r.outfit for rows in splits.values() for r in rows}
    assert len(outfits) == 8  # outfit 1 of two people is not one outfit


@pytest.mark.parametrize("name", ["prcc", "ltcc", "folder"])
def test_what_is_written_is_read_and_checked_again(name, written, capsys):
    folder = written / name
    data = load_text_image(Data(source=f"{name}:{folder}"), SIZE)
    assert data.classes == (12 if name == "folder" else 15)
    assert len(set(data.test.pids)) == 5 and not set(data.train.pids) & set(data.test.pids)
    worn = {pid: {r.outfit for r in data.test.records if r.pid == pid} for pid in data.test.pids}
    assert {len(outfits) for outfits in worn.values()} == {2 if name == "prcc" else 3}
    silent = [] if name == "folder" else ["train", "val", "test"]
    assert silent_splits(Data(source=f"{name}:{folder}")) == silent
    found = check(name, folder)
    assert found["problems"] == [] and found["counts"]["test"]["people"] == 5
    assert found["counts"]["test"]["pictures"] == len(data.test.records)
    assert found["counts"]["test"]["outfits"] == sum(map(len, worn.values()))
    assert main(["data", "check", str(folder), "--layout", name]) == 0
    assert "0 problems: none found" in capsys.readouterr().out


def test_captions_outfits_and_cameras_of_an_own_folder_are_those_of_the_world(written):
    from reidlab.data.loading import synthetic_text_image
    world = synthetic_text_image(Data(people=12, val_people=5, test_people=5), SIZE)
    read = own_folder.read(written / "folder")
    for split in ("train", "val", "test"):
        ours, theirs = getattr(world, split).records, read[split]
        assert [(r.camid, r.captions) for r in theirs] == [(r.camid, r.captions) for r in ours]
        assert len({(r.pid, r.outfit) for r in theirs}) == len({(r.pid, r.outfit) for r in ours})


def test_people_without_splits_are_counted_out_and_names_need_not_be_numbers(tmp_path):
    read = own_folder.read(own(tmp_path / "d", PEOPLE))
    assert [len({r.pid for r in read[name]}) for name in ("train", "val", "test")] == [3, 2, 2]
    assert {r.outfit for rows in read.values() for r in rows} == set(range(14))
    assert {r.captions for rows in read.values() for r in rows} == {("",)}
    again = own_folder.read(tmp_path / "d")
    assert again == read


def test_captions_of_an_own_folder_are_parted_as_everywhere(tmp_path):
    said = [line | {"captions": ["A tall man with red hair, wearing a blue coat."]}
            for line in PEOPLE]
    record = own_folder.read(own(tmp_path / "d", said))["train"][0]
    assert "tall man" in record.id_captions[0] and "coat" not in record.id_captions[0]
    assert "blue coat" in record.cloth_captions[0] and "hair" not in record.cloth_captions[0]


def test_both_modalities_make_a_visible_infrared_data_set(tmp_path, cache):
    lines = [{"image": f"{kind}/{n}.png", "person": n // 2, "modality": kind}
             for kind in ("visible", "infrared") for n in range(14)]
    data = load_visible_infrared(
        InfraredData(source=f"folder:{own(tmp_path / 'd', lines)}"), SIZE)
    for split in (data.train, data.val, data.test):
        assert set(split.visible.pids) == set(split.infrared.pids)
        assert {r.path.split("/")[0] for r in split.infrared.records} == {"infrared"}
    with pytest.raises(ReidlabError, match="has no infrared pictures in train; give lines a moda"):
        own_folder.read_both(own(tmp_path / "e", PEOPLE))


@pytest.mark.parametrize(("line", "said"), [
    ([1], "an object is needed; got [1]"), ({"person": 1}, "image must be a file name; got null"),
    ({"image": "../a.png", "person": 1}, "leaves the folder"),
    ({"image": "ann/0.png"}, "person must be a name or a number; got null"),
    ({"image": "ann/0.png", "person": True}, "person must be a name or a number; got true"),
    ({"image": "ann/0.png", "person": 1, "outfit": []}, "outfit must be a name or a number"),
    ({"image": "ann/0.png", "person": 1, "captions": "a man"}, "captions must be a list of texts"),
    ({"image": "ann/0.png", "person": 1, "captions": [" "]}, "captions must be a list of texts"),
    ({"image": "ann/0.png", "person": 1, "camera": -1}, "camera must be a number from 0"),
    ({"image": "ann/0.png", "person": 1, "split": "dev"}, "split must be one of train, val, test"),
    ({"image": "ann/0.png", "person": 1, "modality": "x"}, "modality must be one of visible"),
    ({"image": "ann/0.png", "person": 1, "role": "x"}, "role must be one of query, gallery"),
    ({"image": "ann/0.png", "person": 1, "colour": "x"}, "unknown field 'colour'; known: image"),
    ({"image": "ann/9.png", "person": 1}, "no picture ann/9.png")])
def test_a_line_that_cannot_be_used_is_named(line, said, tmp_path):
    folder = own(tmp_path / "d", PEOPLE)
    with (folder / "people.jsonl").open("a") as out:
        out.write(json.dumps(line) + "\n")
    with pytest.raises(ReidlabError) as fault:
        own_folder.read(folder)
    assert "line 15: " in str(fault.value) and said in str(fault.value)
    problems = check("folder", folder)["problems"]
    assert any(p["where"].endswith("line 15") and said in p["what"] and p["fatal"]
               for p in problems)


def test_a_list_that_contradicts_itself_is_refused(tmp_path):
    folder = own(tmp_path / "d", PEOPLE)
    lines = [PEOPLE[0] | {"split": "train"}, *PEOPLE[1:]]
    own(folder, lines)
    with pytest.raises(ReidlabError, match="1 of 14 lines have a split; give one to all"):
        own_folder.read(folder)
    own(folder, [line | {"split": ("train", "test")[n % 2]} for n, line in enumerate(PEOPLE)])
    with pytest.raises(ReidlabError, match="person ann is in train and in test; keep each"):
        own_folder.read(folder)
    own(folder, [line | {"role": "query"} for line in PEOPLE])
    with pytest.raises(ReidlabError, match="has no gallery pictures in test; give some that role"):
        own_folder.read(folder)
    (folder / "people.jsonl").write_text("no json\n")
    with pytest.raises(ReidlabError, match="line 1: no JSON: 'no json'"):
        own_folder.read(folder)
    (folder / "people.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ReidlabError, match="cannot be read as text; save it as UTF-8"):
        own_folder.read(folder)
    (folder / "people.jsonl").write_text("\n")
    with pytest.raises(ReidlabError, match="is empty; have one written by reidlab data template"):
        own_folder.read(folder)
    (folder / "people.jsonl").unlink()
    with pytest.raises(MissingPath, match="no people.jsonl in .*; have one written by reidlab"):
        own_folder.read(folder)


def test_the_doctor_tells_what_is_left_out_named_twice_and_never_changes_clothes(tmp_path):
    folder = own(tmp_path / "d", [*PEOPLE, PEOPLE[0]])
    picture(folder / "spare.png")
    one = [line | {"outfit": "coat"} for line in PEOPLE]
    found = " ".join(p["what"] for p in check("folder", folder)["problems"])
    assert "ann/0.png was named before, in line 1" in found
    assert "leaves out 1 pictures, such as spare.png" in found
    found = check("folder", own(tmp_path / "e", one))["problems"]
    assert "2 of 2 people wear one outfit alone" in " ".join(p["what"] for p in found)
    assert not any(p["fatal"] for p in found)
    (folder / "ann" / "0.png").write_bytes(b"broken")
    assert any("cannot be opened as a picture" in p["what"]
               for p in check("folder", folder)["problems"])


@pytest.mark.parametrize("flat", [True, False])
def test_a_template_guesses_people_by_folder_or_by_name(flat, tmp_path, capsys):
    for who in ("ann", "bob"):
        for n in range(2):
            picture(tmp_path / "d" / (f"{who}_{n}.png" if flat else f"{who}/{n}.png"))
    assert main(["data", "template", str(tmp_path / "d")]) == 0
    assert "4 lines in" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "d" / "people.jsonl").read_text().splitlines()]
    assert [r["person"] for r in rows] == ["ann", "ann", "bob", "bob"]
    assert main(["data", "template", str(tmp_path / "d")]) == 2
    assert "is there already; remove it" in capsys.readouterr().err


def test_a_published_folder_that_is_not_whole_is_refused(tmp_path):
    folder = prcc(tmp_path / "p")
    picture(folder / "rgb" / "train" / "001" / "X_1.jpg")
    (folder / "rgb" / "train" / "who").mkdir()
    with pytest.raises(ReidlabError) as fault:
        clothes_changing.read("prcc", folder)
    assert "2 cannot be used; rgb/train/who: a person's folder is a number; " in str(fault.value)
    assert "rgb/train/001/X_1.jpg: the name must begin with the camera" in str(fault.value)
    assert [p["where"] for p in check("prcc", folder)["problems"]] == [
        "rgb/train/who", "rgb/train/001/X_1.jpg"]
    other = ltcc(tmp_path / "l")
    picture(other / "train" / "somebody.png")
    with pytest.raises(ReidlabError, match="somebody.png: the name must be PERSON_OUTFIT_cCAMERA"):
        clothes_changing.read("ltcc", other)
    (other / "train" / "somebody.png").rename(other / "train" / "007_1_c1_000001.png")
    with pytest.raises(ReidlabError, match="person 7 is in train and in test"):
        clothes_changing.read("ltcc", other)
    assert any("is in test and train" in p["what"] for p in check("ltcc", other)["problems"])
    for file in (other / "train").glob("007*"):
        file.unlink()
    for file in (other / "query").iterdir():
        file.rename(other / "test" / file.name)
    with pytest.raises(ReidlabError, match="has no query pictures in test; unpack LTCC again"):
        clothes_changing.read("ltcc", other)
    (other / "query").rmdir()
    with pytest.raises(MissingPath, match="no folder .*query; the data set is incomplete"):
        clothes_changing.read("ltcc", other)


def test_sysu_can_train_on_val_people_as_published_scores_do(tmp_path, cache):
    export_synthetic(tmp_path / "s", "sysu-mm01", SIZE, 6, 3, 4)
    plain, both = (load_visible_infrared(InfraredData(
        source=f"sysu-mm01:{tmp_path / 's'}", train_on_val=whether), SIZE)
        for whether in (False, True))
    assert (plain.classes, both.classes) == (6, 9)
    for kind in ("visible", "infrared"):
        assert len(getattr(both.train, kind).records) == sum(
            len(getattr(split, kind).records) for split in (plain.train, plain.val))
    assert set(both.train.visible.pids) == set(plain.train.visible.pids) | set(
        plain.val.visible.pids)
    assert [r.path for r in both.test.visible.records] == [
        r.path for r in plain.test.visible.records]
    export_synthetic(tmp_path / "l", "llcm", SIZE, 6, 3, 4)
    with pytest.raises(ReidlabError, match="data.train_on_val is of sysu-mm01"):
        load_visible_infrared(InfraredData(source=f"llcm:{tmp_path / 'l'}", train_on_val=True),
                              SIZE)
