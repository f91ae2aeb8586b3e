"""What other people's files say, before it is believed: paths, texts and numbers."""
import json
import os
import re
from pathlib import PurePosixPath
from typing import TypeGuard

LARGEST = 2**63 - 1  # ids and labels become 64-bit integers
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes; the limits of common file systems
MOST_SHOWN = 60  # characters of a wrong value in a message
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DIGITS = re.compile(r"[0-9]{1,30}")  # str.isdigit also takes ², and int() no more than 4,300


def path_fault(path: str) -> str | None:
    """What keeps a path from naming a file inside its folder, if anything."""
    if broken_text(path) or _CONTROL.search(path):
        return f"{path!r:.{MOST_SHOWN}} has characters that no file name has"
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        return f"{path!r:.{MOST_SHOWN}} leaves the folder"
    if len(os.fsencode(path)) > LONGEST_PATH or any(
            len(os.fsencode(part)) > LONGEST_NAME for part in PurePosixPath(path).parts):
        return f"{path!r:.{MOST_SHOWN}} is longer than a file name can be"
    return None


def broken_text(text: str) -> bool:
    """Whether a text holds half a character (a lone surrogate), which no file can hold."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def is_id(value) -> TypeGuard[int]:
    """Whether a JSON value is an integer of 64 bits."""
    return (isinstance(value, int) and not isinstance(value, bool)
            and -LARGEST - 1 <= value <= LARGEST)


def number(word: str) -> int | None:
    """The number that decimal digits write, at most `LARGEST`; None for anything else."""
    return int(word) if _DIGITS.fullmatch(word) and int(word) <= LARGEST else None


def shown(value) -> str:
    """A wrong JSON value for a message, as JSON writes it and cut short."""
    said = repr(value) if isinstance(value, str) else json.dumps(value)
    return said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]}…"
