"""CUHK-PEDES, ICFG-PEDES and RSTPReid: how they lie on disk, read and written."""
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image

from reidlab.data.folders import require_folder, write_folder
from reidlab.data.halves import refuse_lost_halves
from reidlab.data.records import SPLITS, Record, TextImageData
from reidlab.data.side_file import SIDE_FILE, entry_fault, made_record, read_side_file
from reidlab.data.splits import held_out, refuse_shared_people, refuse_too_little
from reidlab.data.untrusted import broken_text, is_id, path_fault, shown
from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import read_json

LastIds = tuple[str, tuple[int, int, int]]  # a file without splits; last id of train, val, test


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
    without_splits: LastIds | None = None

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

    def has_splits(self, annotation: Path) -> bool:
        """Whether this annotation file has a ``split`` field."""
        return self.without_splits is None or annotation.name != self.without_splits[0]

    @property
    def _last_ids(self) -> LastIds:
        return cast(LastIds, self.without_splits)  # only such a layout has records without a split

    def split_of(self, row: dict) -> str:
        """The split of a sound record."""
        if "split" in row:
            return row["split"]
        train, val, _ = self._last_ids[1]
        return "train" if row["id"] <= train else "val" if row["id"] <= val else "test"

    def fault(self, row, images: Path, has_splits: bool) -> str | None:
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
        if (has_splits or "split" in row) and row.get("split") not in self.splits:
            return f"split must be one of {', '.join(self.splits)}; got {shown(row.get('split'))}"
        if "split" not in row and not 1 <= pid <= self._last_ids[1][2]:
            return (f"id {pid} is outside 1 to {self._last_ids[1][2]}, and "
                    f"{self._last_ids[0]} has no splits")
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


MOST_PROBLEMS = 8  # named in one error


def read(name: str, folder: Path) -> tuple[Path, dict[str, list[Record]]]:
    """The image folder and the records of each split.

    Identity and clothing parts come from the side file when there is one, else from the rule
    splitter. CUHK-PEDES' ``caption_all.json`` has no splits: they follow from the ids. ICFG-PEDES
    has no val split: every tenth training person chooses the checkpoint instead of training.

    Args:
        name: a key of ``LAYOUTS``.
        folder: of the data set.

    Raises:
        MissingPath: no folder, annotation or ``imgs``; ReidlabError: annotations that cannot be
            used, with record numbers; splits that share people or hold too little; captions
            that mostly lose a half.
    """
    known = layout(name)
    annotation, images = known.find(folder), folder / "imgs"
    rows, side = read_rows(annotation), read_side_file(folder)
    splits: dict[str, list[Record]] = {name: [] for name in SPLITS}
    problems: list[str] = []
    for number, row in enumerate(rows):
        fault = row_fault(known, row, annotation, side)
        if fault:
            problems.append(f"record {number}: {fault}")
            continue
        path = row[known.path]
        splits[known.split_of(row)].append(made_record(row, path, side.get(path)))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise ReidlabError(
            f"{annotation}: {len(problems)} of {len(rows)} records cannot be used; "
            + "; ".join(problems[:MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
            + "; fix or remove them")
    refuse_shared_people({name: {r.pid for r in records} for name, records in splits.items()},
                         annotation)
    if "val" not in known.splits:
        chosen = held_out(known.title, {r.pid for r in splits["train"]})
        splits["val"] = [r for r in splits["train"] if r.pid in chosen]
        splits["train"] = [r for r in splits["train"] if r.pid not in chosen]
    for split in SPLITS:
        if not splits[split]:
            raise ReidlabError(f"{annotation} has no {split} records; three splits are needed")
    refuse_too_little({split: (len({r.pid for r in records}), len(records))
                       for split, records in splits.items()}, annotation)
    refuse_lost_halves(splits["train"], annotation)
    return images, splits


def read_rows(annotation: Path) -> list:
    """Raw records of an annotation file.

    Raises:
        ReidlabError: it is no readable JSON, or no list of records.
    """
    rows = read_json(annotation)
    if not isinstance(rows, list) or not rows:
        raise ReidlabError(f"{annotation} must hold a list of records; got {shown(rows)}; fetch it "
                           "again")
    return rows


def row_fault(known: Layout, row, annotation: Path, side: dict) -> str | None:
    """What makes a raw record, or its entry of the side file, unusable, if anything."""
    fault = known.fault(row, annotation.parent / "imgs", known.has_splits(annotation))
    if fault or row[known.path] not in side:
        return fault
    fault = entry_fault(side[row[known.path]], len(row["captions"]))
    return fault and f"{SIDE_FILE}, {row[known.path]}: {fault}"


def export(data: TextImageData, folder: Path, name: str = "cuhk-pedes", suffix: str = ".png"
           ) -> int:
    """Write data as a public data set's folder with the side file; returns the picture count.

    A caption more than a layout has room for is left out, one too few is said twice; people of a
    split that the layout lacks go to train.

    Args:
        data: any text-image data, synthetic data above all.
        folder: absent or empty.
        name: a key of ``LAYOUTS``.
        suffix: ``.png`` keeps every byte, ``.jpg`` is smaller.

    Raises:
        ReidlabError: the folder holds something, or the disk is full.
    """
    known = layout(name)
    return write_folder(folder, lambda part: _write(data, part, known, suffix))


def _write(data: TextImageData, folder: Path, known: Layout, suffix: str) -> int:
    rows, side = [], {}
    pids = {pid: k + known.first_id for k, pid in enumerate(dict.fromkeys(
        r.pid for split in SPLITS for r in getattr(data, split).records))}
    for name in SPLITS:
        split = getattr(data, name)
        for record, pixels in zip(split.records, split.images, strict=True):
            path = Path("cam_a") / Path(record.path).with_suffix(suffix)
            (folder / "imgs" / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "imgs" / path, quality=95)
            said = _fill(range(len(record.captions)), known.captions)
            captions = [record.captions[k] for k in said]
            rows.append({"split": name if name in known.splits else "train",
                         "captions": captions, known.path: path.as_posix(),
                         "id": pids[record.pid],
                         "processed_tokens": [c.lower().rstrip(".").split() for c in captions]})
            side[path.as_posix()] = {
                "id_captions": [record.id_captions[k] for k in said],
                "cloth_captions": [record.cloth_captions[k] for k in said],
                "camera": record.camid, "outfit": record.outfit, "factors": record.factors,
                "facts": [record.facts[k] for k in said] if record.facts else []}
    for name, value in ((SIDE_FILE, side), (known.annotations[0], rows)):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return len(rows)


def _fill(numbers: range, count: int | None) -> list[int]:
    """`count` of the numbers, the last repeated when there are too few; all when None."""
    count = len(numbers) if count is None else count
    return [min(k, len(numbers) - 1) for k in range(count)]
