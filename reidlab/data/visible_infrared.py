"""SYSU-MM01, RegDB and LLCM: how they lie on disk, read and written."""
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from PIL import Image

from reidlab.data.folders import require_folder, write_folder
from reidlab.data.lists import Line, labelled, numbers
from reidlab.data.pictures import pictures_directly_in
from reidlab.data.records import MODALITIES, Record
from reidlab.data.splits import (
    held_out,
    refuse_shared_people,
    refuse_shared_pictures,
    refuse_too_little,
)
from reidlab.data.untrusted import number
from reidlab.errors import ReidlabError

ByModality = tuple[list[Record], list[Record]]  # visible and infrared records


def _pair(both: Iterable[list[Record]]) -> ByModality:
    visible, infrared = both
    return visible, infrared


@dataclass(frozen=True)
class SYSU:
    """SYSU-MM01: six cameras, 3 and 6 of them infrared; three lists of identities."""

    title = "SYSU-MM01"
    visible, infrared = (1, 2, 4, 5), (3, 6)
    people = {"train": 296, "val": 99, "test": 96}
    pictures = {"test": (None, 3803)}  # published: visible, infrared
    has_val = True
    suffix = ".jpg"

    def lists(self, folder: Path, trial: int) -> dict[str, Path]:
        """The files that name the splits."""
        return {split: folder / "exp" / f"{split}_id.txt" for split in ("train", "val", "test")}

    def read(self, folder: Path, trial: int) -> dict[str, ByModality]:
        """Records of every split.

        Raises:
            ReidlabError: a list that holds no numbers.
        """
        found = {}
        for split, file in self.lists(folder, trial).items():
            ids = numbers(file)
            found[split] = _pair(
                [record for camera in cameras for pid in ids
                 for record in self._pictures(folder, camera, pid)]
                for cameras in (self.visible, self.infrared))
        return found

    def _pictures(self, folder: Path, camera: int, pid: int) -> Iterator[Record]:
        place = Path(f"cam{camera}") / f"{pid:04d}"
        for path in pictures_directly_in(folder / place):
            yield Record(path=str(place / path.name), pid=pid, camid=camera)

    def write(self, splits: dict[str, ByModality], trial: int) -> tuple[dict, dict[str, str]]:
        """Where each record's picture goes, and the text of each list."""
        where, known = {}, _numbered(splits, first=1)
        count: dict[tuple[int, int], int] = {}
        for both in splits.values():
            for records, cameras in zip(both, (self.visible, self.infrared), strict=True):
                for record in records:
                    pid, camera = known[record.pid], cameras[record.camid % len(cameras)]
                    count[camera, pid] = count.get((camera, pid), 0) + 1
                    where[record.path] = (f"cam{camera}/{pid:04d}/"
                                          f"{count[camera, pid]:04d}{self.suffix}")
        lists = {split: sorted({known[r.pid] for rows in both for r in rows})
                 for split, both in splits.items()}
        return where, {f"exp/{split}_id.txt": ",".join(map(str, ids)) + "\n"
                       for split, ids in lists.items()}


@dataclass(frozen=True)
class RegDB:
    """RegDB: ten visible and ten thermal pictures a person; ten splits of train and test."""

    title = "RegDB"
    visible, infrared = (1,), (2,)
    people = {"train": 206, "test": 206}
    pictures = {"train": (2060, 2060), "test": (2060, 2060)}
    has_val = False
    suffix = ".bmp"

    def lists(self, folder: Path, trial: int) -> dict[str, Path]:
        """The files that name the splits of a trial, 1 to 10."""
        return {f"{split}_{word}": folder / "idx" / f"{split}_{word}_{trial}.txt"
                for split in ("train", "test") for word in ("visible", "thermal")}

    def read(self, folder: Path, trial: int) -> dict[str, ByModality]:
        """Records of train and test, as the lists have them."""
        lists = self.lists(folder, trial)
        return {split: _pair(
            [Record(path=line.path, pid=line.label, camid=camera)
             for line in labelled(lists[f"{split}_{word}"])]
            for word, camera in (("visible", 1), ("thermal", 2))) for split in ("train", "test")}

    def write(self, splits: dict[str, ByModality], trial: int) -> tuple[dict, dict[str, str]]:
        """Where each record's picture goes, and the text of each list of one trial."""
        where, texts, known = {}, {}, _numbered(splits, first=0)
        for split, both in splits.items():
            for records, word in zip(both, ("visible", "thermal"), strict=True):
                lines = []
                for n, record in enumerate(records):
                    pid = known[record.pid]
                    path = f"{word.capitalize()}/{pid:03d}/{word}_{pid:03d}_{n:05d}{self.suffix}"
                    where[record.path] = path
                    lines.append(f"{path} {pid}\n")
                texts[f"idx/{split}_{word}_{trial}.txt"] = "".join(lines)
        return where, texts


@dataclass(frozen=True)
class LLCM:
    """LLCM: nine cameras, visible and infrared; test pictures lie by camera.

    A person is the number of their folder. The labels in the training lists are class numbers,
    0 to 712 without a gap, which say nothing of test people; they are not read.
    """

    title = "LLCM"
    visible, infrared = tuple(range(1, 10)), (1, 2, 4, 5, 6, 7, 8, 9)
    people = {"train": 713, "test": 351}
    pictures: ClassVar[dict[str, tuple[int, int]]] = {}
    has_val = False
    suffix = ".jpg"

    def lists(self, folder: Path, trial: int) -> dict[str, Path]:
        """The files that name the splits."""
        return {name: folder / "idx" / f"{name}.txt" for name in ("train_vis", "train_nir",
                                                                  "test_id")}

    def read(self, folder: Path, trial: int) -> dict[str, ByModality]:
        """Training records from the lists, test records from the camera folders.

        Raises:
            ReidlabError: a line that cannot be used, or a path without a person or a camera.
        """
        lists = self.lists(folder, trial)
        train = _pair([self._listed(line) for line in labelled(lists[f"train_{word}"])]
                      for word in ("vis", "nir"))
        ids = numbers(lists["test_id"])
        test = _pair([Record(path=f"test_{word}/cam{camera}/{pid:04d}/{file.name}", pid=pid,
                             camid=camera) for camera in cameras for pid in ids
                      for file in pictures_directly_in(
                          folder / f"test_{word}" / f"cam{camera}" / f"{pid:04d}")]
                     for word, cameras in (("vis", self.visible), ("nir", self.infrared)))
        return {"train": train, "test": test}

    def _listed(self, line: Line) -> Record:
        pid = number(Path(line.path).parent.name)
        if pid is None:
            raise ReidlabError(f"{line.where}: {line.path!r} lies in no folder with a person's "
                               "number; need …/0004/NAME.jpg, unpack the data set again")
        camera = re.search(r"_c0*([0-9]{1,4})_", Path(line.path).name)  # never one in a folder
        if not camera:
            raise ReidlabError(f"{line.where}: {line.path!r} has no camera in the file name; need "
                               "…_c01_…, unpack the data set again")
        return Record(path=line.path, pid=pid, camid=int(camera[1]))

    def write(self, splits: dict[str, ByModality], trial: int) -> tuple[dict, dict[str, str]]:
        """Where each record's picture goes, and the text of each list."""
        where, texts, known = {}, {}, _numbered(splits, first=1)
        classes = {pid: label for label, pid in enumerate(sorted(
            {r.pid for rows in splits["train"] for r in rows}))}
        for split, both in splits.items():
            for records, word, cameras in zip(both, ("vis", "nir"), (self.visible, self.infrared),
                                              strict=True):
                lines = []
                for n, record in enumerate(records):
                    pid, camera = known[record.pid], cameras[record.camid % len(cameras)]
                    name = f"{pid:04d}_c{camera:02d}_s{pid:06d}_f{n:05d}_{word}{self.suffix}"
                    path = (f"{word}/{pid:04d}/{name}" if split == "train" else
                            f"test_{word}/cam{camera}/{pid:04d}/{name}")
                    where[record.path] = path
                    lines.append(f"{path} {classes.get(record.pid, pid)}\n")
                texts[f"idx/{split}_{word}.txt"] = "".join(lines)
        tested = sorted({known[r.pid] for rows in splits["test"] for r in rows})
        return where, texts | {"idx/test_id.txt": ",".join(map(str, tested)) + "\n"}


InfraredLayout = SYSU | RegDB | LLCM
INFRARED_LAYOUTS: dict[str, InfraredLayout] = {
    "sysu-mm01": SYSU(), "regdb": RegDB(), "llcm": LLCM()}


def infrared_layout(name: str, folder: Path | None = None) -> InfraredLayout:
    """The layout called `name`, for the data set in `folder` where one is meant.

    Raises:
        ReidlabError: unknown; MissingPath: no such folder.
    """
    if name not in INFRARED_LAYOUTS:
        raise ReidlabError(f"unknown layout {name!r}; known: {', '.join(INFRARED_LAYOUTS)}")
    if folder is not None:
        require_folder(folder, INFRARED_LAYOUTS[name].title, name)
    return INFRARED_LAYOUTS[name]


def _numbered(splits: dict[str, ByModality], first: int) -> dict[int, int]:
    """Person → number in the exported data set, in the order of persons."""
    people = sorted({r.pid for both in splits.values() for rows in both for r in rows})
    return {pid: n for n, pid in enumerate(people, start=first)}


def read(name: str, folder: Path, trial: int = 1) -> dict[str, ByModality]:
    """Visible and infrared records of each split.

    Where a data set has no val split, every tenth training person chooses the checkpoint instead
    of training.

    Args:
        name: a key of ``INFRARED_LAYOUTS``.
        folder: of the data set.
        trial: RegDB's split, 1 to 10.

    Raises:
        MissingPath: no folder, or a list is missing; ReidlabError: a list that cannot be used, a
            person or a picture in two splits, or a split that holds too little of one modality.
    """
    known = infrared_layout(name, folder)
    splits = known.read(folder, trial)
    if not known.has_val:
        chosen = held_out(known.title, {r.pid for rows in splits["train"] for r in rows})
        splits["val"] = _pair([r for r in rows if r.pid in chosen] for rows in splits["train"])
        splits["train"] = _pair([r for r in rows if r.pid not in chosen]
                                for rows in splits["train"])
    for split, both in splits.items():
        for modality, records in zip(MODALITIES, both, strict=True):
            if not records:
                raise ReidlabError(f"{folder} has no {modality} pictures in {split}; unpack it "
                                   "again")
    if name != "regdb":  # RegDB numbers the people of train and test from 0 each
        refuse_shared_people({split: {r.pid for rows in both for r in rows}
                              for split, both in splits.items()}, folder)
    refuse_shared_pictures({split: {str(PurePosixPath(r.path)) for rows in both for r in rows}
                            for split, both in splits.items()}, folder)
    refuse_too_little({split: (len({r.pid for r in visible} & {r.pid for r in infrared}),
                               len(visible) + len(infrared))
                       for split, (visible, infrared) in splits.items()}, folder,
                      " seen in both modalities")
    return splits


def export(pairs: dict, folder: Path, name: str, trial: int = 1) -> int:
    """Write synthetic pairs in a public layout.

    Args:
        pairs: split → object with ``visible`` and ``infrared`` splits; a layout without val gets
            the people of val as training people.
        folder: absent or empty.
        name: a key of ``INFRARED_LAYOUTS``.
        trial: RegDB's split to write.

    Returns:
        Pictures written.

    Raises:
        ReidlabError: the folder holds something, or cannot be written.
    """
    known = infrared_layout(name)
    splits = {split: (list(pair.visible.records), list(pair.infrared.records))
             for split, pair in pairs.items()}
    if not known.has_val:
        spare = splits.pop("val")
        splits["train"] = _pair(a + b for a, b in zip(splits["train"], spare, strict=True))
    where, texts = known.write(splits, trial)
    pictures = {r.path: image for pair in pairs.values() for split in (pair.visible, pair.infrared)
                for r, image in zip(split.records, split.images, strict=True)}

    def write(part: Path) -> int:
        for path, place in where.items():
            file = part / place
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures[path]).save(file, quality=95)
        for place, text in texts.items():
            (part / place).parent.mkdir(parents=True, exist_ok=True)
            (part / place).write_text(text, encoding="utf-8")
        return len(where)

    return write_folder(folder, write)
