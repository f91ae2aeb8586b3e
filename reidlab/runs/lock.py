"""Who writes in a run: one process on one host, known by its number and the moment it started.

A number alone does not tell: after a kill somebody else may get it.
"""
import contextlib
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from reidlab.errors import ReidlabError
from reidlab.files import read_json, write_json

SAME_START = 2.0  # seconds by which one process's start may seem to differ after the clock was set


@dataclass(frozen=True)
class Writer:
    """A process that holds a run.

    Attributes:
        pid: its number; host: where it runs; started: seconds since 1970.
    """

    pid: int
    host: str
    started: float

    @property
    def elsewhere(self) -> bool:
        """On another host, where nobody can look from here whether it lives."""
        return self.host != socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether it still runs; true for a writer on another host, until its lock is removed."""
        if self.elsewhere:
            return True
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < SAME_START
        except (psutil.Error, ValueError, OverflowError):
            return False


def this_process() -> Writer:
    """The calling process."""
    return Writer(os.getpid(), socket.gethostname(), psutil.Process().create_time())


def holder(lock: Path) -> Writer | None:
    """The living process that a lock file names, if any; a damaged file names nobody."""
    try:
        raw = read_json(lock)
        found = Writer(int(raw["pid"]), str(raw["host"]), float(raw["started"]))
    except (ReidlabError, KeyError, TypeError, ValueError, OverflowError):
        return None
    return found if found.lives else None


def take(lock: Path, doing: str = "training") -> None:
    """Name this process in `lock`; taking is itself guarded, so that two never both succeed.

    Args:
        lock: the file.
        doing: what its holders do, for the one who is refused.

    Raises:
        ReidlabError: another living process holds it, or the folder cannot be written.
    """
    guard = lock.with_name(f".{lock.name}.guard")
    try:
        with FileLock(guard, timeout=10):
            owner = holder(lock)
            if owner is not None and owner != this_process():
                where = f" on {owner.host}" if owner.elsewhere else ""
                fix = (f"; remove {lock} if it does not" if owner.elsewhere else
                       f" (create {lock.with_name('stop')})" if doing == "training" else "")
                raise ReidlabError(f"process {owner.pid}{where} is {doing} in {lock.parent}; "
                                   f"stop it{fix}, or choose another folder")
            if lock.is_dir():
                raise ReidlabError(f"{lock} is a folder; a run needs that name, remove it")
            write_json(lock, asdict(this_process()))
    except Timeout as fault:
        raise ReidlabError(f"cannot take {lock}: {guard} is held; try again") from fault
    except OSError as fault:
        raise ReidlabError(f"cannot write in {lock.parent}: {fault.strerror or fault}; choose a "
                           "folder you may write to") from fault
    finally:
        with contextlib.suppress(OSError):
            guard.unlink()


def give_back(lock: Path) -> None:
    """Remove this process's name, never another's."""
    if holder(lock) == this_process():
        lock.unlink(missing_ok=True)
