"""CUHK-PEDES folders → records; the drawn world → the same layout.

Annotations are untrusted: every problem is named with file and record, and nothing is read or
written outside the folder.
"""
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from reidlab.data.records import Record, TextImageData
from reidlab.data.splitting import split_caption
from reidlab.errors import MissingPath, ReidlabError

SPLITS = ("train", "val", "test")
SIDE_FILE = "reidlab_parts.json"  # parts, outfits and factors that the layout has no room for
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
MOST_PROBLEMS = 8                 # named in one error


def read_cuhk_pedes(folder: Path) -> tuple[Path, dict[str, list[Record]]]:
    """The image folder and the records of each split.

    Reads ``reid_raw.json`` (with splits) or, when absent, ``caption_all.json`` (without: train ids
    are 1 to 11003, val 11004 to 12003, test 12004 to 13003). Identity and clothing parts come
    from the side file when there is one, else from the rule splitter.

    Raises:
        MissingPath: no folder, annotation or ``imgs``; ReidlabError: annotations that cannot be
            used, with record numbers.
    """
    if not folder.is_dir():
        raise MissingPath(f"no data folder {folder}; unpack CUHK-PEDES there, or write one with "
                          f"reidlab data export {folder} --layout cuhk-pedes")
    images = folder / "imgs"
    annotation = next((folder / n for n in ("reid_raw.json", "caption_all.json")
                       if (folder / n).is_file()), None)
    if annotation is None or not images.is_dir():
        raise MissingPath(f"{folder} is no CUHK-PEDES folder: it needs imgs/ and reid_raw.json "
                          "(or caption_all.json)")
    rows = _json(annotation)
    if not isinstance(rows, list) or not rows:
        raise ReidlabError(f"{annotation} must hold a list of records; got {type(rows).__name__}")
    side_file = folder / SIDE_FILE
    side = _json(side_file) if side_file.exists() else {}
    if not isinstance(side, dict):
        raise ReidlabError(f"{side_file} must hold an object; delete it or export again")
    splits, problems = {name: [] for name in SPLITS}, []
    for number, row in enumerate(rows):
        fault = _fault(row, images, annotation.name == "reid_raw.json")
        if fault:
            problems.append(f"record {number}: {fault}")
            continue
        split = row.get("split") or _split_of(row["id"])
        try:
            splits[split].append(_record(row, side.get(row["file_path"])))
        except (KeyError, TypeError, AttributeError) as broken:
            problems.append(f"{SIDE_FILE}, {row['file_path']}: {type(broken).__name__} {broken}")
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise ReidlabError(
            f"{annotation}: {len(problems)} of {len(rows)} records cannot be used; "
            + "; ".join(problems[:MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
            + "; mend or remove them")
    _refuse_shared_people(splits, annotation)
    for name in SPLITS:
        if not splits[name]:
            raise ReidlabError(f"{annotation} has no {name} records; three splits are needed")
    return images, splits


def _json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise ReidlabError(f"{path} is no readable JSON: {fault}; fetch or export it again"
                           ) from fault
    except OSError as fault:
        raise ReidlabError(f"cannot read {path}: {fault.strerror}") from fault


def _fault(row, images: Path, needs_split: bool) -> str | None:
    """What is wrong with a raw record, if anything."""
    if not isinstance(row, dict):
        return f"an object is needed; got {type(row).__name__}"
    pid, path, captions = row.get("id"), row.get("file_path"), row.get("captions")
    if isinstance(pid, bool) or not isinstance(pid, int):
        return f"id must be an integer; got {pid!r}"
    if not isinstance(path, str) or not path:
        return f"file_path must be a file name; got {path!r}"
    if Path(path).is_absolute() or ".." in Path(path).parts:
        return f"file_path {path!r} leaves the folder"
    if not isinstance(captions, list) or not captions or not all(
            isinstance(c, str) for c in captions):
        return f"captions must be a list of strings; got {captions!r:.60}"
    if not all(c.strip() for c in captions):
        return "an empty caption"
    if needs_split and row.get("split") not in SPLITS:
        return f"split must be one of {', '.join(SPLITS)}; got {row.get('split')!r}"
    if not needs_split and not 1 <= pid <= 13003:
        return f"id {pid} is outside 1 to 13003, and caption_all.json has no splits"
    if not (images / path).is_file():
        return f"no picture {path}"
    return None


def _split_of(pid: int) -> str:
    return "train" if pid <= 11003 else "val" if pid <= 12003 else "test"


def _record(row: dict, known: dict | None) -> Record:
    captions = tuple(row["captions"])
    if known is None:
        parts = [split_caption(c) for c in captions]
        return Record(row["file_path"], row["id"], 0, captions,
                      tuple(p.identity for p in parts), tuple(p.clothing for p in parts))
    ids, cloths = tuple(known["id_captions"]), tuple(known["cloth_captions"])
    if not len(ids) == len(cloths) == len(captions):
        raise KeyError("as many id and cloth captions as captions")
    return Record(row["file_path"], row["id"], int(known["camera"]), captions, ids, cloths,
                  int(known["outfit"]), known["factors"], tuple(known["facts"]))


def _refuse_shared_people(splits: dict, annotation: Path) -> None:
    seen: dict[int, str] = {}
    for name, records in splits.items():
        for pid in {r.pid for r in records}:
            if seen.setdefault(pid, name) != name:
                raise ReidlabError(f"{annotation}: person {pid} is in {seen[pid]} and in {name}; "
                                   "splits must not share people")


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


def export_cuhk_pedes(data: TextImageData, folder: Path, suffix: str = ".png") -> int:
    """Write data as a CUHK-PEDES folder with the side file; returns the number of pictures.

    Args:
        data: any text-image data, drawn data above all.
        folder: absent or empty.
        suffix: ``.png`` keeps every byte, ``.jpg`` is smaller.

    Raises:
        ReidlabError: the folder holds something, or the disk is full.
    """
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise ReidlabError(f"{folder} is not empty; name a new folder")
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        count = _write(data, part, suffix)
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    except OSError as fault:
        raise ReidlabError(f"cannot write {folder}: {fault.strerror or fault}; free some space or "
                           "choose another folder") from fault
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def _write(data: TextImageData, folder: Path, suffix: str) -> int:
    rows, side = [], {}
    pids = {pid: k + 1 for k, pid in enumerate(dict.fromkeys(
        r.pid for name in SPLITS for r in getattr(data, name).records))}
    for name in SPLITS:
        split = getattr(data, name)
        for record, pixels in zip(split.records, split.images, strict=True):
            path = Path("cam_a") / Path(record.path).with_suffix(suffix)
            (folder / "imgs" / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "imgs" / path, quality=95)
            rows.append({"split": name, "captions": list(record.captions),
                         "file_path": path.as_posix(), "id": pids[record.pid],
                         "processed_tokens": [c.lower().rstrip(".").split()
                                              for c in record.captions]})
            side[path.as_posix()] = {
                "id_captions": list(record.id_captions),
                "cloth_captions": list(record.cloth_captions), "camera": record.camid,
                "outfit": record.outfit, "factors": record.factors,
                "facts": list(record.facts)}
    for name, value in ((SIDE_FILE, side), ("reid_raw.json", rows)):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return len(rows)
