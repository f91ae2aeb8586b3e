"""Exports: into which folders, what is left when one fails, and what numbers make no data set."""
import os
from pathlib import Path

import pytest
from PIL import Image

from reidlab.data.checking import check
from reidlab.data.exporting import export_synthetic
from reidlab.data.text_image import LAYOUTS
from reidlab.data.visible_infrared import INFRARED_LAYOUTS
from reidlab.errors import ReidlabError

LAYOUT_NAMES = (*LAYOUTS, *INFRARED_LAYOUTS)


def export(folder, name="cuhk-pedes", **changes):
    asked = {"size": (16, 16), "people": 4, "held_out": 2, "shots": 1} | changes
    return export_synthetic(Path(folder), name, **asked)


def problems(folder, name) -> list:
    return [p for p in check(name, folder)["problems"] if p["fatal"]]


@pytest.mark.parametrize("name", ["cuhk-pedes", "llcm"])
@pytest.mark.parametrize("folder", [".", "new", "../work/new", "deep/er/new", "./"])
def test_an_export_into_a_relative_folder_lies_there(tmp_path, monkeypatch, cache, name, folder):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert export(folder, name) > 0
    assert problems(Path(folder), name) == []
    where = (tmp_path / "work" / folder).resolve()
    assert problems(where, name) == [] and os.path.samefile(where, folder)
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".part")]


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_an_export_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch, cache, name):
    saved, save = [], Image.Image.save

    def full(self, file, **options):
        saved.append(file)
        if len(saved) > 3:
            raise OSError(28, "No space left on device")
        save(self, file, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    (tmp_path / "empty").mkdir()
    for folder in ("new", "empty", "deep/er/new"):
        saved.clear()
        with pytest.raises(ReidlabError, match="No space left on device; free some space") as fault:
            export(tmp_path / folder, name)
        assert "\n" not in str(fault.value)
    assert [p.name for p in tmp_path.rglob("*")] == ["empty"]
    monkeypatch.setattr(Image.Image, "save", save)
    assert export(tmp_path / "new", name) > 0  # the next try finds no remains


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_an_export_into_a_file_or_a_full_folder_is_one_line_and_changes_nothing(
        tmp_path, cache, name):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    for folder, says in (("file", "is a file; name a new folder"), ("", "is not empty"),
                         ("file/below", "cannot write"), ("x" * 300, "cannot write"),
                         ("loop", "no usable path")):
        with pytest.raises(ReidlabError, match=says) as fault:
            export(tmp_path / folder, name)
        assert "\n" not in str(fault.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "loop"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["cuhk-pedes", "regdb"])
def test_an_export_without_the_right_to_write_is_one_line(tmp_path, monkeypatch, cache, name):
    def denied(path, *args, **options):
        raise PermissionError(13, "Permission denied", os.fspath(path))
    export(tmp_path / "synthetic", name)  # so that nothing is left to draw into the cache
    monkeypatch.setattr(os, "mkdir", denied)
    with pytest.raises(ReidlabError, match="cannot write .*new: Permission denied"):
        export(tmp_path / "new", name)


@pytest.mark.parametrize(("changes", "says"), [
    ({"size": (1, 1)}, "1x1 pixels is too small"), ({"size": (-96, -48)}, "too small"),
    ({"size": (96, 0)}, "too small"), ({"size": (15, 16)}, "too small"),
    ({"people": 1}, "training people: 1; at least 2"), ({"people": -4}, "at least 2"),
    ({"held_out": 0}, "held-out people: 0; at least 2"), ({"shots": 0}, "shots: 0; at least 1"),
    ({"seed": -1}, "seed: -1; at least 0"),
])
@pytest.mark.parametrize("name", ["cuhk-pedes", "llcm"])
def test_numbers_that_make_no_data_set_are_refused(tmp_path, name, changes, says):
    with pytest.raises(ReidlabError, match=says):
        export(tmp_path / "new", name, **changes)
    assert not list(tmp_path.iterdir())


def test_llcm_is_written_in_its_public_form(tmp_path, cache):
    """Labels of the training lists are classes without a gap; people are numbers of folders."""
    export(tmp_path / "llcm", "llcm", people=5, held_out=3, shots=2)
    for kind in ("vis", "nir"):
        lines = (tmp_path / "llcm" / "idx" / f"train_{kind}.txt").read_text().split("\n")[:-1]
        pairs = [line.split(" ") for line in lines]
        assert [int(label) for _, label in pairs] == [k // 2 for k in range(16)]
        folders = [int(Path(path).parent.name) for path, _ in pairs]
        assert folders == [1 + k // 2 for k in range(16)]
    assert (tmp_path / "llcm" / "idx" / "test_id.txt").read_text() == "9,10,11\n"
