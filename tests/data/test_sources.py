"""``LAYOUT:DIR``: what is read, from wherever it is named, and what is no source."""
import os
from pathlib import Path

import pytest

from reidlab.config.text_image import Data
from reidlab.config.visible_infrared import Data as InfraredData
from reidlab.data.checking import check
from reidlab.data.loading import absolute_source, load_text_image, load_visible_infrared
from reidlab.data.text_image import LAYOUTS
from reidlab.errors import MissingPath, ReidlabError
from tests.data.making import cuhk, regdb

SIZE = (16, 8)


@pytest.fixture
def home(tmp_path, monkeypatch, cache):
    """A working folder beside the home folder, both with data in them."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cuhk(tmp_path / "home" / "people")
    regdb(tmp_path / "home" / "night")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.mark.parametrize("folder", ["~/{}", "../home/{}", "../work/../home/./{}/"])
def test_a_folder_may_be_relative_or_start_at_home(home, folder):
    source = f"cuhk-pedes:{folder.format('people')}"
    assert len(load_text_image(Data(source=source), SIZE).test.records) == 4
    assert absolute_source(source) == f"cuhk-pedes:{home.resolve() / 'people'}"
    source = f"regdb:{folder.format('night')}"
    assert len(load_visible_infrared(InfraredData(source=source), SIZE).test.visible.records) == 4
    assert absolute_source(source) == f"regdb:{home.resolve() / 'night'}"


def test_an_absolute_source_stays_the_same_one_when_read_again(home):
    once = absolute_source("cuhk-pedes:../home/people")
    assert absolute_source(once) == once and absolute_source("synthetic") == "synthetic"


@pytest.mark.parametrize("source", ["market:x", "cuhk-pedes", "cuhk-pedes:", "", ":", "Drawn"])
def test_what_is_no_source_is_one_line_for_both_tasks(source):
    every = ", ".join(f"{name}:DIR" for name in (*LAYOUTS, "sysu-mm01", "regdb", "llcm"))
    for read, known in (
            (lambda: load_text_image(Data(source=source), SIZE), "cuhk-pedes:DIR"),
            (lambda: load_visible_infrared(InfraredData(source=source), SIZE), "sysu-mm01:DIR"),
            (lambda: absolute_source(source), every)):
        with pytest.raises(ReidlabError) as fault:
            read()
        assert f"unknown data {source!r}; known: synthetic, {known}" in str(fault.value)


def test_a_layout_of_the_other_task_is_unknown(home):
    with pytest.raises(ReidlabError, match="known: synthetic, cuhk-pedes:DIR"):
        load_text_image(Data(source="regdb:~/night"), SIZE)
    with pytest.raises(ReidlabError, match="known: synthetic, sysu-mm01:DIR"):
        load_visible_infrared(InfraredData(source="cuhk-pedes:~/people"), SIZE)


@pytest.mark.parametrize("folder", ["none", "~nobody-of-this-name/x", "a\0b", "x" * 300, "loop",
                                    "file", "file/below"])
def test_a_folder_that_is_none_is_one_line(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("no folder")
    os.symlink("loop", "loop")
    for read in (lambda: load_text_image(Data(source=f"cuhk-pedes:{folder}"), SIZE),
                 lambda: load_visible_infrared(InfraredData(source=f"llcm:{folder}"), SIZE)):
        with pytest.raises(ReidlabError) as fault:
            read()
        said = str(fault.value)
        assert "\n" not in said and "Errno" not in said and len(said) < 1000


def test_a_file_in_place_of_a_folder_is_called_no_folder(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(MissingPath, match=f"{tmp_path / 'file'} is no folder"):
        load_text_image(Data(source=f"cuhk-pedes:{tmp_path / 'file'}"), SIZE)
    with pytest.raises(MissingPath, match="is no folder"):
        check("regdb", tmp_path / "file")


def test_a_folder_that_is_gone_can_still_be_named(tmp_path):
    """A finished run stays readable where its data are not."""
    assert absolute_source(f"llcm:{tmp_path}/gone/../away") == f"llcm:{tmp_path}/away"


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(MissingPath, match="is no CUHK-PEDES folder: it needs imgs/"):
        load_text_image(Data(source=f"cuhk-pedes:{tmp_path}"), SIZE)
    with pytest.raises(MissingPath, match="the folder is incomplete"):
        load_visible_infrared(InfraredData(source=f"regdb:{tmp_path}"), SIZE)
    problems = check("regdb", tmp_path)["problems"]
    assert [p["what"] for p in problems if p["fatal"]] == ["is missing"] * 4
