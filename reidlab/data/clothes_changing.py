"""PRCC and LTCC, people in several outfits: how they lie on disk, read and written.

Their pictures have no captions: each record has one that is empty, and says nothing.
"""
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from reidlab.data.folders import require_folder, write_folder
from reidlab.data.pictures import pictures_directly_in
from reidlab.data.records import SPLITS, Record, TextImageData
from reidlab.data.splits import held_out, refuse_shared_people, refuse_too_little
from reidlab.data.untrusted import number
from reidlab.errors import MissingPath, ReidlabError

SILENT = ("",)
MOST_PROBLEMS = 8  # named in one error
Written = tuple[Record, str]  # a record, and where its picture goes


def silent(path: str, pid: int, camera: int, outfit: int, role: str = "") -> Record:
    """A record of a picture of which nothing is said."""
    return Record(path, pid, camera, SILENT, SILENT, SILENT, outfit, role=role)


@dataclass(frozen=True)
class PRCC:
    """PRCC: cameras A and B show one outfit of a person, C another (Yang et al., TPAMI 2021).

    The pictures of ``rgb/val`` show training people and are not read; every tenth training person
    chooses the checkpoint instead.
    """

    title = "PRCC"
    people = {"train": 150, "test": 71}
    suffix = ".jpg"

    def records(self, folder: Path, faults: list[str]) -> dict[str, list[Record]]:
        """Records of train and test; what is wrong with a name is added to `faults`."""
        train = [record for person in _numbered(folder / "rgb" / "train", folder, faults)
                 for file in pictures_directly_in(person)
                 if (record := self._record(file, folder, file.name[:1], "", faults))]
        test = [record for camera, role in (("A", "gallery"), ("B", "query"), ("C", "query"))
                for person in _numbered(folder / "rgb" / "test" / camera, folder, faults)
                for file in pictures_directly_in(person)
                if (record := self._record(file, folder, camera, role, faults))]
        return {"train": train, "test": test}

    def _record(self, file: Path, folder: Path, camera: str, role: str, faults: list[str]
                ) -> Record | None:
        path = file.relative_to(folder).as_posix()
        if camera not in "ABC":
            faults.append(f"{path}: the name must begin with the camera, A, B or C")
            return None
        pid = int(file.parent.name)
        return silent(path, pid, "ABC".index(camera) + 1, 2 * pid + (camera == "C"), role)

    def places(self, split: str, people: Sequence[list[Record]], first: int) -> Iterator[Written]:
        """Where pictures of a split go: the first outfit before cameras A and B by turns, the
        second before C."""
        for pid, records in enumerate(people, start=first):
            worn = list(dict.fromkeys(r.outfit for r in records))[:2]
            for n, record in enumerate(r for r in records if r.outfit in worn):
                camera = "C" if record.outfit == worn[-1] else "AB"[n % 2]
                place = (f"rgb/train/{pid:03d}/{camera}_{n:03d}" if split == "train" else
                         f"rgb/test/{camera}/{pid:03d}/{n:03d}")
                yield record, f"{place}{self.suffix}"


@dataclass(frozen=True)
class LTCC:
    """LTCC: twelve cameras; a name holds person, outfit and camera (Qian et al., ACCV 2020)."""

    title = "LTCC"
    people = {"train": 77, "test": 75}
    suffix = ".png"
    name = re.compile(r"([0-9]{1,6})_([0-9]{1,4})_c([0-9]{1,3})_[^/]*")

    def records(self, folder: Path, faults: list[str]) -> dict[str, list[Record]]:
        """Records of train and test; what is wrong with a name is added to `faults`."""
        found = {place: [record for file in _required(folder / place)
                         if (record := self._record(file, folder, role, faults))]
                 for place, role in (("train", ""), ("query", "query"), ("test", "gallery"))}
        return {"train": found["train"], "test": found["query"] + found["test"]}

    def _record(self, file: Path, folder: Path, role: str, faults: list[str]) -> Record | None:
        path, said = file.relative_to(folder).as_posix(), self.name.fullmatch(file.name)
        if said is None:
            faults.append(f"{path}: the name must be PERSON_OUTFIT_cCAMERA_NUMBER")
            return None
        pid, outfit, camera = (int(n) for n in said.groups())
        return silent(path, pid, camera, 10_000 * pid + outfit, role)

    def places(self, split: str, people: Sequence[list[Record]], first: int) -> Iterator[Written]:
        """Where pictures of a split go; of the test people, the first of each outfit asks."""
        for pid, records in enumerate(people, start=first):
            worn = list(dict.fromkeys(r.outfit for r in records))
            asked: set[int] = set()
            for n, record in enumerate(records):
                place = "train" if split == "train" else (
                    "test" if record.outfit in asked else "query")
                asked.add(record.outfit)
                yield record, (f"{place}/{pid:03d}_{worn.index(record.outfit) + 1}_c"
                               f"{record.camid + 1}_{n:06d}{self.suffix}")


CLOTHES_LAYOUTS: dict[str, PRCC | LTCC] = {"prcc": PRCC(), "ltcc": LTCC()}


def _required(folder: Path) -> list[Path]:
    """Pictures of a folder that has to be there.

    Raises:
        MissingPath: it is not.
    """
    if not folder.is_dir():
        raise MissingPath(f"no folder {folder}; the data set is incomplete, unpack it again")
    return pictures_directly_in(folder)


def _numbered(folder: Path, root: Path, faults: list[str]) -> list[Path]:
    """Folders of people, named by numbers, in order."""
    _required(folder)
    found = []
    for place in sorted(p for p in folder.iterdir() if p.is_dir()):
        if number(place.name) is None:
            faults.append(f"{place.relative_to(root).as_posix()}: a person's folder is a number")
        else:
            found.append(place)
    return found


def read_all(name: str, folder: Path) -> tuple[dict[str, list[Record]], list[str]]:
    """Records of train and test as they lie there, and what is wrong with other names.

    Raises:
        MissingPath: no such folder, or a part of it is missing.
    """
    known = CLOTHES_LAYOUTS[name]
    require_folder(folder, known.title, name)
    faults: list[str] = []
    return known.records(folder, faults), faults


def read(name: str, folder: Path) -> dict[str, list[Record]]:
    """Records of each split; every tenth training person is in val instead.

    Args:
        name: a key of ``CLOTHES_LAYOUTS``.
        folder: of the data set.

    Raises:
        MissingPath: no folder, or a part of it is missing; ReidlabError: names that cannot be
            read, people in two splits, or a split that holds too little.
    """
    splits, faults = read_all(name, folder)
    refuse_faults(faults, folder)
    title = CLOTHES_LAYOUTS[name].title
    chosen = held_out(title, {r.pid for r in splits["train"]})
    splits = {"train": [r for r in splits["train"] if r.pid not in chosen],
              "val": [r for r in splits["train"] if r.pid in chosen], "test": splits["test"]}
    refuse_unusable(splits, folder)
    for role in ("query", "gallery"):
        if not any(r.role == role for r in splits["test"]):
            raise ReidlabError(f"{folder} has no {role} pictures in test; unpack {title} again")
    return splits


def refuse_faults(faults: Sequence[str], where: Path) -> None:
    """Stop where something cannot be read.

    Raises:
        ReidlabError: the first few.
    """
    if faults:
        more = len(faults) - MOST_PROBLEMS
        raise ReidlabError(f"{where}: {len(faults)} cannot be used; "
                           + "; ".join(faults[:MOST_PROBLEMS])
                           + (f"; and {more} more" if more > 0 else "") + "; fix or remove them")


def refuse_unusable(splits: dict[str, list[Record]], where: Path) -> None:
    """Stop where splits share people or hold too little.

    Raises:
        ReidlabError: who, or which split.
    """
    refuse_shared_people({name: {r.pid for r in rows} for name, rows in splits.items()}, where)
    refuse_too_little({name: (len({r.pid for r in rows}), len(rows))
                       for name, rows in splits.items()}, where)


def export(data: TextImageData, folder: Path, name: str) -> int:
    """Write data as one of these layouts; people of val go to train. Returns the picture count.

    Args:
        data: of people in known outfits, synthetic ones above all.
        folder: absent or empty.
        name: a key of ``CLOTHES_LAYOUTS``.

    Raises:
        ReidlabError: the folder holds something, or the disk is full.
    """
    known = CLOTHES_LAYOUTS[name]
    pictures = {r.path: image for split in SPLITS for r, image in zip(
        getattr(data, split).records, getattr(data, split).images, strict=True)}
    people: dict[str, list[list[Record]]] = {"train": [], "test": []}
    for split in SPLITS:
        by_person: dict[int, list[Record]] = {}
        for record in getattr(data, split).records:
            by_person.setdefault(record.pid, []).append(record)
        people["test" if split == "test" else "train"] += by_person.values()

    def write(part: Path) -> int:
        first, count = 1, 0
        for split, found in people.items():
            for record, place in known.places(split, found, first):
                (part / place).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pictures[record.path]).save(part / place, quality=95)
                count += 1
            first += len(found)
        return count

    return write_folder(folder, write)
