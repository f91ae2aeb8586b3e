"""``data check`` says what training would refuse, and a reader says it before hours are spent."""
import json
import os
import shutil

import pytest

from reidlab.config.text_image import Data
from reidlab.config.visible_infrared import Data as InfraredData
from reidlab.data import loading
from reidlab.data import loading as pairs
from reidlab.data.checking import check, markdown
from reidlab.data.text_image import read as read_text_image
from reidlab.data.visible_infrared import read as read_infrared
from reidlab.errors import ReidlabError
from tests.data.making import cuhk, edit, llcm, regdb, sysu, write_list

MADE = {"cuhk-pedes": cuhk, "regdb": regdb, "sysu-mm01": sysu, "llcm": llcm}


def fatal(name, folder) -> list[str]:
    found = check(name, folder)
    assert "\n" not in "".join(str(p) for p in found["problems"])
    assert markdown(found)
    return [f"{p['where']}: {p['what']}; {p['fix']}" for p in found["problems"] if p["fatal"]]


def load(name, folder):
    if name == "cuhk-pedes":
        return loading.load_text_image(Data(source=f"{name}:{folder}"), (16, 8))
    return pairs.load_visible_infrared(InfraredData(source=f"{name}:{folder}"), (16, 8))


@pytest.mark.parametrize("name", MADE)
def test_sound_folders_load_and_have_no_fatal_problem(tmp_path, name, cache):
    folder = MADE[name](tmp_path / "data")
    assert fatal(name, folder) == []
    assert len(load(name, folder).train.images if name == "cuhk-pedes"
               else load(name, folder).train.visible.images) >= 2


def rows(change):
    return lambda folder: edit(folder, change)


def _set(k, **values):
    return rows(lambda records: records[k].update(values))


def pipe(path):
    def change(folder):
        (folder / path).unlink()
        os.mkfifo(folder / path)
    return change


def write(path, text):
    return lambda folder: (folder / path).write_text(text)


def without(path):
    return lambda folder: (folder / path).unlink()


def link(path, target):
    def change(folder):
        (folder / path).unlink()
        (folder / path).symlink_to(target)
    return change


BROKEN = {
    "no val": ("cuhk-pedes", rows(lambda r: r.__delitem__(slice(4, 8)))),
    "no test": ("cuhk-pedes", rows(lambda r: r.__delitem__(slice(8, 12)))),
    "no train": ("cuhk-pedes", rows(lambda r: r.__delitem__(slice(0, 4)))),
    "one val person": ("cuhk-pedes", rows(lambda r: r.__delitem__(slice(6, 8)))),
    "a person in two splits": ("cuhk-pedes", _set(5, id=1)),
    "an unknown split": ("cuhk-pedes", _set(5, split="dev")),
    "a broken side file": ("cuhk-pedes", write("reidlab_parts.json", "{")),
    "half a side file": ("cuhk-pedes", write("reidlab_parts.json", json.dumps(
        {"1/0.png": {"id_captions": ["a man"]}}))),
    "a picture cut off": ("cuhk-pedes", write("imgs/1/0.png", "")),
    "a picture that is a pipe": ("cuhk-pedes", pipe("imgs/1/0.png")),
    "a picture that is a loop": ("cuhk-pedes", link("imgs/1/0.png", "0.png")),
    "chinese": ("cuhk-pedes", rows(lambda r: [x.update(captions=["一个高个子男人"]) for x in r])),
    "regdb equal lists": ("regdb", lambda folder: [shutil.copy(
        folder / "idx" / f"train_{kind}_1.txt", folder / "idx" / f"test_{kind}_1.txt")
        for kind in ("visible", "thermal")]),
    "regdb empty list": ("regdb", write("idx/test_visible_1.txt", "")),
    "regdb no list": ("regdb", without("idx/test_visible_1.txt")),
    "regdb a list that is a pipe": ("regdb", pipe("idx/test_visible_1.txt")),
    "regdb a picture that is a pipe": ("regdb", pipe("Visible/train0/0.bmp")),
    "regdb a picture that is missing": ("regdb", without("Visible/train0/0.bmp")),
    "regdb a picture that is a loop": ("regdb", link("Visible/train0/0.bmp", "0.bmp")),
    "regdb one test person": ("regdb", lambda folder: [write_list(
        folder / "idx" / f"test_{kind}_1.txt", [f"{kind.capitalize()}/test0/{k}.bmp 0"
                                                for k in (0, 1)])
        for kind in ("visible", "thermal")]),
    "regdb nobody in both lights": ("regdb", write(
        "idx/test_thermal_1.txt", "Thermal/test0/0.bmp 7\nThermal/test1/0.bmp 8\n")),
    "sysu empty list": ("sysu-mm01", write("exp/val_id.txt", " \n")),
    "sysu shared person": ("sysu-mm01", write("exp/val_id.txt", "1,3")),
    "sysu one val person": ("sysu-mm01", write("exp/val_id.txt", "3")),
    "sysu people without pictures": ("sysu-mm01", write("exp/val_id.txt", "80,81")),
    "sysu a camera that is a loop": ("sysu-mm01", lambda folder: (
        shutil.rmtree(folder / "cam3"), (folder / "cam3").symlink_to("cam3"))),
    "llcm shared person": ("llcm", write("idx/test_id.txt", "3,4")),
    "llcm one test person": ("llcm", write("idx/test_id.txt", "3")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_check_has_a_fatal_problem_where_loading_refuses(tmp_path, case, cache, at_once):
    name, change = BROKEN[case]
    folder = MADE[name](tmp_path / "data")
    change(folder)
    with pytest.raises(ReidlabError) as fault:
        load(name, folder)
    assert "\n" not in str(fault.value)
    each = 2 if case == "sysu people without pictures" else 1  # visible and infrared
    assert len(fatal(name, folder)) == each  # named once, not by every look


def test_an_unreadable_camera_folder_is_a_problem_and_no_crash(tmp_path, monkeypatch):
    folder, names = sysu(tmp_path / "sysu"), os.listdir

    def locked(path):
        if os.fspath(path).endswith("cam3/0005"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return names(path)
    monkeypatch.setattr(os, "listdir", locked)
    said = fatal("sysu-mm01", folder)
    assert len(said) == 1 and "cannot read the folder" in said[0] and "cam3/0005" in said[0]


@pytest.mark.parametrize(("people", "pictures", "says"), [
    (1, 9, "people: 1, pictures: 9"), (2, 3, "people: 2, pictures: 3"),
    (1, 1, "people: 1, pictures: 1")])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_that_holds_too_little_is_named_with_what_is_needed(tmp_path, split, people,
                                                                    pictures, says):
    folder = cuhk(tmp_path / "cuhk", people=2, pictures=9)

    def fewer(records):
        kept = [r for r in records if r["split"] == split]
        for row in kept:
            records.remove(row)
        records += (kept[:pictures] if people == 1 else kept[:1] + kept[9:9 + pictures - 1])
    edit(folder, fewer)
    wanted = f"too little in {split}: {says}; at least 2 people and 4 pictures are needed"
    with pytest.raises(ReidlabError, match=wanted):
        read_text_image("cuhk-pedes", folder)
    said = fatal("cuhk-pedes", folder)
    assert len(said) == 1 and wanted in said[0]


def test_two_people_and_four_pictures_are_enough(tmp_path):
    folder = cuhk(tmp_path / "cuhk", people=2, pictures=2)
    assert [len(records) for records in read_text_image("cuhk-pedes", folder)[1].values()
            ] == [4, 4, 4]


def test_visible_infrared_needs_two_people_seen_in_both_kinds_of_light(tmp_path):
    folder = sysu(tmp_path / "sysu")
    for file in (folder / "cam3" / "0005").iterdir():  # person 5 is seen in visible light only
        file.unlink()
    wanted = ("too little in test: people seen in both modalities: 1, pictures: 6; at least 2 "
              "people seen in both modalities")
    with pytest.raises(ReidlabError, match=wanted):
        read_infrared("sysu-mm01", folder)
    said = fatal("sysu-mm01", folder)
    assert len(said) == 1 and wanted in said[0]


@pytest.mark.parametrize("people", range(4, 23))
def test_two_people_at_least_choose_the_checkpoint_where_there_is_no_val_split(tmp_path, people):
    splits = read_infrared("regdb", regdb(tmp_path / "regdb", people=people))
    val, train = ({r.pid for kind in splits[s] for r in kind} for s in ("val", "train"))
    assert len(val) >= 2 and len(train) >= 2 and not val & train
    if people > 10:
        assert val == set(range(0, people, 10))


def test_check_says_which_share_of_captions_has_an_empty_half(tmp_path, caplog):
    folder = cuhk(tmp_path / "cuhk", people=2, pictures=4)  # eight training pictures

    def change(records):
        records[0]["captions"] = ["A tall man."]          # nothing of the clothes
        records[1]["captions"] = ["Blue jeans."]          # nothing of the person
        records[2]["captions"] = ["Grey trousers."]
        for row in records[8:]:
            row["captions"] = ["红"]                      # only the training split counts
    edit(folder, change)
    said = [p for p in check("cuhk-pedes", folder)["problems"] if "say nothing" in p["what"]]
    assert len(said) == 1 and not said[0]["fatal"]
    assert "25.0% of the training captions say nothing of the person" in said[0]["what"]
    assert "12.5% nothing of the clothes" in said[0]["what"]
    with caplog.at_level("WARNING"):
        caplog.clear()
        read_text_image("cuhk-pedes", folder)
    assert "25.0% of the training captions say nothing of the person" in caplog.text


@pytest.mark.parametrize(("caption", "says"), [
    ("一个短发男人，穿着红色衬衫和蓝色牛仔裤。",
     "100.0% of the training captions say nothing of the person, 100.0% nothing of the clothes"),
    ("Un homme grand aux cheveux courts, en chemise rouge.", "say nothing of the person"),
])
def test_captions_that_the_splitter_empties_are_refused_with_the_mend(tmp_path, caption, says):
    """With them training ran on nothing: loss 0, R1 0."""
    folder = cuhk(tmp_path / "cuhk", caption=caption)
    with pytest.raises(ReidlabError, match=says) as fault:
        read_text_image("cuhk-pedes", folder)
    assert "English captions, or a reidlab_parts.json" in str(fault.value)
    found = fatal("cuhk-pedes", folder)
    assert len(found) == 1 and says in found[0]


@pytest.mark.parametrize(("empty", "refused"), [(2, False), (3, True)])
def test_half_of_the_captions_may_lose_a_half_and_no_more(tmp_path, empty, refused):
    folder = cuhk(tmp_path / "cuhk")  # four training captions

    def change(records):
        for k in range(empty):
            records[k]["captions"] = ["A tall man." if k % 2 else "Blue jeans."]
    edit(folder, change)
    if refused:
        with pytest.raises(ReidlabError, match="at most 50% may lose a half"):
            read_text_image("cuhk-pedes", folder)
    else:
        assert read_text_image("cuhk-pedes", folder)


def test_a_side_file_with_parts_makes_other_languages_usable(tmp_path):
    folder = cuhk(tmp_path / "cuhk", caption="一个高个子男人")
    entry = {"id_captions": ["高个子男人"], "cloth_captions": ["红色衬衫"]}
    paths = [row["file_path"] for row in json.loads((folder / "reid_raw.json").read_text())]
    (folder / "reidlab_parts.json").write_text(json.dumps({path: entry for path in paths}))
    assert read_text_image("cuhk-pedes", folder)[1]["train"][0].cloth_captions == ("红色衬衫",)
    assert fatal("cuhk-pedes", folder) == []
