"""Write files whole or not at all."""
import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from reidlab.errors import ReidlabError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write beside `path`, flush to disk, then rename: readers see the old file or the new one.

    Raises:
        ReidlabError: no room, or no right to write; nothing is left behind.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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


def write_json(path: Path, value) -> None:
    """`value` as indented JSON; NaN is refused, since JSON has none."""
    text = json.dumps(value, indent=1, allow_nan=False)
    write_whole(path, lambda out: out.write(text.encode()))
