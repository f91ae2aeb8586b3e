"""Look through PRCC, LTCC or a folder of your own: counts, and everything that is wrong."""
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

from reidlab.data import clothes_changing, own_folder
from reidlab.data.clothes_changing import CLOTHES_LAYOUTS
from reidlab.data.pictures import picture_fault
from reidlab.data.problems import Problem, in_two_splits, refusal
from reidlab.data.records import MODALITIES, Record
from reidlab.errors import ReidlabError

COUNTED = ("people", "pictures", "outfits", "captions")
Found = tuple[dict[str, list[Record]], list[Problem]]


def check_people(name: str, folder: Path) -> dict:
    """Counts, and every problem of a folder.

    Args:
        name: ``prcc``, ``ltcc`` or ``folder``.
        folder: of the data set.

    Returns:
        As `checking.check`; counted are people, pictures, outfits and captions.

    Raises:
        MissingPath, ReidlabError: there is nothing to look through.
    """
    splits, problems = (_own if name == "folder" else _published)(name, folder)
    known = CLOTHES_LAYOUTS.get(name)
    for split, records in splits.items():
        problems += _pictures(folder, split, records) + _wardrobes(split, records)
    counts = {split: {
        "people": len({r.pid for r in records}), "pictures": len(records),
        "outfits": len({r.outfit for r in records if r.outfit >= 0}),
        "captions": sum(bool(c) for r in records for c in r.captions),
        "published": {title: known.people.get(split) if known and title == "people" else None
                      for title in COUNTED}} for split, records in splits.items()}
    return {"layout": known.title if known else "your pictures", "annotation": str(folder),
            "counts": counts, "problems": [asdict(p) for p in problems]}


def _published(name: str, folder: Path) -> Found:
    splits, faults = clothes_changing.read_all(name, folder)
    problems = [Problem(path, what, "unpack the data set again, or remove it")
                for path, what in (fault.split(": ", 1) for fault in faults)]
    where: dict[int, set[str]] = defaultdict(set)
    for split, records in splits.items():
        for record in records:
            where[record.pid].add(split)
    problems += in_two_splits(where)
    if not any(p.fatal for p in problems):
        try:
            clothes_changing.read(name, folder)
        except ReidlabError as fault:
            problems.append(refusal(str(folder), fault))
    return splits, problems


def _own(name: str, folder: Path) -> Found:
    sound, faults = own_folder.rows_of(folder)
    problems = [Problem(f"{own_folder.LIST}, {line}", what, "fix the line or remove it")
                for line, what in (fault.split(": ", 1) for fault in faults)]
    first: dict[str, int] = {}
    for number, row in sound:
        if first.setdefault(row["image"], number) != number:
            problems.append(Problem(f"{own_folder.LIST}, line {number}", f"{row['image']} was "
                                    f"named before, in line {first[row['image']]}",
                                    "keep one of the two lines", fatal=False))
    listed = {(folder / row["image"]).resolve() for _, row in sound}
    spare = [p for p in own_folder.pictures_in(folder) if p.resolve() not in listed]
    if spare and not faults:
        problems.append(Problem(own_folder.LIST, f"leaves out {len(spare)} pictures, such as "
                                f"{spare[0].relative_to(folder)}", "add lines for them, or let "
                                "them be", fatal=False))
    if any(p.fatal for p in problems):
        return {}, problems
    kinds = Counter(row.get("modality", MODALITIES[0]) for _, row in sound)
    try:
        splits = own_folder.read(folder)
        if len(kinds) > 1:
            own_folder.read_both(folder)
    except ReidlabError as fault:
        return {}, [*problems, refusal(own_folder.LIST, fault)]
    return splits, problems


def _pictures(folder: Path, split: str, records: list[Record]) -> list[Problem]:
    found = [(r.path, fault) for r in records if (fault := picture_fault(folder / r.path))]
    return [Problem(f"{split}, {path}", fault.what, fault.fix) for path, fault in found]


def _wardrobes(split: str, records: list[Record]) -> list[Problem]:
    """People whom no clothes-changing query can ask for."""
    worn: dict[int, set[int]] = defaultdict(set)
    for record in records:
        if record.outfit >= 0:
            worn[record.pid].add(record.outfit)
    alone = sorted(pid for pid, outfits in worn.items() if len(outfits) == 1)
    if not alone or split == "train":
        return []
    some = ", ".join(map(str, alone[:5]))
    return [Problem(split, f"{len(alone)} of {len(worn)} people wear one outfit alone, such as "
                    f"{some}", "nobody can ask for them in other clothes; expect fewer queries",
                    fatal=False)]
