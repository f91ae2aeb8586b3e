"""Picture files of other people: which are listed, how they are opened, which are refused."""
import os

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from reidlab.data.checking import check
from reidlab.data.packing import pack
from reidlab.data.pictures import open_picture, picture_fault, pictures_in
from reidlab.data.visible_infrared import infrared_layout
from reidlab.errors import MissingPath, ReidlabError
from tests.data.making import cuhk, llcm, picture, sysu

POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 16
%%EndComments
0 setgray showpage
"""


def refused(path, size=(16, 8)) -> str:
    with pytest.raises(ReidlabError) as fault:
        open_picture(path, size)
    said = str(fault.value)
    assert "\n" not in said and path.name in said
    assert picture_fault(path)
    return said


def test_postscript_named_png_is_never_run(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: ran.append(a))
    file = tmp_path / "x.png"
    file.write_bytes(POSTSCRIPT)
    said = refused(file)
    assert ran == []
    assert "none of JPEG" in said


def test_a_pipe_or_a_device_named_png_is_refused_at_once(tmp_path, at_once):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "device.png", "folder.png"):
        assert "no regular file" in refused(tmp_path / name)
        with pytest.raises(ReidlabError, match="no regular file"):
            pack([tmp_path / name], (16, 8))


@pytest.mark.parametrize("size", [(12, 10), (30, 30)])  # Pillow warns at the first, raises at both
def test_pictures_of_too_many_pixels_are_one_line(tmp_path, monkeypatch, size, recwarn):
    Image.new("RGB", size).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "more than 100 pixels" in refused(tmp_path / "x.png")
    assert not recwarn.list


@pytest.mark.parametrize(("name", "values"), [
    ("x.png", np.full((16, 8), 20_000, np.uint16)),
    ("x.tif", np.full((16, 8), 20_000, np.uint16)),
    ("x.tif", np.full((16, 8), 20_000, np.int32)),
    ("x.tif", np.full((16, 8), 293.5, np.float32)),
])
def test_sixteen_bit_and_float_pictures_are_refused_with_the_mend(tmp_path, name, values):
    """Pillow makes every pixel white."""
    Image.fromarray(values).save(tmp_path / name)
    assert "convert all pictures to 8 bits with one range" in refused(tmp_path / name)


def test_check_reports_sixteen_bit_pictures(tmp_path):
    folder = cuhk(tmp_path / "data")
    Image.fromarray(np.full((16, 8), 20_000, np.uint16)).save(folder / "imgs" / "1" / "0.png")
    fatal = [p for p in check("cuhk-pedes", folder)["problems"] if p["fatal"]]
    assert len(fatal) == 1 and "8 bits with one range" in fatal[0]["fix"]
    assert "1/0.png" in fatal[0]["what"]


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    """Orientation 6: the first row is what should be the right column."""
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0] = (200, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    upright = open_picture(tmp_path / "x.png", (4, 2))
    assert (upright[:, 1] == (200, 0, 0)).all() and (upright[:, 0] == 0).all()


def test_a_picture_with_damaged_exif_is_read_as_it_lies(tmp_path):
    pixels = np.arange(16 * 8 * 3, dtype=np.uint8).reshape(16, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=b"Exif\0\0no exif at all")
    assert np.array_equal(open_picture(tmp_path / "x.png", (16, 8)), pixels)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.webp"])
def test_a_damaged_picture_with_exif_is_refused(tmp_path, name):
    """Pillow refuses to load a PNG of broken bytes once, and hands out black at the second try."""
    exif, file = Image.Exif(), tmp_path / name
    exif[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)
    Image.fromarray(noise).save(file, exif=exif)
    content = file.read_bytes()
    file.write_bytes(content[:len(content) // 2])
    assert "cannot be opened" in refused(file)
    if name == "x.png":  # the other formats take changed bytes for other pixels
        middle = len(content) // 2
        file.write_bytes(content[:middle] + b"\xff" * 40 + content[middle + 40:])
        assert "cannot be opened" in refused(file)


def test_the_first_frame_of_a_gif_is_read(tmp_path):
    red, blue = (Image.new("RGB", (8, 16), colour) for colour in ("red", "blue"))
    red.save(tmp_path / "x.gif", save_all=True, append_images=[blue])
    assert (open_picture(tmp_path / "x.gif", (16, 8))[0, 0] == (255, 0, 0)).all()


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff",
                                    ".gif", ".JPG", ".Jpeg", ".PNG"])
def test_every_reader_knows_the_same_endings(tmp_path, ending):
    gallery = picture(tmp_path / "gallery" / f"x{ending}")
    assert pictures_in(tmp_path / "gallery") == [gallery]
    splits = infrared_layout("sysu-mm01").read(sysu(tmp_path / "sysu", ending), 1)
    assert [len(kind) for kinds in splits.values() for kind in kinds] == [4] * 6
    folder = llcm(tmp_path / "llcm")
    place = folder / "test_vis" / "cam1" / "0003"
    picture(place / f"another{ending}")
    visible, _ = infrared_layout("llcm").read(folder, 1)["test"]
    assert f"test_vis/cam1/0003/another{ending}" in [r.path for r in visible]


def test_hidden_files_and_what_macos_adds_are_skipped(tmp_path):
    folder = sysu(tmp_path / ".cache")  # the folder itself may be hidden
    for name in ("cam1/0001/._0001.jpg", "cam1/0001/.0003.jpg"):
        (folder / name).write_bytes(b"no picture")
    splits = infrared_layout("sysu-mm01").read(folder, 1)
    assert len(splits["train"][0]) == 4
    for name in ("__MACOSX/a.jpg", ".thumbnails/a.jpg", "cam1/__MACOSX/a.jpg"):
        picture(folder / name)
    found = pictures_in(folder)
    assert len(found) == 24 and not [p for p in found if p.name.startswith(".")]


def test_folders_are_not_listed_as_pictures_and_loops_end(tmp_path, at_once):
    here = picture(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    assert pictures_in(tmp_path) == [here]
    with pytest.raises(MissingPath, match="no pictures"):
        pictures_in(tmp_path / "none")


def test_a_folder_that_cannot_be_read_is_told_and_not_left_out(tmp_path, monkeypatch):
    folder, names, scan = sysu(tmp_path / "sysu"), os.listdir, os.scandir

    def locked(path, look):
        if os.fspath(path).endswith("cam1/0001"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return look(path)
    monkeypatch.setattr(os, "listdir", lambda path: locked(path, names))
    monkeypatch.setattr(os, "scandir", lambda path: locked(path, scan))
    with pytest.raises(ReidlabError, match="cannot read the folder .*cam1/0001: Permission"):
        infrared_layout("sysu-mm01").read(folder, 1)
    with pytest.raises(ReidlabError, match="cannot read the folder .*cam1/0001: Permission"):
        pictures_in(folder)
