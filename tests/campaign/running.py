"""Run one command as a shell would: in a forked child with a time limit, its words captured."""
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

MEMORY = 3 << 30   # bytes of address space of a command, beside what is there already
FILE = 2 << 30     # bytes of a file that it writes
MARK = "REIDLAB_CAMPAIGN"  # in the environment of everything that a command starts
GRACE = 15.0       # seconds in which processes that a command started may end after it


@dataclass(frozen=True)
class Place:
    """A scratch folder of its own: where a command stands, and what it takes for home and cache.

    Args:
        root: of all of it.
        shared_cache: in place of a cache of its own.
    """

    root: Path
    shared_cache: Path | None = None

    @property
    def work(self) -> Path:
        """The current folder of the command."""
        return self.root / "work"

    @property
    def cache(self) -> Path:
        """``$REIDLAB_CACHE``."""
        return self.shared_cache or self.root / "cache"

    @property
    def home(self) -> Path:
        """``$HOME``; nothing should appear there."""
        return self.root / "home"

    @property
    def temporary(self) -> Path:
        """``$TMPDIR``; nobody looks there."""
        return self.root / "tmp"

    def make(self) -> "Place":
        """The folders on disk."""
        for folder in (self.work, self.cache, self.home, self.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        return self


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        arguments: of the command.
        status: exit status; negative for a signal, None when it was killed for taking too long.
        stdout, stderr: what it said.
        seconds: it took.
        strays: command lines of processes that it started and that outlived it.
    """

    arguments: list[str]
    status: int | None
    stdout: str
    stderr: str
    seconds: float
    strays: tuple[str, ...] = ()


def run(arguments: list[str], place: Place, limit: float = 60.0,
        environment: dict[str, str] | None = None, watch: Callable[[int], None] = lambda pid: None
        ) -> Outcome:
    """Execute ``reidlab ARGUMENTS`` in `place`.

    The caller must have imported the package already, and must not have computed with torch.

    Args:
        arguments: of the command line.
        place: current folder, home and cache.
        limit: seconds until it is killed.
        environment: variables in addition.
        watch: called again and again with the process id while the command runs.
    """
    said = [place.root / "stdout", place.root / "stderr"]
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    child = os.fork()
    if not child:
        _become(arguments, place, environment or {}, said)
    try:
        status = _wait(child, began + limit, watch)
    finally:
        _end_group(child)
    seconds = time.monotonic() - began
    strays = _strays(place) if arguments[:1] in (["compare"], ["sweep"], ["run"]) else ()
    out, err = (file.read_text(encoding="utf-8", errors="backslashreplace") for file in said)
    return Outcome(arguments, status, out, err, round(seconds, 2), strays)


def _become(arguments: list[str], place: Place, environment: dict, said: list[Path]) -> None:
    """Turn this forked process into the command; never returns."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for number, file in ((0, "/dev/null"), (1, said[0]), (2, said[1])):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(file, flags, 0o644), number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1,
                          closefd=False)
        memory = psutil.Process().memory_info().vms + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.chdir(place.work)
        os.environ.update({
            "HOME": str(place.home), "REIDLAB_CACHE": str(place.cache), MARK: str(place.root),
            "TMPDIR": str(place.temporary), "IPYTHONDIR": str(place.temporary)} | environment)
        tempfile.tempdir, sys.argv = None, ["reidlab", *arguments]
        from reidlab.__main__ import main
        status = main(arguments)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # what a shell would see of it
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status or 0)


def _wait(child: int, until: float, watch: Callable[[int], None]) -> int | None:
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            _end_group(child)
            os.waitpid(child, 0)
            return None
        watch(child)
        time.sleep(0.003)


def _end_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _strays(place: Place) -> tuple[str, ...]:
    """End what a command left running, after a while; returns the command lines."""
    until = time.monotonic() + GRACE
    while (left := _marked(place)) and time.monotonic() < until:
        time.sleep(0.2)
    named = []
    for process in left:
        try:
            named.append(" ".join(process.cmdline())[:200])
            process.kill()
        except psutil.Error:
            continue
    return tuple(named)


def _marked(place: Place) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(place.root) and (
                    process.status() != psutil.STATUS_ZOMBIE):
                found.append(process)
        except psutil.Error:
            continue
    return found
