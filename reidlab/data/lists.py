"""Lists of a visible-infrared data set: identities, or a picture and its label on each line."""
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reidlab.data.untrusted import MOST_SHOWN, number, path_fault
from reidlab.errors import MissingPath, ReidlabError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors on Windows put it before the first line


class Line(NamedTuple):
    """One picture of a list."""

    where: str  # file and line, for messages
    path: str   # of the picture, relative to the data set's folder
    label: int  # as the list has it


def numbers(file: Path) -> list[int]:
    """Identities of a list, divided by commas or white space.

    Raises:
        MissingPath: no list; ReidlabError: file and line that hold anything else.
    """
    found: list[int] = []
    for where, line in _lines(file):
        for word in line.replace(",", " ").split():
            value = number(word)
            if value is None:
                raise ReidlabError(f"{where} must hold numbers divided by commas, each below 2^63; "
                                   f"got {word!r:.{MOST_SHOWN}}; fix the list or fetch it again")
            found.append(value)
    if not found:
        raise ReidlabError(f"{file} must hold numbers divided by commas; got nothing; fetch it "
                           "again")
    return found


def labelled(file: Path) -> Iterator[Line]:
    """Path and label of each line, blank ones left out; a path never leaves the folder.

    Backslashes, which lists written on Windows have, are read as slashes.

    Raises:
        MissingPath: no list; ReidlabError: file and line that hold anything else.
    """
    for where, line in _lines(file):
        if not line.strip():
            continue
        path, _, word = line.strip().rpartition(" ")
        path, label = path.strip().replace("\\", "/"), number(word)
        if not path or label is None:
            raise ReidlabError(f"{where}: need “path label”, the label a whole number below 2^63; "
                               f"got {line!r:.{MOST_SHOWN}}; fix the list or fetch it again")
        fault = path_fault(path)
        if fault:
            raise ReidlabError(f"{where}: {fault}; fix the list or fetch it again")
        yield Line(where, path, label)


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Each line with the file and the number that a message names."""
    if not os.path.lexists(file):
        raise MissingPath(f"no list {file}; the folder is incomplete, unpack it again")
    if not os.path.isfile(file):  # reading a pipe would wait forever
        raise ReidlabError(f"{file} is no readable file; a list is needed there, unpack the data "
                           "set again")
    try:
        content = file.read_bytes().removeprefix(BYTE_ORDER_MARK)
    except OSError as fault:
        raise ReidlabError(f"cannot read {file}: {fault.strerror}; give the right to read it"
                           ) from fault
    for count, line in enumerate(content.splitlines(), start=1):
        where = f"{file}, line {count}"
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as fault:
            raise ReidlabError(f"{where} cannot be read as text; save the list as UTF-8 or fetch "
                               "it again") from fault
        if "\0" in text:
            raise ReidlabError(f"{where} cannot be read as text, it holds null bytes; save the "
                               "list as UTF-8 or fetch it again")
        yield where, text
