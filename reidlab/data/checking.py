"""Look a text-image folder through before hours are spent on it."""
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from reidlab.data.halves import lost_halves
from reidlab.data.layouts import Layout, layout
from reidlab.data.pictures import picture_fault
from reidlab.data.side_file import SIDE_FILE, read_side_file
from reidlab.data.text_image import read, read_rows, row_fault
from reidlab.errors import ReidlabError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: file and record.
        what: got and expected.
        mend: what to do.
        fatal: training would refuse the folder; else it would run on doubtful data.
    """

    where: str
    what: str
    mend: str
    fatal: bool = True


def check(name: str, folder: Path) -> dict:
    """Counts against the published table, and every problem of a folder.

    Args:
        name: a key of ``LAYOUTS``.
        folder: of the data set.

    Returns:
        ``{"layout", "annotation", "counts": {split: {people, pictures, captions, published}},
        "problems": [Problem as dict]}``.

    Raises:
        MissingPath, ReidlabError: there is nothing to look through.
    """
    known = layout(name)
    annotation = known.find(folder)
    rows = read_rows(annotation)
    problems, sound = [], []
    if not known.knows_splits(annotation):
        problems.append(Problem(annotation.name, "the variant without splits; they follow from the "
                                "ids", f"fetch {known.annotations[0]} to be sure", fatal=False))
    side = {}
    try:
        side = read_side_file(folder)
    except ReidlabError as fault:
        problems.append(refusal(annotation.name, fault))
    for number, row in enumerate(rows):
        where = f"{annotation.name}, record {number}"
        fault = row_fault(known, row, annotation, side)
        if fault:
            problems.append(Problem(where, fault, "fetch the annotation and the pictures again, or "
                                    "remove the record"))
            continue
        sound.append((where, row))
        if known.captions and len(row["captions"]) != known.captions:
            problems.append(Problem(where, f"{len(row['captions'])} captions; {known.title} has "
                                    f"{known.captions}", "mend the record", fatal=False))
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


def refusal(where: str, fault: ReidlabError) -> Problem:
    """What a reader refuses, as a problem; its message ends in the mend."""
    what, _, mend = str(fault).rpartition("; ")
    return Problem(where, what, mend) if what else Problem(where, mend, "training would refuse it")


def _as_read(name: str, folder: Path, where: str) -> list[Problem]:
    """What training would refuse, and what the splitter loses."""
    try:
        _, splits = read(name, folder)
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
                                              known.sizes[split], strict=True))}
    return found


def _pictures(known: Layout, folder: Path, sound: list) -> list[Problem]:
    problems = []
    for where, row in sound:
        fault = picture_fault(folder / "imgs" / row[known.path])
        if fault:
            problems.append(Problem(where, f"{row[known.path]} {fault.what}", fault.mend))
    return problems


def _records(known: Layout, sound: list) -> list[Problem]:
    """Pictures named twice, people in two splits."""
    problems, first, splits = [], {}, defaultdict(set)
    for where, row in sound:
        path = row[known.path]
        if path in first:
            problems.append(Problem(where, f"{path} was named before, in {first[path]}",
                                    "keep one of the two records", fatal=False))
        first.setdefault(path, where)
        splits[row["id"]].add(known.split_of(row))
    return problems + in_two_splits(splits)


def in_two_splits(splits: dict[int, set[str]]) -> list[Problem]:
    """Person → splits they are in; one problem for each who is in more than one."""
    return [Problem(f"person {pid}", f"is in {' and '.join(sorted(names))}",
                    "keep each person in one split")
            for pid, names in sorted(splits.items()) if len(names) > 1]


def _captions(sound: list) -> list[Problem]:
    """Captions shared between people, and dirt in them."""
    problems, said = [], defaultdict(set)
    dirty = Counter()
    for where, row in sound:
        for caption in row["captions"]:
            said[caption.strip().lower()].add(row["id"])
            if not caption.isascii():
                dirty[where] += 1
    for caption, people in said.items():
        if len(people) > 1:
            problems.append(Problem(
                f"people {', '.join(map(str, sorted(people)[:5]))}",
                f"share the caption {caption[:60]!r}",
                "expect wrong negatives; remove it or accept them", fatal=False))
    for where, count in dirty.items():
        problems.append(Problem(where, f"{count} captions with other than ASCII letters",
                                "they are read, and normalised by the splitter", fatal=False))
    return problems


def markdown(found: dict, most: int = 20) -> str:
    """Counts and problems for reading."""
    counted = [name for row in found["counts"].values() for name in row["published"]]
    names = list(dict.fromkeys(counted))
    lines = [f"{found['layout']}: {found['annotation']}", "",
             "| " + " | ".join(["split", *names, "published"]) + " |",
             "| " + " | ".join(["---"] * (len(names) + 2)) + " |"]
    for split, row in found["counts"].items():
        published = " / ".join("–" if v is None else str(v) for v in row["published"].values())
        cells = [split, *(str(row[name]) for name in names), published]
        lines.append("| " + " | ".join(cells) + " |")
    problems = found["problems"]
    lines += ["", f"{len(problems)} problems" + ("" if problems else ": none found")]
    lines += [f"- {p['where']}: {p['what']}; {p['mend']}" for p in problems[:most]]
    if len(problems) > most:
        lines.append(f"- and {len(problems) - most} more; --json lists all")
    return "\n".join(lines)
