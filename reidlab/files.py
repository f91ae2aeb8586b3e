"""Read files with one readable error; write them whole or not at all."""
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import psutil

from reidlab.errors import MissingPath, ReidlabError

HOST = socket.gethostname()[:32]


def usable(path: str | Path) -> Path:
    """A path that a file system can hold.

    Raises:
        ReidlabError: an empty one, one that is too long, or characters that are no text.
    """
    try:
        os.lstat(os.fspath(path).encode("utf-8"))
    except (FileNotFoundError, NotADirectoryError, PermissionError) as fault:
        if not os.fspath(path):
            raise ReidlabError("a path is empty; name a file or folder") from fault
    except (OSError, ValueError) as fault:
        raise ReidlabError(f"{os.fspath(path)!r:.80} is no usable path: too long, links that loop, "
                           "or characters that are no text; choose another") from fault
    return Path(path)


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside `path`, flush to disk, then rename: readers see the old file or the new one.

    Raises:
        ReidlabError: no room, or no right to write; nothing is left behind.
    """
    path = usable(path)
    if path.is_dir():
        raise ReidlabError(f"cannot write {path}: it is a folder; name a file")
    part = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_dead_parts(path)
        with open(part, "wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, path)
    except OSError as fault:
        raise ReidlabError(f"cannot write {path}: {fault.strerror or fault}; free some space or "
                           "choose another folder") from fault
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _forget_dead_parts(path: Path) -> None:
    """Remove what processes of this host left when they were killed while writing `path`."""
    start = f".{path.name}.{HOST}."
    for found in os.listdir(path.parent):
        owner = found.removeprefix(start).removesuffix(".part")
        if found == f"{start}{owner}.part" and owner.isdecimal() and (
                not psutil.pid_exists(int(owner))):
            (path.parent / found).unlink(missing_ok=True)


def write_json(path: Path, value) -> None:
    """`value` as indented JSON.

    Raises:
        ReidlabError: it holds NaN or an infinity, which JSON has no word for.
    """
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError as fault:
        raise ReidlabError(f"cannot write {path}: it would hold NaN or an infinity, which JSON "
                           "lacks; look for the number that is none") from fault
    write_whole(path, lambda out: out.write(text.encode()))


def read_json(path: Path):
    """A file's content.

    Raises:
        MissingPath: no such file; ReidlabError: it cannot be read, or is no JSON.
    """
    path = usable(path)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ReidlabError(f"{path} is no regular file; remove it")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise MissingPath(f"no file {path}") from fault
    except OSError as fault:
        raise ReidlabError(f"cannot read {path}: {fault.strerror or fault}; it should be a "
                           "readable file") from fault
    except (ValueError, RecursionError) as fault:
        why = ("no UTF-8 text" if isinstance(fault, UnicodeDecodeError) else
               "nested too deep" if isinstance(fault, RecursionError) else
               " ".join(str(fault).split())[:100])
        raise ReidlabError(f"{path} is no readable JSON ({why}); restore it, fetch it again, or "
                           "delete it to have it made again") from fault
