"""How the public text-image data sets lie on disk: files, fields, numbering, published sizes."""
import os
from dataclasses import dataclass
from pathlib import Path

from reidlab.data.folders import require_folder
from reidlab.data.untrusted import broken_text, is_id, path_fault, shown
from reidlab.errors import MissingPath, ReidlabError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Layout:
    """One data set's conventions.

    Attributes:
        title: its published name.
        annotations: file names, the first one found is read; the first is what is written.
        path: field that names the picture, relative to ``imgs/``.
        first_id: number of the first person.
        captions: captions a record has; None for any number.
        splits: the splits it has.
        without_splits: an annotation file without ``split``, and the last id of train, val, test.
        sizes: split → published (people, pictures, captions).
    """

    title: str
    annotations: tuple[str, ...]
    path: str
    first_id: int
    captions: int | None
    splits: tuple[str, ...]
    sizes: dict[str, tuple[int, int, int]]
    without_splits: tuple[str, tuple[int, int, int]] | None = None

    def find(self, folder: Path) -> Path:
        """The annotation file of a folder.

        Raises:
            MissingPath: no folder, no annotation or no ``imgs``.
        """
        require_folder(folder, self.title, self.title.lower())
        found = next((folder / n for n in self.annotations if os.path.isfile(folder / n)), None)
        if found is None or not os.path.isdir(folder / "imgs"):
            raise MissingPath(f"{folder} is no {self.title} folder: it needs imgs/ and "
                              f"{' or '.join(self.annotations)}")
        return found

    def knows_splits(self, annotation: Path) -> bool:
        """Whether this annotation file has a ``split`` field."""
        return self.without_splits is None or annotation.name != self.without_splits[0]

    def split_of(self, row: dict) -> str:
        """The split of a sound record."""
        if "split" in row:
            return row["split"]
        train, val, _ = self.without_splits[1]
        return "train" if row["id"] <= train else "val" if row["id"] <= val else "test"

    def fault(self, row, images: Path, knows_splits: bool) -> str | None:
        """What makes a raw record unusable, if anything."""
        if not isinstance(row, dict):
            return f"an object is needed; got {shown(row)}"
        pid, path, captions = row.get("id"), row.get(self.path), row.get("captions")
        if not is_id(pid):
            return f"id must be an integer of 64 bits; got {shown(pid)}"
        if not isinstance(path, str) or not path:
            return f"{self.path} must be a file name; got {shown(path)}"
        if fault := path_fault(path):
            return f"{self.path} {fault}"
        if fault := _captions_fault(captions):
            return fault
        if (knows_splits or "split" in row) and row.get("split") not in self.splits:
            return f"split must be one of {', '.join(self.splits)}; got {shown(row.get('split'))}"
        if "split" not in row and not 1 <= pid <= self.without_splits[1][2]:
            return (f"id {pid} is outside 1 to {self.without_splits[1][2]}, and "
                    f"{self.without_splits[0]} has no splits")
        if not os.path.isfile(images / path):
            return f"no picture {path}"
        return None


def _captions_fault(captions) -> str | None:
    if not isinstance(captions, list) or not captions or not all(
            isinstance(c, str) for c in captions):
        return f"captions must be a list of strings; got {shown(captions)}"
    if any(broken_text(c) for c in captions):
        return "a caption holds half a character (a lone surrogate)"
    return None if all(c.strip() for c in captions) else "an empty caption"


LAYOUTS = {
    "cuhk-pedes": Layout(
        "CUHK-PEDES", ("reid_raw.json", "caption_all.json"), "file_path", 1, None, SPLITS,
        {"train": (11003, 34054, 68126), "val": (1000, 3078, 6158), "test": (1000, 3074, 6156)},
        without_splits=("caption_all.json", (11003, 12003, 13003))),
    "icfg-pedes": Layout(
        "ICFG-PEDES", ("ICFG-PEDES.json", "ICFG_PEDES.json"), "file_path", 0, 1,
        ("train", "test"), {"train": (3102, 34674, 34674), "test": (1000, 19848, 19848)}),
    "rstpreid": Layout(
        "RSTPReid", ("data_captions.json",), "img_path", 0, 2, SPLITS,
        {"train": (3701, 18505, 37010), "val": (200, 1000, 2000), "test": (200, 1000, 2000)}),
}


def layout(name: str) -> Layout:
    """The layout called `name`."""
    if name not in LAYOUTS:
        raise ReidlabError(f"unknown layout {name!r}; known: {', '.join(LAYOUTS)}")
    return LAYOUTS[name]
