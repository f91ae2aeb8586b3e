"""Malformed data sets: annotations, lists, side files and pictures of all six layouts.

Every case looks the folder through and then trains on it: what the check lets pass, train takes.
"""
import json
from pathlib import Path
from random import Random

from reidlab.data.text_image import LAYOUTS
from reidlab.data.visible_infrared import INFRARED_LAYOUTS
from tests.campaign.cases import Case
from tests.campaign.mutations import (
    json_bytes,
    put_in_place,
    spoil_json_file,
    spoil_list_file,
)
from tests.campaign.pictures import spoil_picture
from tests.campaign.running import Place
from tests.campaign.world import DESCRIPTION, INFRARED, TEXT, World, train

SIDE_FILE = "reidlab_parts.json"


def _both(what: str, layout: str) -> Case:
    design = TEXT if layout in LAYOUTS else INFRARED
    return Case(f"{layout}: {what}", [["data", "check", "data", "--layout", layout],
                                      train(design, "run", "--data", f"{layout}:data")])


def annotations(random: Random, world: World, place: Place, count: int) -> Case:
    """The annotation file of a text-image layout."""
    layout = list(LAYOUTS)[count % len(LAYOUTS)]
    folder = world.lend_data(place, layout)
    file = folder / LAYOUTS[layout].annotations[0]
    if random.random() < 0.5:
        return _both(spoil_json_file(random, file), layout)
    what = random.choice(list(WHOLE))
    rows = json.loads(file.read_text())
    file.write_bytes(json_bytes(WHOLE[what](random, rows, LAYOUTS[layout].path)))
    if random.random() < 0.5:
        (folder / SIDE_FILE).unlink()
        what += ", no side file"
    return _both(what, layout)


def _all(name: str, *values):
    """Every record gets one of the values in a field."""
    def change(random: Random, rows: list, path: str) -> list:
        value = random.choice(values)
        return [row | {name if name != "path" else path: value} for row in rows]
    return change


def _one(name: str, *values):
    """One record gets one of the values in a field."""
    def change(random: Random, rows: list, path: str) -> list:
        rows[random.randrange(len(rows))][name if name != "path" else path] = random.choice(values)
        return rows
    return change


def _few(random: Random, rows: list, path: str) -> list:
    """A split of one to six people."""
    split, left = random.choice(("train", "val", "test")), random.randint(1, 6)
    people = sorted({row["id"] for row in rows if row["split"] == split})
    return [row for row in rows if row["split"] != split or row["id"] in people[:left]]


def _without(random: Random, rows: list, path: str) -> list:
    split = random.choice(("train", "val", "test"))
    return [row for row in rows if row["split"] != split]


def _shared(random: Random, rows: list, path: str) -> list:
    rows[-1]["id"] = rows[0]["id"]
    return rows


ODD_PATHS = ("../x.png", "/etc/passwd", ".", "", "x" * 5000, "a\0b", "cam_a", "cam_a\\x.png",
             "\ud800.png", "//", "~/x.png", "cam_a/../cam_a/x.png", None, 3, ["x"])
WHOLE = {
    "odd captions everywhere": _all("captions", ["a"], ["."], ["a man"], ["red coat"],
                                    ["the same words"], ["²"], ["x" * 20_000], ["\ud800"],
                                    ["👤" * 99], ["\n"]),
    "odd captions once": _one("captions", [], [""], [" "], None, "text", [None], [["a"]],
                              ["a"] * 1000, ["\0"], ["\ud800"], [3]),
    "odd ids everywhere": _all("id", 1, 0, -1, 2 ** 63, 10 ** 30, "1", 1.5, None, True),
    "odd id once": _one("id", -1, 2 ** 63, -(2 ** 70), 10 ** 400, "1", 1.0, None, True, [1]),
    "odd path once": _one("path", *ODD_PATHS),
    "one picture for all": lambda random, rows, path: [row | {path: rows[0][path]}
                                                       for row in rows],
    "odd split once": _one("split", None, "", "Train", "query", 1, ["train"], {"train": 1}),
    "one split": _all("split", "train", "val", "test"), "few people in a split": _few,
    "a split less": _without, "a person in two splits": _shared,
    "every record twice": lambda random, rows, path: rows + rows,
    "no record": lambda random, rows, path: [],
    "one record": lambda random, rows, path: rows[:1],
    "an object around": lambda random, rows, path: {"annotations": rows},
    "other records": lambda random, rows, path: random.choice(
        ([1, 2], [None], [[]], ["a"], [rows], rows + [None], [{}])),
}


def side_file(random: Random, world: World, place: Place, count: int) -> Case:
    """The file of parts and factors that an export writes beside the annotations."""
    layout = list(LAYOUTS)[count % len(LAYOUTS)]
    file = world.lend_data(place, layout) / SIDE_FILE
    if random.random() < 0.15:
        return _both(put_in_place(file, random.choice(("folder", "dangling link"))), layout)
    return _both(spoil_json_file(random, file), layout)


def lists(random: Random, world: World, place: Place, count: int) -> Case:
    """The lists and camera folders of a visible-infrared layout."""
    layout = list(INFRARED_LAYOUTS)[count % len(INFRARED_LAYOUTS)]
    folder = world.lend_data(place, layout)
    files = sorted(INFRARED_LAYOUTS[layout].lists(folder, 1).values())
    kind = random.choice(("one", "one", "one", "two", "copied", "folders"))
    if kind == "copied":  # the people of one list in another's place
        source, target = random.sample(files, 2)
        target.write_bytes(source.read_bytes())
        return _both(f"{target.name} says what {source.name} says", layout)
    if kind == "folders":
        return _both(_spoil_folder(random, folder), layout)
    chosen = random.sample(files, 1 if kind == "one" else 2)
    return _both("; ".join(spoil_list_file(random, file) for file in chosen), layout)


def _spoil_folder(random: Random, folder: Path) -> str:
    inner = sorted(p for p in folder.rglob("*") if p.is_dir())
    chosen = random.choice(inner)
    what = random.choice(("missing", "dangling link", "link to itself", "empty", "a file"))
    if what in ("empty", "a file"):
        put_in_place(chosen, "folder" if what == "empty" else "missing")
        if what == "a file":
            chosen.write_text("x")
    else:
        put_in_place(chosen, what)
    return f"{chosen.relative_to(folder)}: {what}"


def pictures(random: Random, world: World, place: Place, count: int) -> Case:
    """Pictures of a data set, or of a gallery that is searched."""
    layouts = [*LAYOUTS, *INFRARED_LAYOUTS]
    if count % 2:
        world.lend_run(place, TEXT)
        files = sorted(world.lend_gallery(place).iterdir())
        what = "; ".join(spoil_picture(random, file) for file in random.sample(files, 2))
        return Case(f"gallery: {what}", [["search", "run", DESCRIPTION, "--gallery", "gallery"]])
    layout = layouts[count // 2 % len(layouts)]
    folder = world.lend_data(place, layout)
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".jpg", ".bmp"))
    return _both(spoil_picture(random, random.choice(files)), layout)
