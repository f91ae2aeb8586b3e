"""Public text-image folders → records; any data → the same layouts.

Annotations are untrusted: every problem is named with file and record, and nothing is read or
written outside the folder.
"""
import json
from pathlib import Path

from PIL import Image

from reidlab.data.folders import write_folder
from reidlab.data.halves import refuse_lost_halves
from reidlab.data.layouts import SPLITS, Layout, layout
from reidlab.data.records import Record, TextImageData
from reidlab.data.side_file import SIDE_FILE, entry_fault, made_record, read_side_file
from reidlab.data.splits import held_out, refuse_shared_people, refuse_too_little
from reidlab.data.untrusted import shown
from reidlab.errors import ReidlabError
from reidlab.files import read_json

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
    splits, problems = {name: [] for name in SPLITS}, []
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
            + "; mend or remove them")
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
    fault = known.fault(row, annotation.parent / "imgs", known.knows_splits(annotation))
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
        data: any text-image data, drawn data above all.
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
