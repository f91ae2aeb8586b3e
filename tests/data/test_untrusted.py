"""Lists and annotations that other people wrote: every fault is one line with file and place."""
import json
import os

import pytest

from reidlab.data.checking import check
from reidlab.data.text_image import read as read_text_image
from reidlab.data.visible_infrared import read as read_infrared
from reidlab.errors import MissingPath, ReidlabError
from tests.data.making import cuhk, edit, llcm, regdb, sysu, write_list


def refused(name, folder, kind=ReidlabError) -> str:
    """One line of the reader; the check has a fatal problem, too."""
    infrared = name in ("sysu-mm01", "regdb", "llcm")
    with pytest.raises(kind) as fault:
        (read_infrared if infrared else read_text_image)(name, folder)
    said = str(fault.value)
    assert "\n" not in said and "Errno" not in said and "Error" not in said
    found = (check if infrared else check)(name, folder)
    assert [p for p in found["problems"] if p["fatal"]]
    return said


def test_backslashes_in_a_list_are_slashes(tmp_path):
    folder = regdb(tmp_path / "regdb")
    before = read_infrared("regdb", folder)
    for file in (folder / "idx").iterdir():
        file.write_text(file.read_text().replace("/", "\\"))
    assert read_infrared("regdb", folder) == before
    assert check("regdb", folder)["problems"] == []


def test_lists_with_a_byte_order_mark_or_windows_line_ends_are_read(tmp_path):
    folder = regdb(tmp_path / "regdb")
    before = read_infrared("regdb", folder)
    for file in (folder / "idx").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert read_infrared("regdb", folder) == before


def test_backslashes_do_not_lead_out_of_the_folder(tmp_path):
    folder = regdb(tmp_path / "regdb")
    write_list(folder / "idx" / "train_visible_1.txt", ["Visible\\..\\..\\secret.bmp 3"])
    assert "leaves the folder" in refused("regdb", folder)


@pytest.mark.parametrize("name", ["regdb", "llcm", "sysu-mm01"])
def test_a_missing_list_is_one_line(tmp_path, name):
    folder = {"regdb": regdb, "llcm": llcm, "sysu-mm01": sysu}[name](tmp_path / "data")
    file = {"regdb": "idx/test_thermal_1.txt", "llcm": "idx/test_id.txt",
            "sysu-mm01": "exp/val_id.txt"}[name]
    (folder / file).unlink()
    assert str(folder / file) in refused(name, folder, MissingPath)


@pytest.mark.parametrize("instead", ["folder", "pipe", "loop"])
def test_what_is_no_file_in_place_of_a_list_is_one_line(tmp_path, instead, at_once):
    folder = regdb(tmp_path / "regdb")
    file = folder / "idx" / "train_visible_1.txt"
    file.unlink()
    {"folder": os.mkdir, "pipe": os.mkfifo, "loop": lambda f: f.symlink_to(f)}[instead](file)
    assert f"{file} is no readable file" in refused("regdb", folder)


@pytest.mark.parametrize("line", [b"Visible/\xff\xfe.bmp 3", b"Visible/a\0b.bmp 3"])
def test_bytes_that_are_no_text_are_named_with_file_and_line(tmp_path, line):
    folder = regdb(tmp_path / "regdb")
    file = folder / "idx" / "train_visible_1.txt"
    file.write_bytes(file.read_bytes() + line + b"\n")
    assert f"{file}, line 25 cannot be read as text" in refused("regdb", folder)


@pytest.mark.parametrize("label", ["²", "٣", "-1", "1.0", "9" * 5000, str(2**63), "1" * 25, ""])
def test_labels_that_are_no_number_are_named_with_file_and_line(tmp_path, label):
    folder = regdb(tmp_path / "regdb")
    file = folder / "idx" / "train_visible_1.txt"
    file.write_text(f"Visible/train0/0.bmp 0\nVisible/train0/1.bmp {label}\n", encoding="utf-8")
    said = refused("regdb", folder)
    assert f"{file}, line 2: need “path label”" in said and len(said) < 500


@pytest.mark.parametrize("ids", ["1,²", "1\n2\nx", f"1,{'9' * 5000}", f"1 {2**63}", "1,-2"])
def test_ids_that_are_no_number_are_named_with_file_and_line(tmp_path, ids):
    folder = sysu(tmp_path / "sysu")
    (folder / "exp" / "test_id.txt").write_text(ids, encoding="utf-8")
    line = ids.count("\n") + 1
    said = refused("sysu-mm01", folder)
    assert f"test_id.txt, line {line} must hold numbers divided by commas" in said
    assert len(said) < 500


@pytest.mark.parametrize("path", ["x" * 300 + ".bmp", "x/" * 3000 + "a.bmp", "Visible/\x07.bmp"])
def test_names_that_no_file_system_takes_are_named_with_file_and_line(tmp_path, path):
    folder = regdb(tmp_path / "regdb")
    file = folder / "idx" / "test_thermal_1.txt"
    file.write_text(f"{path} 3\n{file.read_text()}")
    said = refused("regdb", folder)
    assert f"{file}, line 1: " in said and len(said) < 500


@pytest.mark.parametrize(("field", "value", "says"), [
    ("id", 2**63, "id must be an integer of 64 bits"),
    ("id", -2**63 - 1, "id must be an integer of 64 bits"),
    ("id", None, "id must be an integer of 64 bits; got null"),
    ("split", None, "split must be one of train, val, test; got null"),
    ("split", ["train"], "split must be one of"),
    ("captions", ["A man \ud800."], "half a character"),
    ("captions", None, "captions must be a list of strings; got null"),
    ("file_path", "1/\udcff.png", "characters that no file name has"),
    ("file_path", "1/\n0.png", "characters that no file name has"),
    ("file_path", "1/\0.png", "characters that no file name has"),
    ("file_path", f"{'x' * 300}.png", "longer than a file name can be"),
    ("file_path", "a/" * 3000 + "b.png", "longer than a file name can be"),
    ("file_path", "../" * 3000 + "b.png", "leaves the folder"),
])
def test_wrong_values_in_an_annotation_are_named_with_file_and_record(tmp_path, field, value,
                                                                     says):
    folder = cuhk(tmp_path / "cuhk")
    edit(folder, lambda rows: rows[3].update({field: value}))
    said = refused("cuhk-pedes", folder)
    assert says in said and "record 3" in said and "reid_raw.json" in said and len(said) < 500
    said.encode()


def test_the_variant_without_splits_may_not_have_a_wrong_one(tmp_path):
    folder = cuhk(tmp_path / "cuhk")
    edit(folder, lambda rows: rows[3].update({"split": None}))
    (folder / "reid_raw.json").rename(folder / "caption_all.json")
    assert "record 3: split must be one of" in refused("cuhk-pedes", folder)


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop"])
def test_pictures_that_are_no_files_are_refused(tmp_path, kind, at_once):
    folder = cuhk(tmp_path / "cuhk")
    file = folder / "imgs" / "1" / "0.png"
    file.unlink()
    {"folder": os.mkdir, "pipe": os.mkfifo, "loop": lambda f: f.symlink_to(f)}[kind](file)
    assert "no picture 1/0.png" in refused("cuhk-pedes", folder)


def test_people_of_llcm_are_the_numbers_of_their_folders(tmp_path):
    """The public lists give class numbers, so that label 3 is the person of folder 4."""
    folder = llcm(tmp_path / "llcm")
    splits = read_infrared("llcm", folder)
    people = {split: {r.pid for kind in kinds for r in kind} for split, kinds in splits.items()}
    assert people["test"] == {3, 6}
    assert people["val"] == {0, 14}  # every tenth of eleven
    assert people["train"] == {1, 2, 4, 5, 7, 8, 10, 11, 13}
    assert check("llcm", folder)["problems"] == []


@pytest.mark.parametrize(("path", "says"), [
    ("vis/one/0001_c02_s1_f1_vis.jpg", "in no folder with a person's number"),
    ("0001_c02_s1_f1_vis.jpg", "in no folder with a person's number"),
    ("vis/²/0001_c02_s1_f1_vis.jpg", "in no folder with a person's number"),
    (f"vis/{2**63}/0001_c02_s1_f1_vis.jpg", "in no folder with a person's number"),
    ("vis/0001/0001_s1_f1_vis.jpg", "no camera in the file name"),
    (f"vis/0001/0001_c{'9' * 100}_s1_f1_vis.jpg", "no camera in the file name"),
])
def test_a_path_of_llcm_without_person_or_camera_is_named_with_file_and_line(tmp_path, path, says):
    folder = llcm(tmp_path / "llcm")
    write_list(folder / "idx" / "train_vis.txt", [f"{path} 0"])
    said = refused("llcm", folder)
    assert f"{folder / 'idx' / 'train_vis.txt'}, line 1: " in said and says in said


@pytest.mark.parametrize("writing", [str, lambda path: f"./{path}",
                                     lambda path: path.replace("/", "//")])
def test_a_test_list_of_regdb_equal_to_the_train_list_is_refused(tmp_path, writing):
    folder = regdb(tmp_path / "regdb")
    for kind in ("visible", "thermal"):
        lines = (folder / "idx" / f"train_{kind}_1.txt").read_text().splitlines()
        write_list(folder / "idx" / f"test_{kind}_1.txt", [writing(line) for line in lines])
    said = refused("regdb", folder)
    assert "pictures are in train and in test" in said and "Thermal/train1/0.bmp" in said


def test_one_picture_on_both_sides_of_regdb_is_refused(tmp_path):
    folder = regdb(tmp_path / "regdb")
    file = folder / "idx" / "test_visible_1.txt"
    file.write_text(file.read_text() + "Visible/train5/1.bmp 0\n")
    assert "1 pictures are in train and in test, such as Visible/train5/1.bmp" in refused(
        "regdb", folder)


def test_numbers_too_long_for_a_parser_are_one_line(tmp_path):
    folder = cuhk(tmp_path / "cuhk")
    file = folder / "reid_raw.json"
    file.write_text(file.read_text().replace('"id": 1}', f'"id": {"9" * 5000}}}'))
    with pytest.raises(ReidlabError, match="no readable JSON") as fault:
        read_text_image("cuhk-pedes", folder)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(("content", "says"), [("null", "got null"), ("3", "got 3"),
                                               ("{}", "got {}"), ("[]", r"got \[\]")])
def test_an_annotation_of_another_kind_is_told_in_json_words(tmp_path, content, says):
    folder = cuhk(tmp_path / "cuhk")
    (folder / "reid_raw.json").write_text(content)
    for look in (read_text_image, check):
        with pytest.raises(ReidlabError, match=f"must hold a list of records; {says}"):
            look("cuhk-pedes", folder)


PARTS = {"id_captions": ["A man."], "cloth_captions": ["In a red shirt."]}


def side(folder, change) -> None:
    rows = json.loads((folder / "reid_raw.json").read_text())
    entries = {row["file_path"]: dict(PARTS) for row in rows}
    (folder / "reidlab_parts.json").write_text(json.dumps(change(entries) or entries))


def test_a_side_file_needs_nothing_but_the_parts(tmp_path):
    folder = cuhk(tmp_path / "cuhk")
    side(folder, lambda entries: None)
    _, splits = read_text_image("cuhk-pedes", folder)
    one = splits["test"][0]
    assert (one.id_captions, one.cloth_captions) == (("A man.",), ("In a red shirt.",))
    assert (one.camid, one.outfit, one.factors, one.facts) == (0, -1, {}, ())
    assert not [p for p in check("cuhk-pedes", folder)["problems"] if p["fatal"]]


@pytest.mark.parametrize(("change", "says"), [
    ({"id_captions": None}, "id_captions must be a list of as many texts as captions"),
    ({"id_captions": []}, "id_captions must be"), ({"id_captions": [3]}, "id_captions must be"),
    ({"id_captions": "A"}, "id_captions must be"),
    ({"cloth_captions": ["\ud800"]}, "cloth_captions must be"),
    ({"camera": "one"}, "camera must be an integer of 64 bits; got 'one'"),
    ({"camera": None}, "camera must be an integer of 64 bits; got null"),
    ({"outfit": 2**63}, "outfit must be an integer"), ({"outfit": 1.5}, "outfit must be"),
    ({"factors": None}, "factors must be"), ({"factors": {"person/sex": "man"}}, "factors must"),
    ({"facts": [{}, {}]}, "facts must be"), ({"facts": [[]]}, "facts must be"),
    ({"facts": [{"person/sex": ["man"]}]}, "facts must be"), ({"facts": {}}, "facts must be"),
])
def test_a_damaged_entry_of_the_side_file_is_named(tmp_path, change, says):
    folder = cuhk(tmp_path / "cuhk")
    side(folder, lambda entries: entries["101/1.png"].update(change))
    said = refused("cuhk-pedes", folder)
    assert f"reidlab_parts.json, 101/1.png: {says}" in said


def test_check_counts_pictures_that_a_side_file_leaves_out(tmp_path):
    folder = cuhk(tmp_path / "cuhk")
    side(folder, lambda entries: [entries.pop(path) for path in ("1/0.png", "201/1.png")] and None)
    said = [p for p in check("cuhk-pedes", folder)["problems"] if "no entry" in p["what"]]
    assert [p["what"] for p in said] == ["has no entry for 2 of 12 pictures"]
    assert not said[0]["fatal"] and read_text_image("cuhk-pedes", folder)


@pytest.mark.parametrize("entry", [None, 3, [], "text"])
def test_an_entry_of_another_kind_is_named(tmp_path, entry):
    folder = cuhk(tmp_path / "cuhk")
    side(folder, lambda entries: entries.update({"1/0.png": entry}))
    assert "reidlab_parts.json, 1/0.png: an object is needed" in refused("cuhk-pedes", folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"permutation_95", b"\xff"])
def test_check_reports_a_side_file_that_training_refuses(tmp_path, content):
    folder = cuhk(tmp_path / "cuhk")
    (folder / "reidlab_parts.json").write_bytes(content)
    assert "reidlab_parts.json" in refused("cuhk-pedes", folder)


def test_a_pipe_in_place_of_the_side_file_is_refused_at_once(tmp_path, at_once):
    folder = cuhk(tmp_path / "cuhk")
    os.mkfifo(folder / "reidlab_parts.json")
    assert "no regular file" in refused("cuhk-pedes", folder)
