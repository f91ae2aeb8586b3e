"""The cache of packed pictures: whose pictures it holds, and what becomes of damaged files."""
import io
import os
from pathlib import Path

import numpy as np
import pytest

from reidlab.config.text_image import Data
from reidlab.data import packing
from reidlab.data.loading import (
    _synthetic_split,
    synthetic_keys,
    synthetic_record,
    synthetic_text_image,
)
from reidlab.data.packing import SyntheticImages, cache_folder, pack, pack_synthetic, to_tensor
from reidlab.errors import MissingPath, ReidlabError
from reidlab.synthetic.world import World
from tests.data.making import picture

SIZE = (16, 8)


def test_bytes_become_numbers_from_minus_one_to_one_channels_first():
    pixels = np.zeros((1, 2, 3, 3), np.uint8)
    pixels[0, 1, 2] = 0, 51, 255
    made = to_tensor(pixels)
    assert made.shape == (1, 3, 2, 3)
    assert made[0, :, 1, 2].tolist() == pytest.approx([-1, -0.6, 1])
    assert made[0, :, 0, 0].tolist() == [-1, -1, -1]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REIDLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def grey(packed: np.ndarray) -> list[int]:
    return packed[:, 0, 0, 0].tolist()


def test_another_working_folder_with_equal_names_and_times_gets_its_own_pictures(
        tmp_path, monkeypatch, own_cache):
    for name, value in (("one", 50), ("two", 200)):
        file = picture(tmp_path / name / "gallery" / "x.png", value)
        os.utime(file, ns=(10**18, 10**18))
    sizes = [(tmp_path / name / "gallery" / "x.png").stat().st_size for name in ("one", "two")]
    assert sizes[0] == sizes[1]
    for name, value in (("one", 50), ("two", 200), ("one", 50)):
        monkeypatch.chdir(tmp_path / name)
        assert grey(pack([Path("gallery/x.png")], SIZE)) == [value]


def test_a_picture_replaced_by_another_of_the_same_name_size_and_time_is_read_anew(
        tmp_path, own_cache):
    file = picture(tmp_path / "x.png", 50)
    os.utime(file, ns=(10**18, 10**18))
    assert grey(pack([file], SIZE)) == [50]
    picture(file, 200)
    os.utime(file, ns=(10**18, 10**18))
    assert grey(pack([file], SIZE)) == [200]


def test_pictures_that_did_not_change_are_decoded_once(tmp_path, own_cache, monkeypatch):
    files = [picture(tmp_path / f"{k}.png", 10 * k) for k in range(3)]
    first = pack(files, SIZE)
    monkeypatch.setattr(packing, "open_picture", None)  # a second decoding would fail
    assert np.array_equal(pack(files, SIZE), first) and grey(first) == [0, 10, 20]


def test_pictures_named_in_another_way_are_the_same_pictures(tmp_path, own_cache, monkeypatch):
    picture(tmp_path / "gallery" / "x.png", 50)
    (tmp_path / "link").symlink_to("gallery")
    monkeypatch.chdir(tmp_path)
    for path in ("gallery/x.png", "./link/x.png", "gallery/../gallery/x.png",
                 tmp_path / "gallery" / "x.png"):
        pack([Path(path)], SIZE)
    assert len(list(own_cache.iterdir())) == 1


DAMAGE = {
    "empty": lambda file: file.write_bytes(b""),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "header cut off": lambda file: file.write_bytes(file.read_bytes()[:40]),
    "garbage": lambda file: file.write_bytes(b"\x00garbage" * 1000),
    "a zip archive": lambda file: file.write_bytes(b"PK\x03\x04" + b"\0" * 100),
    "another shape": lambda file: np.save(file, np.zeros((1, 2, 3), np.uint8)),
    "another type": lambda file: np.save(file, np.zeros((3, *SIZE, 3), np.float32)),
    "a pickle": lambda file: np.save(file, np.array([{"a": 1}], object), allow_pickle=True),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_packed_pictures_are_made_anew(tmp_path, own_cache, damage, capfd):
    files = [picture(tmp_path / f"{k}.png", 10 * k) for k in range(3)]
    before = pack(files, SIZE).copy()
    kept = next(own_cache.glob("*.npy"))
    damage(kept)
    assert np.array_equal(pack(files, SIZE), before)
    assert np.array_equal(np.load(kept), before)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"[1, 2]",
        b"permutation_95",
        b"\xff\xfe",
        b'[{"path": "x"}]',
        b"[" * 100_000,
        None,
    ],
)
def test_damaged_records_of_drawn_pictures_are_made_anew(own_cache, content):
    data = Data(people=2, val_people=2, test_people=2, outfits=2, images_per_outfit=1)
    _synthetic_split.cache_clear()
    before = synthetic_text_image(data, (16, 16)).test.records
    world, keys = World(0, (16, 16)), synthetic_keys("test", 2, 2, 1)
    assert before == [synthetic_record(world, key) for key in keys]
    files = {file: file.read_bytes() for file in own_cache.glob("*.jsonl")}
    assert len(files) == 3
    for file, whole in files.items():
        file.write_bytes(whole.replace(b'"outfit": ', b'"outfit": 1') if content is None
                         else content)
    _synthetic_split.cache_clear()  # as a later process
    assert synthetic_text_image(data, (16, 16)).test.records == before
    assert all(file.read_bytes() == whole for file, whole in files.items())


def test_a_pipe_in_place_of_a_cache_file_is_not_waited_for(own_cache):
    data = Data(people=2, val_people=2, test_people=2, outfits=2, images_per_outfit=1)
    _synthetic_split.cache_clear()
    before = synthetic_text_image(data, (16, 16)).test
    for file in list(own_cache.iterdir()):
        file.unlink()
        os.mkfifo(file)
    _synthetic_split.cache_clear()
    again = synthetic_text_image(data, (16, 16)).test
    assert again.records == before.records and np.array_equal(again.images, before.images)


def test_a_damaged_picture_is_one_line_and_no_workers_traceback(tmp_path, own_cache):
    files = [picture(tmp_path / f"{k:03d}.png") for k in range(70)]
    files[66].write_bytes(files[66].read_bytes()[:40])
    with pytest.raises(ReidlabError) as fault:
        pack(files, SIZE)
    said = str(fault.value)
    assert said.startswith(f"{files[66]} cannot be opened as a picture") and "\n" not in said
    assert not list(own_cache.glob("*"))  # nothing half-written


def test_a_missing_picture_or_a_dangling_link_is_one_line(tmp_path, own_cache):
    there = picture(tmp_path / "a.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    for path in (tmp_path / "none.png", tmp_path / "dangling.png", there / "below.png"):
        with pytest.raises(MissingPath, match="is missing") as fault:
            pack([there, path], SIZE)
        assert str(path) in str(fault.value) and "\n" not in str(fault.value)


def test_a_link_that_loops_or_a_name_that_is_too_long_is_one_line(tmp_path, own_cache):
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for path in (tmp_path / "loop.png", tmp_path / f"{'x' * 300}.png"):
        with pytest.raises(ReidlabError, match="cannot be read") as fault:
            pack([path], SIZE)
        assert "Errno" not in str(fault.value)


def test_without_room_for_the_cache_pictures_are_kept_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("REIDLAB_CACHE", str(tmp_path / "file" / "cache"))
    files = [picture(tmp_path / f"{k:03d}.png", k) for k in range(130)]  # three batches
    assert grey(pack(files, SIZE)) == list(range(130))


def test_what_is_kept_of_the_drawn_world_is_what_was_kept_before(own_cache):
    """The name and every byte of a cache file, so that no old cache is drawn again."""
    world, keys = World(0, (16, 16)), [(0, 0, 0), (1, 1, 0)]
    pack_synthetic(SyntheticImages(world, keys), (16, 16))
    assert cache_folder() == own_cache
    assert [file.name for file in own_cache.iterdir()] == ["1e957924f53c59d447fa.npy"]
    whole = io.BytesIO()
    np.save(whole, np.stack([world.picture(*key) for key in keys]))
    assert next(own_cache.iterdir()).read_bytes() == whole.getvalue()
