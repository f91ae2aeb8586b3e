"""Public text-image folders → records; any data → the same layouts.

Annotations are untrusted: every problem is named with file and record, and nothing is read or
written outside the folder.
"""
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from reidlab.data.layouts import SPLITS, Layout, layout
from reidlab.data.records import Record, TextImageData
from reidlab.data.splits import held_out, refuse_shared_people
from reidlab.data.splitting import split_caption
from reidlab.errors import MissingPath, ReidlabError

SIDE_FILE = "reidlab_parts.json"  # parts, outfits and factors that the layouts have no room for
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
MOST_PROBLEMS = 8                 # named in one error


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
            used, with record numbers.
    """
    known = layout(name)
    annotation, images = known.find(folder), folder / "imgs"
    rows = read_json(annotation)
    if not isinstance(rows, list) or not rows:
        raise ReidlabError(f"{annotation} must hold a list of records; got {type(rows).__name__}")
    side_file = folder / SIDE_FILE
    side = read_json(side_file) if side_file.exists() else {}
    if not isinstance(side, dict):
        raise ReidlabError(f"{side_file} must hold an object; delete it or export again")
    splits, problems = {name: [] for name in SPLITS}, []
    for number, row in enumerate(rows):
        fault = known.fault(row, images, known.knows_splits(annotation))
        if fault:
            problems.append(f"record {number}: {fault}")
            continue
        try:
            splits[known.split_of(row)].append(_record(row, row[known.path],
                                                       side.get(row[known.path])))
        except (KeyError, TypeError, AttributeError) as broken:
            problems.append(f"{SIDE_FILE}, {row[known.path]}: {type(broken).__name__} {broken}")
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
    return images, splits


def read_json(path: Path):
    """A file's content; one line that names the file when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ReidlabError(f"{path} is no readable JSON: {fault}; fetch or export it again"
                           ) from fault
    except OSError as fault:
        raise ReidlabError(f"cannot read {path}: {fault.strerror}") from fault


def _record(row: dict, path: str, known: dict | None) -> Record:
    captions = tuple(row["captions"])
    if known is None:
        parts = [split_caption(c) for c in captions]
        return Record(path, row["id"], 0, captions,
                      tuple(p.identity for p in parts), tuple(p.clothing for p in parts))
    ids, cloths = tuple(known["id_captions"]), tuple(known["cloth_captions"])
    if not len(ids) == len(cloths) == len(captions):
        raise KeyError("as many id and cloth captions as captions")
    return Record(path, row["id"], int(known["camera"]), captions, ids, cloths,
                  int(known["outfit"]), known["factors"], tuple(known["facts"]))


def open_picture(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 of one picture file, resized when it has another size.

    Raises:
        ReidlabError: damaged or no picture.
    """
    try:
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            if picture.size != (size[1], size[0]):
                picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
            return np.asarray(picture)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError,
            Image.DecompressionBombError) as fault:
        raise ReidlabError(f"{path} cannot be opened as a picture ({fault}); fetch it again or "
                           "remove its record") from fault


def pictures_in(folder: Path) -> list[Path]:
    """All picture files below a folder, sorted.

    Raises:
        MissingPath: no such folder, or none in it.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES)
    if not files:
        raise MissingPath(f"no pictures ({', '.join(PICTURES)}) in {folder}")
    return files


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
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise ReidlabError(f"{folder} is not empty; name a new folder")
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        count = _write(data, part, layout(name), suffix)
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    except OSError as fault:
        raise ReidlabError(f"cannot write {folder}: {fault.strerror or fault}; free some space or "
                           "choose another folder") from fault
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


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
