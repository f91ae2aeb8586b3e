"""Little data sets made by hand, in the public layouts."""
import json
from pathlib import Path

from PIL import Image

CAPTION = "A tall man with short hair, wearing a red shirt and blue jeans."


def picture(file: Path, grey: int = 128) -> Path:
    """A picture of one grey, as its file name asks for it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 16), (grey, grey, grey)).save(file)
    return file


def cuhk(folder: Path, people: int = 2, pictures: int = 2, caption: str = CAPTION) -> Path:
    """CUHK-PEDES: so many people in each split, so many pictures of each."""
    rows = []
    for split, first in (("train", 1), ("val", 101), ("test", 201)):
        for pid in range(first, first + people):
            for shot in range(pictures):
                path = f"{pid}/{shot}.png"
                picture(folder / "imgs" / path, pid % 256)
                rows.append({"split": split, "captions": [caption], "file_path": path, "id": pid})
    (folder / "reid_raw.json").write_text(json.dumps(rows))
    return folder


def edit(folder: Path, change) -> None:
    """Change the records of an annotation in place."""
    file = folder / "reid_raw.json"
    rows = json.loads(file.read_text())
    change(rows)
    file.write_text(json.dumps(rows))


def write_list(file: Path, lines: list[str]) -> None:
    """A list of a visible-infrared data set."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def regdb(folder: Path, people: int = 12, tested: int = 2) -> Path:
    """RegDB, trial 1: two pictures of each person in each modality."""
    for split, count in (("train", people), ("test", tested)):
        for kind in ("visible", "thermal"):
            lines = []
            for pid in range(count):
                for shot in range(2):
                    path = f"{kind.capitalize()}/{split}{pid}/{shot}.bmp"
                    picture(folder / path, pid)
                    lines.append(f"{path} {pid}")
            write_list(folder / "idx" / f"{split}_{kind}_1.txt", lines)
    return folder


def sysu(folder: Path, ending: str = ".jpg") -> Path:
    """SYSU-MM01: two people in each split, two visible pictures and two infrared."""
    for split, ids in (("train", (1, 2)), ("val", (3, 4)), ("test", (5, 6))):
        write_list(folder / "exp" / f"{split}_id.txt", [",".join(map(str, ids))])
        for pid in ids:
            for camera in (1, 3):
                for shot in (1, 2):
                    picture(folder / f"cam{camera}" / f"{pid:04d}" / f"{shot:04d}{ending}", pid)
    return folder


def llcm(folder: Path, trained: tuple = (0, 1, 2, 4, 5, 7, 8, 10, 11, 13, 14), tested=(3, 6)
         ) -> Path:
    """LLCM in its public form: labels are class numbers, people are numbers of folders."""
    for kind in ("vis", "nir"):
        lines = []
        for label, pid in enumerate(trained):
            path = f"{kind}/{pid:04d}/{pid:04d}_c02_s1_f1_{kind}.jpg"
            picture(folder / path, pid)
            lines.append(f"{path} {label}")
        write_list(folder / "idx" / f"train_{kind}.txt", lines)
        for pid in tested:
            picture(folder / f"test_{kind}" / "cam1" / f"{pid:04d}" / f"{pid}_c01_{kind}.jpg", pid)
    write_list(folder / "idx" / "test_id.txt", [",".join(map(str, tested))])
    return folder
