"""What a gallery knows of each picture beside its vector, and which pictures a query may find."""
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reidlab.data.pictures import PictureFault, pictures_in, regular
from reidlab.errors import ReidlabError

# cam3/…, …_c01_…, 0001_c3s1_…: how public data sets name a camera
CAMERA = re.compile(r"(?:^|[/_\\-])c(?:am(?:era)?[_-]?)?0*([0-9]{1,4})(?=[_/s.-])", re.IGNORECASE)


class Row(NamedTuple):
    """One picture file.

    Attributes:
        path: relative to the folder of pictures.
        size: bytes.
        modified, changed: nanoseconds since 1970, of the content and of the file's state. Copies
            keep the first, no program sets the second.
        camera: number that the path names, as in ``cam3/`` or ``_c03_``; 0 where it names none.
        fault: why it has no vector; empty where it has one.
    """

    path: str
    size: int
    modified: int
    changed: int
    camera: int = 0
    fault: str = ""

    @property
    def time(self) -> int:
        """Seconds since 1970 at which the file was last written."""
        return self.modified // 1_000_000_000


def rows_of(folder: Path) -> list[Row]:
    """A row for each picture below a folder, sorted by path.

    Raises:
        MissingPath: no such folder, or no picture in it; ReidlabError: one that cannot be read.
    """
    rows = []
    for file in pictures_in(folder):
        path = file.relative_to(folder).as_posix()
        camera = CAMERA.search(path)
        number = int(camera[1]) if camera else 0
        try:
            known = regular(file)
        except PictureFault as fault:
            rows.append(Row(path, 0, 0, 0, number, fault.what))
            continue
        rows.append(Row(path, known.st_size, known.st_mtime_ns, known.st_ctime_ns, number))
    return sorted(rows)


def written(rows: Iterable[Row]) -> bytes:
    """Rows as JSON, one a line."""
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def read(file: Path) -> list[Row]:
    """Rows of a file.

    Raises:
        ReidlabError: absent or damaged.
    """
    try:
        return [Row(*json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as fault:
        raise ReidlabError(f"{file} is missing or damaged; delete the gallery and index the "
                           "pictures again") from fault


class Only(NamedTuple):
    """Which pictures a query may find; as it stands, all.

    Attributes:
        cameras: numbers; empty for all.
        since, until: seconds since 1970, both included; None for no limit.
    """

    cameras: tuple[int, ...] = ()
    since: int | None = None
    until: int | None = None

    def mask(self, cameras: np.ndarray, times: np.ndarray) -> np.ndarray | None:
        """(N,) bool of pictures by their cameras and times; None where all are meant."""
        if self == ALL:
            return None
        chosen = np.ones(len(cameras), bool)
        if self.cameras:
            chosen &= np.isin(cameras, self.cameras)
        if self.since is not None:
            chosen &= times >= self.since
        if self.until is not None:
            chosen &= times <= self.until
        return chosen

    def expression(self) -> str:
        """The same as Milvus reads it."""
        parts = [f"camera in {list(self.cameras)}"] if self.cameras else []
        parts += [f"time >= {self.since}"] if self.since is not None else []
        parts += [f"time <= {self.until}"] if self.until is not None else []
        return " and ".join(parts)


ALL = Only()
