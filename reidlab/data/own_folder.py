"""People of your own: a folder with ``people.jsonl``, one picture a line.

``{"image": "a/1.jpg", "person": "anna"}`` is enough. ``captions`` (a list of texts), ``outfit``
(what this person's clothes are called), ``camera`` (a number), ``modality`` (``visible`` or
``infrared``), ``split`` (``train``, ``val``, ``test``) and ``role`` (``query`` or ``gallery``) may
be added. Without splits every fifth person is in test, and of the others every tenth in val.
"""
import json
import os
from pathlib import Path

from PIL import Image

from reidlab.data.caption_parser import parse_caption
from reidlab.data.clothes_changing import SILENT, refuse_faults, refuse_unusable
from reidlab.data.folders import require_folder, write_folder
from reidlab.data.pictures import pictures_in
from reidlab.data.records import MODALITIES, SPLITS, Record, TextImageData
from reidlab.data.untrusted import broken_text, path_fault, shown
from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import write_whole

LIST = "people.jsonl"
KNOWN = ("image", "person", "captions", "outfit", "camera", "modality", "split", "role")
TEST_EVERY, VAL_EVERY = 5, 10  # people


def row_fault(row, folder: Path) -> str | None:
    """What makes a line unusable, if anything."""
    if not isinstance(row, dict):
        return f"an object is needed; got {shown(row)}"
    image = row.get("image")
    if not isinstance(image, str) or not image:
        return f"image must be a file name; got {shown(image)}"
    if fault := path_fault(image):
        return f"image {fault}"
    if other := sorted(row.keys() - set(KNOWN)):
        return f"unknown field {other[0]!r:.40}; known: {', '.join(KNOWN)}"
    for name in ("person", "outfit"):
        if (name == "person" or name in row) and not _named(row.get(name)):
            return f"{name} must be a name or a number; got {shown(row.get(name))}"
    captions = row.get("captions", [])
    if not isinstance(captions, list) or not all(
            isinstance(c, str) and c.strip() and not broken_text(c) for c in captions):
        return f"captions must be a list of texts; got {shown(captions)}"
    camera = row.get("camera", 0)
    if not isinstance(camera, int) or isinstance(camera, bool) or not 0 <= camera < 2**31:
        return f"camera must be a number from 0; got {shown(camera)}"
    for name, may_be in (("modality", MODALITIES), ("split", SPLITS),
                         ("role", ("query", "gallery"))):
        if name in row and row[name] not in may_be:
            return f"{name} must be one of {', '.join(may_be)}; got {shown(row[name])}"
    return None if os.path.isfile(folder / image) else f"no picture {image}"


def _named(value) -> bool:
    if isinstance(value, str):
        return bool(value.strip()) and not broken_text(value)
    return isinstance(value, int) and not isinstance(value, bool)


def rows_of(folder: Path) -> tuple[list[tuple[int, dict]], list[str]]:
    """Sound lines with their numbers, and what is wrong with the others.

    Raises:
        MissingPath: no folder, or no list in it; ReidlabError: one that is no text.
    """
    require_folder(folder, "your pictures", "folder")
    file = folder / LIST
    if not file.is_file():
        raise MissingPath(f"no {LIST} in {folder}; have one written by reidlab data template "
                          f"{folder}")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise ReidlabError(f"{file} cannot be read as text; save it as UTF-8") from fault
    sound, faults = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            wrong = row_fault(row, folder)
        except (ValueError, RecursionError):
            wrong = f"no JSON: {line[:40]!r}"
        if wrong:
            faults.append(f"line {number}: {wrong}")
        else:
            sound.append((number, row))
    return sound, faults


def read(folder: Path, modality: str | None = None) -> dict[str, list[Record]]:
    """Records of each split.

    Args:
        folder: with ``people.jsonl``.
        modality: of the pictures wanted; None takes all.

    Raises:
        MissingPath: no folder or no list; ReidlabError: lines that cannot be used, some with a
            split and some without, people in two splits, or a split that holds too little.
    """
    sound, faults = rows_of(folder)
    where = folder / LIST
    refuse_faults(faults, where)
    if not sound:
        raise ReidlabError(f"{where} is empty; have one written by reidlab data template {folder}")
    splits = split_by_person([row for _, row in sound], where)
    people = {name: n for n, name in enumerate(sorted({str(row["person"]) for _, row in sound}))}
    outfits: dict[tuple[str, str], int] = {}
    found: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for _, row in sound:
        person = str(row["person"])
        if modality is not None and row.get("modality", "visible") != modality:
            continue
        outfit = -1
        if "outfit" in row:
            outfit = outfits.setdefault((person, str(row["outfit"])), len(outfits))
        said = [parse_caption(c) for c in row.get("captions", [])]
        found[splits[person]].append(Record(
            row["image"], people[person], row.get("camera", 0),
            tuple(row.get("captions", ())) or SILENT,
            tuple(s.identity for s in said) or SILENT, tuple(s.clothing for s in said) or SILENT,
            outfit, role=row.get("role", "")))
    roles = {r.role for r in found["test"]}
    for role in ("query", "gallery"):
        if roles and not roles & {"", role}:
            raise ReidlabError(f"{where} has no {role} pictures in test; give some that role, or "
                               "none a role")
    if modality is None:
        refuse_unusable(found, where)
    return found


def read_both(folder: Path) -> dict[str, tuple[list[Record], list[Record]]]:
    """Visible and infrared records of each split.

    Raises:
        ReidlabError: as `read`, or a split without pictures of one modality.
    """
    found = [read(folder, modality) for modality in MODALITIES]
    for name in SPLITS:
        for modality, splits in zip(MODALITIES, found, strict=True):
            if not splits[name]:
                raise ReidlabError(f"{folder / LIST} has no {modality} pictures in {name}; give "
                                   "lines a modality, and each split people of both")
    return {name: (found[0][name], found[1][name]) for name in SPLITS}


def split_by_person(rows: list[dict], where: Path) -> dict[str, str]:
    """Person → split: as the lines say, or by counting people where none says it.

    Raises:
        ReidlabError: some lines say it and some do not, or a person is in two.
    """
    given = [row for row in rows if "split" in row]
    names = sorted({str(row["person"]) for row in rows})
    if not given:
        test = names[::TEST_EVERY] if len(names) > TEST_EVERY else names[::2]
        rest = [name for name in names if name not in set(test)]
        val = set(rest[::VAL_EVERY] if len(rest) > 2 * VAL_EVERY else rest[::3][:2])
        return {name: "test" if name in set(test) else "val" if name in val else "train"
                for name in names}
    if len(given) < len(rows):
        raise ReidlabError(f"{where}: {len(given)} of {len(rows)} lines have a split; give one to "
                           "all, or to none")
    found: dict[str, str] = {}
    for row in rows:
        if found.setdefault(str(row["person"]), row["split"]) != row["split"]:
            raise ReidlabError(f"{where}: person {row['person']} is in {found[str(row['person'])]} "
                               f"and in {row['split']}; keep each person in one split")
    return found


def template(folder: Path) -> int:
    """Write a first ``people.jsonl`` for the pictures of a folder; returns the number of lines.

    The person is the folder that a picture lies in, or what stands before the first ``_`` or ``-``
    of its name where all lie in one. Look at them before you train.

    Raises:
        MissingPath: no pictures there; ReidlabError: there is a list already.
    """
    file = folder / LIST
    if os.path.lexists(file):
        raise ReidlabError(f"{file} is there already; remove it to have it written again")
    pictures = [p.relative_to(folder) for p in pictures_in(folder)]
    places = {p.parent for p in pictures}
    lines = []
    for picture in pictures:
        person = (picture.parent.as_posix() if len(places) > 1 else
                  picture.stem.replace("-", "_").partition("_")[0])
        lines.append(json.dumps({"image": picture.as_posix(), "person": person}) + "\n")
    write_whole(file, lambda out: out.write("".join(lines).encode()))
    return len(lines)


def export(data: TextImageData, folder: Path, suffix: str = ".png") -> int:
    """Write text-image data as such a folder, captions, outfits, cameras and splits included.

    Raises:
        ReidlabError: the folder holds something, or the disk is full.
    """
    def write(part: Path) -> int:
        lines = []
        for split in SPLITS:
            found = getattr(data, split)
            for record, pixels in zip(found.records, found.images, strict=True):
                place = Path("pictures") / Path(record.path).with_suffix(suffix)
                (part / place).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(part / place, quality=95)
                said = [c for c in record.captions if c]
                lines.append(json.dumps({
                    "image": place.as_posix(), "person": record.pid, "outfit": record.outfit,
                    "camera": record.camid, "split": split} | ({"captions": said} if said else {})))
        (part / LIST).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return len(lines)

    return write_folder(folder, write)
