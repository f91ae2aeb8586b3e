"""Look a folder of a public layout through before hours are spent on it."""
import os
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

from reidlab.data import text_image, visible_infrared
from reidlab.data.checking_people import check_people
from reidlab.data.clothes_changing import CLOTHES_LAYOUTS
from reidlab.data.halves import lost_halves
from reidlab.data.pictures import picture_fault
from reidlab.data.problems import Problem, in_two_splits, refusal
from reidlab.data.records import MODALITIES
from reidlab.data.side_file import SIDE_FILE, read_side_file
from reidlab.data.text_image import Layout, layout, read_rows, row_fault
from reidlab.data.visible_infrared import ByModality, infrared_layout
from reidlab.errors import ReidlabError
from reidlab.tables import grid


def check(name: str, folder: Path, trial: int = 1) -> dict:
    """Counts against the published ones, and every problem of a folder.

    Args:
        name: a public layout.
        folder: of the data set.
        trial: RegDB's split.

    Returns:
        ``{"layout", "annotation", "counts": {split: {…, published}}, "problems": [Problem as
        dict]}``. Counted are people, pictures and captions of a text-image layout, people, visible
        and infrared pictures of a visible-infrared one; `published` gives the same numbers, None
        where none was published.

    Raises:
        MissingPath, ReidlabError: there is nothing to look through.
    """
    if name in visible_infrared.INFRARED_LAYOUTS:
        return _visible_infrared(name, folder, trial)
    if name in (*CLOTHES_LAYOUTS, "folder"):
        return check_people(name, folder)
    return _text_image(name, folder)


def _text_image(name: str, folder: Path) -> dict:
    known = layout(name)
    annotation = known.find(folder)
    rows = read_rows(annotation)
    problems, sound = [], []
    if not known.has_splits(annotation):
        problems.append(Problem(annotation.name, "the variant without splits; they follow from the "
                                "ids", f"fetch {known.annotations[0]} to be sure", fatal=False))
    side = {}
    try:
        side = read_side_file(folder)
    except ReidlabError as fault:
        problems.append(refusal(annotation.name, fault))
    for number, row in enumerate(rows):
        where = f"{annotation.name}, record {number}"
        wrong = row_fault(known, row, annotation, side)
        if wrong:
            problems.append(Problem(where, wrong, "fetch the annotation and the pictures again, or "
                                    "remove the record"))
            continue
        sound.append((where, row))
        if known.captions and len(row["captions"]) != known.captions:
            problems.append(Problem(where, f"{len(row['captions'])} captions; {known.title} has "
                                    f"{known.captions}", "fix the record", fatal=False))
    problems += _records(known, sound)
    if not any(p.fatal for p in problems):  # else the reader would refuse what was just named
        problems += _as_read(name, folder, annotation.name)
    absent = sum(row[known.path] not in side for _, row in sound)
    if side and absent:
        problems.append(Problem(SIDE_FILE, f"has no entry for {absent} of {len(sound)} pictures",
                                "their captions are split by rule", fatal=False))
    problems += _pictures(known, folder, sound) + _captions(sound)
    return {"layout": known.title, "annotation": str(annotation),
            "counts": _counts(known, sound), "problems": [asdict(p) for p in problems]}


def _as_read(name: str, folder: Path, where: str) -> list[Problem]:
    """What training would refuse, and what the splitter loses."""
    try:
        _, splits = text_image.read(name, folder)
    except ReidlabError as fault:
        return [refusal(where, fault)]
    lost = lost_halves(splits["train"])
    return [Problem(where, str(lost), "rows without a half teach only the other vector; expect "
                    "less of them", fatal=False)] if lost.any else []


def _counts(known: Layout, sound: list) -> dict:
    found = {}
    for split in known.splits:
        rows = [row for _, row in sound if known.split_of(row) == split]
        found[split] = {"people": len({row["id"] for row in rows}), "pictures": len(rows),
                        "captions": sum(len(row["captions"]) for row in rows),
                        "published": dict(zip(("people", "pictures", "captions"),
                                              known.sizes.get(split, (None,) * 3), strict=True))}
    return found


def _pictures(known: Layout, folder: Path, sound: list) -> list[Problem]:
    problems = []
    for where, row in sound:
        fault = picture_fault(folder / "imgs" / row[known.path])
        if fault:
            problems.append(Problem(where, f"{row[known.path]} {fault.what}", fault.fix))
    return problems


def _records(known: Layout, sound: list) -> list[Problem]:
    """Pictures named twice, people in two splits."""
    problems, splits = [], defaultdict(set)
    first: dict[str, str] = {}
    for where, row in sound:
        path = row[known.path]
        if path in first:
            problems.append(Problem(where, f"{path} was named before, in {first[path]}",
                                    "keep one of the two records", fatal=False))
        first.setdefault(path, where)
        splits[row["id"]].add(known.split_of(row))
    return problems + in_two_splits(splits)


def _captions(sound: list) -> list[Problem]:
    """Captions shared between people, and dirt in them."""
    problems, owners = [], defaultdict(set)
    dirty: Counter[str] = Counter()
    for where, row in sound:
        for caption in row["captions"]:
            owners[caption.strip().lower()].add(row["id"])
            if not caption.isascii():
                dirty[where] += 1
    for caption, people in owners.items():
        if len(people) > 1:
            problems.append(Problem(
                f"people {', '.join(map(str, sorted(people)[:5]))}",
                f"share the caption {caption[:60]!r}",
                "expect wrong negatives; remove it or accept them", fatal=False))
    for where, count in dirty.items():
        problems.append(Problem(where, f"{count} captions with other than ASCII letters",
                                "they are read, and normalised by the splitter", fatal=False))
    return problems


def _visible_infrared(name: str, folder: Path, trial: int) -> dict:
    known = infrared_layout(name, folder)
    problems = [Problem(str(file.relative_to(folder)), "is missing", "unpack the data set again")
                for file in known.lists(folder, trial).values() if not os.path.isfile(file)]
    splits: dict[str, ByModality] = {}
    if not problems:
        try:
            splits = known.read(folder, trial)
        except ReidlabError as fault:
            problems.append(refusal(str(folder), fault))
    for split, by_modality in splits.items():
        problems += _modalities(split, by_modality) + _people(split, by_modality)
    if name != "regdb":
        problems += _shared(splits)
    if not any(p.fatal for p in problems):  # else the reader would refuse what was just named
        try:
            visible_infrared.read(name, folder, trial)
        except ReidlabError as fault:
            problems.append(refusal(str(folder), fault))
    for split, by_modality in splits.items():
        problems += _files(folder, split, by_modality)
    counts = {
        split: {
            "people": len({r.pid for modality in by_modality for r in modality}),
            **{k: len(records) for k, records in zip(MODALITIES, by_modality, strict=True)},
            "published": {
                "people": known.people.get(split),
                **dict(zip(MODALITIES, known.pictures.get(split, (None, None)), strict=True)),
            },
        }
        for split, by_modality in splits.items()
    }
    return {"layout": known.title, "annotation": str(folder), "counts": counts,
            "problems": [asdict(p) for p in problems]}


def _modalities(split: str, by_modality: ByModality) -> list[Problem]:
    return [Problem(split, f"no {modality} pictures", "unpack the data set again")
            for modality, records in zip(MODALITIES, by_modality, strict=True) if not records]


def _files(folder: Path, split: str, by_modality: ByModality) -> list[Problem]:
    problems = []
    for records in by_modality:
        for path, times in Counter(r.path for r in records).items():
            if times > 1:
                problems.append(Problem(f"{split}, {path}", f"is listed {times} times",
                                        "keep one of the lines", fatal=False))
            fault = picture_fault(folder / path)
            if fault:
                problems.append(Problem(f"{split}, {path}", fault.what, fault.fix))
    return problems


def _people(split: str, by_modality: ByModality) -> list[Problem]:
    """People seen in one modality only."""
    seen = [{r.pid for r in records} for records in by_modality]
    return [Problem(f"{split}, person {pid}", f"is seen in {MODALITIES[k]} pictures only",
                    "is left out of training, and of scores as a query without a match",
                    fatal=False)
            for k in (0, 1) for pid in sorted(seen[k] - seen[1 - k])]


def _shared(splits: dict[str, ByModality]) -> list[Problem]:
    where = defaultdict(set)
    for split, by_modality in splits.items():
        for records in by_modality:
            for record in records:
                where[record.pid].add(split)
    return in_two_splits(where)


def markdown(found: dict, most: int = 20) -> str:
    """Counts and problems for reading."""
    counted = [name for row in found["counts"].values() for name in row["published"]]
    names = list(dict.fromkeys(counted))
    rows = [[split, *(str(row[name]) for name in names),
             " / ".join("–" if v is None else str(v) for v in row["published"].values())]
            for split, row in found["counts"].items()]
    lines = [f"{found['layout']}: {found['annotation']}", "",
             grid(["split", *names, "published"], rows)]
    problems = found["problems"]
    lines += ["", f"{len(problems)} problems" + ("" if problems else ": none found")]
    lines += [f"- {p['where']}: {p['what']}; {p['fix']}" for p in problems[:most]]
    if len(problems) > most:
        lines.append(f"- and {len(problems) - most} more; --json lists all")
    return "\n".join(lines)
