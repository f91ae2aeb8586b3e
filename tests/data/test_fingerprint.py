"""Equal data have an equal fingerprint wherever they lie; any change gives another."""
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from reidlab.config.text_image import Data
from reidlab.config.visible_infrared import Data as InfraredData
from reidlab.data.fingerprint import fingerprint
from reidlab.data.loading import load_text_image, load_visible_infrared
from reidlab.data.records import CrossModalSplit, Record, Split, TextImageData, VisibleInfraredData
from tests.data.making import cuhk, edit, picture, regdb

SIZE = (16, 8)


def of(folder):
    return fingerprint(load_text_image(Data(source=f"cuhk-pedes:{folder}"), SIZE))


def of_pairs(folder):
    return fingerprint(load_visible_infrared(InfraredData(source=f"regdb:{folder}"), SIZE))


@pytest.mark.parametrize(("make", "digest"), [(cuhk, of), (regdb, of_pairs)])
def test_a_copy_elsewhere_has_the_same_fingerprint(tmp_path, cache, make, digest):
    folder = make(tmp_path / "one")
    shutil.copytree(folder, tmp_path / "deeper" / "two")
    assert digest(folder) == digest(tmp_path / "deeper" / "two")
    assert re.fullmatch("[0-9a-f]{16}", digest(folder))


@pytest.mark.parametrize("change", [
    lambda row: row.update(captions=["A short man, wearing a red shirt and blue jeans."]),
    lambda row: row["captions"].append(row["captions"][0]), lambda row: row.update(id=999)])
@pytest.mark.parametrize("number", [0, 5, 11])  # of train, val and test
def test_another_caption_or_person_in_any_split_is_another_fingerprint(tmp_path, cache, change,
                                                                       number):
    folder = cuhk(tmp_path / "cuhk", people=4, pictures=1)
    before = of(folder)
    edit(folder, lambda rows: change(rows[number]))
    assert of(folder) != before


@pytest.mark.parametrize("name", ["1/0.png", "102/1.png", "202/1.png"])
def test_another_picture_in_any_split_is_another_fingerprint(tmp_path, cache, name):
    folder = cuhk(tmp_path / "cuhk")
    before = of(folder)
    picture(folder / "imgs" / name, 250)
    assert of(folder) != before


def test_another_infrared_picture_is_another_fingerprint(tmp_path, cache):
    folder = regdb(tmp_path / "regdb")
    before = of_pairs(folder)
    picture(folder / "Thermal" / "test1" / "1.bmp", 250)
    assert of_pairs(folder) != before


def made(records: list[Record], images: np.ndarray) -> str:
    split = Split(records, images)
    return fingerprint(TextImageData(split, split, split, source="synthetic"))


def test_each_field_and_the_order_of_records_count():
    one, two = Record("a", 1, 1, ("x",)), Record("b", 2, 1, ("y",))
    images = np.zeros((2, 16, 8, 3), np.uint8)
    digests = {made([one, two], images), made([two, one], images)}
    for field, value in (("path", "c"), ("pid", 3), ("camid", 2), ("outfit", 0),
                         ("captions", ("x", "y")), ("captions", ("x y",))):
        digests.add(made([replace(one, **{field: value}), two], images))
    assert len(digests) == 8


@pytest.mark.parametrize("size", [(96, 48), (224, 224), (384, 128), (16, 8), (288, 144)])
@pytest.mark.parametrize("part", ["row", "column", "channel"])
def test_a_change_in_any_band_of_a_picture_is_seen(size, part):
    """Samples are spread over rows, columns and channels and never fall into step with them."""
    records = [Record("a", 1, 1, ("x",))]
    still = np.zeros((1, *size, 3), np.uint8)
    before = made(records, still)
    axis, steps = {"row": (1, 8), "column": (2, 8), "channel": (3, 3)}[part]
    for band in range(steps):
        changed = still.copy()
        width = changed.shape[axis] // steps
        np.moveaxis(changed, axis, 0)[band * width:(band + 1) * width] = 255
        assert made(records, changed) != before, band


def test_both_kinds_of_light_count():
    record = Record("a", 1, 1)
    dark = Split([record], np.zeros((1, 16, 8, 3), np.uint8))
    light = Split([record], np.ones((1, 16, 8, 3), np.uint8))
    digests = {
        fingerprint(
            VisibleInfraredData(
                CrossModalSplit(a, b),
                CrossModalSplit(c, d),
                CrossModalSplit(dark, dark),
                "synthetic",
            )
        )
        for a, b, c, d in (
            (dark,) * 4,
            (light, dark, dark, dark),
            (dark, light, dark, dark),
            (dark, dark, light, dark),
            (dark, dark, dark, light),
        )
    }
    assert len(digests) == 5
