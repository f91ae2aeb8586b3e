"""Look a visible-infrared folder through before hours are spent on it."""
import os
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

from reidlab.data.checking import Problem, in_two_splits, refusal
from reidlab.data.infrared_layouts import Kinds, infrared_layout
from reidlab.data.pictures import picture_fault
from reidlab.data.visible_infrared import read
from reidlab.errors import ReidlabError

KINDS = ("visible", "infrared")


def check_infrared(name: str, folder: Path, trial: int = 1) -> dict:
    """Counts against the published ones, and every problem of a folder.

    Args:
        name: a key of ``INFRARED_LAYOUTS``.
        folder: of the data set.
        trial: RegDB's split.

    Returns:
        ``{"layout", "annotation", "counts": {split: {people, visible, infrared, published}},
        "problems": [Problem as dict]}``; `published` gives the same three numbers, None where
        none was published.

    Raises:
        MissingPath: no such folder.
    """
    known = infrared_layout(name, folder)
    problems = [Problem(str(file.relative_to(folder)), "is missing", "unpack the data set again")
                for file in known.lists(folder, trial).values() if not os.path.isfile(file)]
    splits: dict[str, Kinds] = {}
    if not problems:
        try:
            splits = known.read(folder, trial)
        except ReidlabError as fault:
            problems.append(refusal(str(folder), fault))
    for split, kinds in splits.items():
        problems += _kinds(split, kinds) + _people(split, kinds)
    if name != "regdb":
        problems += _shared(splits)
    if not any(p.fatal for p in problems):  # else the reader would refuse what was just named
        try:
            read(name, folder, trial)
        except ReidlabError as fault:
            problems.append(refusal(str(folder), fault))
    for split, kinds in splits.items():
        problems += _pictures(folder, split, kinds)
    counts = {split: {"people": len({r.pid for kind in kinds for r in kind}),
                      **{k: len(records) for k, records in zip(KINDS, kinds, strict=True)},
                      "published": {"people": known.people.get(split),
                                    **dict(zip(KINDS, known.pictures.get(split, (None, None)),
                                               strict=True))}}
              for split, kinds in splits.items()}
    return {"layout": known.title, "annotation": str(folder), "counts": counts,
            "problems": [asdict(p) for p in problems]}


def _kinds(split: str, kinds: Kinds) -> list[Problem]:
    return [Problem(split, f"no {kind} pictures", "unpack the data set again")
            for kind, records in zip(KINDS, kinds, strict=True) if not records]


def _pictures(folder: Path, split: str, kinds: Kinds) -> list[Problem]:
    problems = []
    for records in kinds:
        for path, times in Counter(r.path for r in records).items():
            if times > 1:
                problems.append(Problem(f"{split}, {path}", f"is listed {times} times",
                                        "keep one of the lines", fatal=False))
            fault = picture_fault(folder / path)
            if fault:
                problems.append(Problem(f"{split}, {path}", fault.what, fault.mend))
    return problems


def _people(split: str, kinds: Kinds) -> list[Problem]:
    """People seen in one kind of light only."""
    seen = [{r.pid for r in records} for records in kinds]
    return [Problem(f"{split}, person {pid}", f"is seen in {KINDS[k]} pictures only",
                    "is left out of training, and of scores as a probe without a match",
                    fatal=False)
            for k in (0, 1) for pid in sorted(seen[k] - seen[1 - k])]


def _shared(splits: dict[str, Kinds]) -> list[Problem]:
    where = defaultdict(set)
    for split, kinds in splits.items():
        for records in kinds:
            for record in records:
                where[record.pid].add(split)
    return in_two_splits(where)
