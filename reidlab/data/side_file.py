"""``reidlab_parts.json``: what public layouts have no room for, a picture an entry.

``{path: {"id_captions": […], "cloth_captions": […]}}`` is enough: the identity and the clothing
part of each caption, in the captions' order. ``camera`` and ``outfit`` (numbers), ``factors`` and
``facts`` (as the synthetic world has them) may be added. Somebody may have written it by hand, so
every entry is looked at before it is believed.
"""
import os
from pathlib import Path

from reidlab.data.caption_parser import parse_caption
from reidlab.data.records import Record
from reidlab.data.untrusted import broken_text, is_id, shown
from reidlab.errors import ReidlabError
from reidlab.files import read_json
from reidlab.synthetic.factors import OUTFIT, PERSON

SIDE_FILE = "reidlab_parts.json"
FACTORS = frozenset([f"person/{name}" for name in (*PERSON, "hair_style", "beard")]
                    + [f"outfit/{name}" for name in OUTFIT])  # what probes and ceilings read


def read_side_file(folder: Path) -> dict:
    """Entry of each picture; empty where there is no side file.

    Raises:
        ReidlabError: it is no readable JSON object.
    """
    file = folder / SIDE_FILE
    if not os.path.lexists(file):
        return {}
    if not os.path.isfile(file):  # reading a pipe would wait forever
        raise ReidlabError(f"{file} is no regular file; remove it or export again")
    side = read_json(file)
    if not isinstance(side, dict):
        raise ReidlabError(f"{file} must hold an object; got {shown(side)}; delete it or export "
                           "again")
    return side


def entry_fault(entry, captions: int) -> str | None:
    """What makes an entry unusable, if anything.

    Args:
        entry: JSON value.
        captions: number of captions of its picture.
    """
    if not isinstance(entry, dict):
        return f"an object is needed; got {shown(entry)}"
    for name in ("id_captions", "cloth_captions"):
        if not _texts(entry.get(name), captions):
            return f"{name} must be a list of as many texts as captions ({captions})"
    for name in ("camera", "outfit"):
        if name in entry and not is_id(entry[name]):
            return f"{name} must be an integer of 64 bits; got {shown(entry[name])}"
    factors, facts = entry.get("factors", {}), entry.get("facts", [])
    if not isinstance(factors, dict) or (factors and not all(
            isinstance(factors.get(name), str) for name in FACTORS)):
        return "factors must be an empty object, or have a text for each of the synthetic world's"
    if not _stated(facts, captions) or (factors and not facts):
        return f"facts must be as many objects of plain values as captions ({captions})"
    return None


def made_record(row: dict, path: str, entry: dict | None) -> Record:
    """A record of a sound annotation; its parts from a sound entry, else from the splitter."""
    captions = tuple(row["captions"])
    if entry is None:
        parts = [parse_caption(caption) for caption in captions]
        return Record(path, row["id"], 0, captions,
                      tuple(p.identity for p in parts), tuple(p.clothing for p in parts))
    return Record(path, row["id"], entry.get("camera", 0), captions, tuple(entry["id_captions"]),
                  tuple(entry["cloth_captions"]), entry.get("outfit", -1),
                  entry.get("factors", {}), tuple(entry.get("facts", ())))


def _texts(value, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(
        isinstance(text, str) and not broken_text(text) for text in value)


def _stated(facts, captions: int) -> bool:
    return isinstance(facts, list) and len(facts) in (0, captions) and all(
        isinstance(fact, dict) and not any(isinstance(value, dict | list)
                                           for value in fact.values()) for fact in facts)
