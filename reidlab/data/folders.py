"""Folders of data sets: named by a user, refused when absent, written whole or not at all."""
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from reidlab.errors import MissingPath, ReidlabError


def resolved(folder: str | Path) -> Path:
    """A folder from the root, ``~`` expanded and links followed; it need not be there.

    Raises:
        ReidlabError: links that loop, no home folder for ``~``, or a null byte.
    """
    try:
        return Path(folder).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as fault:
        raise ReidlabError(f"{str(folder)!r} is no usable path; it may hold links that loop, an "
                           "unknown ~user or a null byte: name another folder") from fault


def require_folder(folder: Path, title: str, name: str) -> None:
    """Stop where there is no folder of a data set.

    Args:
        folder: that should be there.
        title: of the data set; name: of its layout.

    Raises:
        MissingPath: how to get one.
    """
    if os.path.isdir(folder):
        return
    got = f"{folder} is no folder" if os.path.lexists(folder) else f"no data folder {folder}"
    raise MissingPath(f"{got}; unpack {title} there, or write one with "
                      f"reidlab data export {folder} --layout {name}")


def write_folder(folder: Path, write: Callable[[Path], object]):
    """Have a folder written whole: in a part folder first, then renamed.

    A folder that is there and empty stays the same folder, since it may be somebody's working
    folder; the part folder then lies inside it.

    Args:
        folder: absent or empty.
        write: writes into the folder it is given; its result is handed on.

    Raises:
        ReidlabError: the folder holds something, is none, or cannot be written; nothing is left.
    """
    folder = resolved(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ReidlabError(f"{folder} is a file; name a new folder")
    there = os.path.isdir(folder)
    home = folder if there else folder.parent
    part = home / f".{folder.name}.{os.getpid()}.part"
    absent = [place for place in (home, *home.parents) if not os.path.lexists(place)]
    written = False
    try:
        if there and any(folder.iterdir()):
            raise ReidlabError(f"{folder} is not empty; name a new folder")
        part.mkdir(parents=True)
        count = write(part)
        if there:
            for made in sorted(part.iterdir()):
                made.rename(folder / made.name)
        else:
            part.rename(folder)
        written = True
    except ReidlabError:
        raise
    except Exception as fault:  # libraries that write in another language raise what they like
        reason = getattr(fault, "strerror", None) or " ".join(str(fault).split())
        raise ReidlabError(f"cannot write {folder}: {reason}; free some space or choose another "
                           "folder") from fault
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for place in absent if not written else ():
            with contextlib.suppress(OSError):
                place.rmdir()
    return count
