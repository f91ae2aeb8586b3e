"""How the public visible-infrared data sets lie on disk, and what their protocols hold.

A layout finds the files of each split and says where a drawn picture would lie.
"""
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reidlab.data.records import Record
from reidlab.errors import MissingPath, ReidlabError

Kinds = tuple[list[Record], list[Record]]  # visible and infrared records


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

    def read(self, folder: Path, trial: int) -> dict[str, Kinds]:
        """Records of every split.

        Raises:
            ReidlabError: a list that holds no numbers.
        """
        found = {}
        for split, file in self.lists(folder, trial).items():
            ids = _numbers(file)
            found[split] = tuple(
                [record for camera in cameras for pid in ids
                 for record in self._pictures(folder, camera, pid)]
                for cameras in (self.visible, self.infrared))
        return found

    def _pictures(self, folder: Path, camera: int, pid: int) -> Iterator[Record]:
        place = Path(f"cam{camera}") / f"{pid:04d}"
        for path in sorted((folder / place).glob("*.[jp][pn]g")):
            yield Record(path=str(place / path.name), pid=pid, camid=camera)

    def write(self, splits: dict[str, Kinds], trial: int) -> tuple[dict, dict[str, str]]:
        """Where each record's picture goes, and the text of each list."""
        where, count, numbers = {}, {}, _numbered(splits, first=1)
        for kinds in splits.values():
            for records, cameras in zip(kinds, (self.visible, self.infrared), strict=True):
                for record in records:
                    pid, camera = numbers[record.pid], cameras[record.camid % len(cameras)]
                    count[camera, pid] = count.get((camera, pid), 0) + 1
                    where[record.path] = (f"cam{camera}/{pid:04d}/"
                                          f"{count[camera, pid]:04d}{self.suffix}")
        lists = {split: sorted({numbers[r.pid] for kind in kinds for r in kind})
                 for split, kinds in splits.items()}
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
        return {f"{split}_{kind}": folder / "idx" / f"{split}_{kind}_{trial}.txt"
                for split in ("train", "test") for kind in ("visible", "thermal")}

    def read(self, folder: Path, trial: int) -> dict[str, Kinds]:
        """Records of train and test, as the lists have them."""
        lists = self.lists(folder, trial)
        return {split: tuple(
            [Record(path=path, pid=label, camid=camera)
             for path, label in _lines(lists[f"{split}_{kind}"])]
            for kind, camera in (("visible", 1), ("thermal", 2))) for split in ("train", "test")}

    def write(self, splits: dict[str, Kinds], trial: int) -> tuple[dict, dict[str, str]]:
        """Where each record's picture goes, and the text of each list of one trial."""
        where, texts, numbers = {}, {}, _numbered(splits, first=0)
        for split, kinds in splits.items():
            for records, kind in zip(kinds, ("visible", "thermal"), strict=True):
                lines = []
                for n, record in enumerate(records):
                    pid = numbers[record.pid]
                    path = f"{kind.capitalize()}/{pid:03d}/{kind}_{pid:03d}_{n:05d}{self.suffix}"
                    where[record.path] = path
                    lines.append(f"{path} {pid}\n")
                texts[f"idx/{split}_{kind}_{trial}.txt"] = "".join(lines)
        return where, texts


@dataclass(frozen=True)
class LLCM:
    """LLCM: nine cameras by day and by night; test pictures lie by camera."""

    title = "LLCM"
    visible, infrared = tuple(range(1, 10)), (1, 2, 4, 5, 6, 7, 8, 9)
    people = {"train": 713, "test": 351}
    pictures = {}
    has_val = False
    suffix = ".jpg"

    def lists(self, folder: Path, trial: int) -> dict[str, Path]:
        """The files that name the splits."""
        return {name: folder / "idx" / f"{name}.txt" for name in ("train_vis", "train_nir",
                                                                  "test_id")}

    def read(self, folder: Path, trial: int) -> dict[str, Kinds]:
        """Training records from the lists, test records from the camera folders."""
        lists = self.lists(folder, trial)
        train = tuple([Record(path=path, pid=label, camid=self.camera(path))
                       for path, label in _lines(lists[f"train_{kind}"])]
                      for kind in ("vis", "nir"))
        ids = _numbers(lists["test_id"])
        test = tuple([Record(path=f"test_{kind}/cam{camera}/{pid:04d}/{file.name}", pid=pid,
                             camid=camera) for camera in cameras for pid in ids
                      for file in sorted((folder / f"test_{kind}" / f"cam{camera}" / f"{pid:04d}"
                                          ).glob("*.[jp][pn]g"))]
                     for kind, cameras in (("vis", self.visible), ("nir", self.infrared)))
        return {"train": train, "test": test}

    def camera(self, path: str) -> int:
        """The camera in a file's name; never one in the name of a folder."""
        found = re.search(r"_c0*(\d+)_", Path(path).name)
        if not found:
            raise ReidlabError(f"{path}: no camera in the file name; need …_c01_…")
        return int(found[1])

    def write(self, splits: dict[str, Kinds], trial: int) -> tuple[dict, dict[str, str]]:
        """Where each record's picture goes, and the text of each list."""
        where, texts, numbers = {}, {}, _numbered(splits, first=1)
        for split, kinds in splits.items():
            for records, kind, cameras in zip(kinds, ("vis", "nir"), (self.visible, self.infrared),
                                              strict=True):
                lines = []
                for n, record in enumerate(records):
                    pid, camera = numbers[record.pid], cameras[record.camid % len(cameras)]
                    name = f"{pid:04d}_c{camera:02d}_s{pid:06d}_f{n:05d}_{kind}{self.suffix}"
                    path = (f"{kind}/{pid:04d}/{name}" if split == "train" else
                            f"test_{kind}/cam{camera}/{pid:04d}/{name}")
                    where[record.path] = path
                    lines.append(f"{path} {pid}\n")
                texts[f"idx/{split}_{kind}.txt"] = "".join(lines)
        tested = sorted({numbers[r.pid] for kind in splits["test"] for r in kind})
        return where, texts | {"idx/test_id.txt": ",".join(map(str, tested)) + "\n"}


INFRARED_LAYOUTS = {"sysu-mm01": SYSU(), "regdb": RegDB(), "llcm": LLCM()}


def infrared_layout(name: str, folder: Path | None = None):
    """The layout called `name`, for the data set in `folder` where one is meant.

    Raises:
        ReidlabError: unknown; MissingPath: no such folder.
    """
    if name not in INFRARED_LAYOUTS:
        raise ReidlabError(f"unknown layout {name!r}; known: {', '.join(INFRARED_LAYOUTS)}")
    known = INFRARED_LAYOUTS[name]
    if folder is not None and not folder.is_dir():
        raise MissingPath(f"no data folder {folder}; unpack {known.title} there, or write one with "
                          f"reidlab data export {folder} --layout {name}")
    return known


def _numbered(splits: dict[str, Kinds], first: int) -> dict[int, int]:
    """Person → number in the exported data set, in the order of persons."""
    people = sorted({r.pid for kinds in splits.values() for kind in kinds for r in kind})
    return {pid: n for n, pid in enumerate(people, start=first)}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as fault:
        raise MissingPath(f"no list {file}; the folder is incomplete, unpack it again") from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise ReidlabError(f"{file} cannot be read as text ({fault}); fetch it again") from fault


def _numbers(file: Path) -> list[int]:
    """Identities of a list, divided by commas or white space."""
    words = _text(file).replace(",", " ").split()
    wrong = [w for w in words if not w.isdigit()]
    if wrong or not words:
        raise ReidlabError(f"{file} must hold numbers divided by commas; got "
                           f"{wrong[0] if wrong else 'nothing'!r}")
    return [int(w) for w in words]


def _lines(file: Path) -> Iterator[tuple[str, int]]:
    """Path and label of each line; a path never leaves the folder."""
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        if not path or not label.isdigit():
            raise ReidlabError(f"{file}, line {number}: need “path label”; got {line!r:.60}")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ReidlabError(f"{file}, line {number}: {path!r} leaves the folder")
        yield path, int(label)
