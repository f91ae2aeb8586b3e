"""A small disk that fills up at a chosen moment: one line, status 2, and later it goes on.

The disk is a tmpfs of a few MB. While a command is held by SIGSTOP, a file takes the rest of the
room; so the next thing that is written is the one that finds none.
"""
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.judging import Finding, last_words, one_line, told, whole
from tests.campaign.running import Place, run
from tests.campaign.world import DESCRIPTION, INFRARED, TEXT, World, compare, sweep, train

MEGABYTES = 24
PAGE = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Scenario:
    """What finds no room.

    Attributes:
        name: the thing that is written when the disk is full.
        command: what runs.
        after: file in the work folder whose appearing fills the disk; None fills it before.
        pages: that stay free.
        lend: what has to lie there before.
        status: that is expected; a cache that finds no room is done without.
    """

    name: str
    command: list[str]
    after: str | None = None
    pages: int = 0
    lend: Callable[[World, Place], object] = lambda world, place: None
    status: int = 2


def scenarios() -> list[Scenario]:
    """Every kind of file that the package writes."""
    exports = [Scenario(f"export of {layout}, {pages} pages", [
        "data", "export", "new", "--layout", layout, "--people", "12", "--held-out", "12",
        "--picture", "48x32", "--shots", "2"], pages=pages)
        for layout in ("cuhk-pedes", "regdb") for pages in (0, 1, 9, 60)]
    trained = [Scenario(f"{name} of {design}", train(design), after, pages)
               for design in (TEXT, INFRARED) for name, after, pages in (
                   *((f"first files, {pages} pages", None, pages) for pages in range(6)),
                   ("plan", "run/config.json", 0),
                   ("log", "run/plan.json", 0), ("second row of the log", "run/metrics.jsonl", 0),
                   ("checkpoint", "run/metrics.jsonl", 20),
                   ("next checkpoint", "run/checkpoints/last.safetensors", 2),
                   ("best weights", "run/checkpoints/last.safetensors", 190),
                   ("report", "run/machine.json", 0), ("report, a page", "run/machine.json", 1))]
    read = [Scenario(f"table of compare, {pages} pages", compare(TEXT), None, pages,
                     lambda world, place: world.lend_runs(place, "compare", TEXT))
            for pages in (0, 1, 2, 4, 8)]
    return [*trained, *exports, *read,
            Scenario("what follows the tokenizer", train(TEXT), "run/tokenizer"),
            Scenario("table of sweep", sweep(TEXT),
                     lend=lambda world, place: world.lend_runs(place, "sweep", TEXT)),
            Scenario("report of evaluate", ["evaluate", "run"], lend=_without_report),
            *(Scenario(f"picture of a search, {pages} pages", ["search", "run", DESCRIPTION],
                       None, pages, lambda world, place: world.lend_run(place, TEXT))
              for pages in (0, 1)),
            Scenario("log of a launched run", compare(TEXT)),
            Scenario("cache", train(TEXT), status=0), Scenario("cache, some", train(TEXT),
                                                               pages=30, status=0)]


def _without_report(world: World, place: Place) -> None:
    (world.lend_run(place, TEXT) / "report.json").unlink()


def fill_up(world: World, scratch: Path, limit: float) -> Iterator[dict]:
    """Every scenario on a disk of its own; one word when there may be none.

    Args:
        world: sound folders.
        scratch: disks are mounted in it.
        limit: seconds a command.
    """
    for number, scenario in enumerate(scenarios()):
        with _small_disk(scratch / f"disk-{number}") as fault:
            if fault:
                yield {"what": f"skipped: {fault}", "outcomes": [], "findings": []}
                return
            yield _examine(world, scenario, scratch / f"disk-{number}", scratch / f"place-{number}",
                           limit)


@contextmanager
def _small_disk(where: Path) -> Iterator[str]:
    """A mounted tmpfs, unmounted whatever happens; yields why there is none."""
    if os.geteuid():
        yield "only root may mount a small disk"
        return
    where.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "campaign",
                           str(where)], capture_output=True, text=True)
    try:
        yield made.stderr.strip() if made.returncode else ""
    finally:
        if not made.returncode:
            subprocess.run(["umount", "--lazy", str(where)], check=False)


class _Filler:
    """Takes the room of a disk as soon as a file is there; holds the command meanwhile."""

    def __init__(self, disk: Path, after: Path | None, pages: int):
        self.disk, self.after, self.pages, self.full = disk, after, pages, False
        if after is None:
            self.fill()

    def __call__(self, pid: int) -> None:
        if self.full or not (self.after and self.after.exists()):
            return
        os.killpg(pid, signal.SIGSTOP)
        self.fill()
        os.killpg(pid, signal.SIGCONT)

    def fill(self) -> None:
        """Leave `pages` free."""
        with open(self.disk / "filler", "wb", buffering=0) as out:
            free = os.statvfs(self.disk).f_bavail
            for _ in range(max(0, free - self.pages)):
                out.write(bytes(PAGE))
        self.full = True

    def make_room(self) -> None:
        """Give it all back."""
        (self.disk / "filler").unlink(missing_ok=True)


def _examine(world: World, scenario: Scenario, disk: Path, root: Path, limit: float) -> dict:
    """The command on the full disk, what it leaves, and the same command with room."""
    cached = scenario.name.startswith("cache")
    place = Place(root, disk / "cache" if cached else None).make()
    if not cached:
        world.lend_cache(place)
        place.work.rmdir()
        (disk / "work").mkdir()
        place.work.symlink_to(disk / "work")
    scenario.lend(world, place)
    after = place.work / scenario.after if scenario.after else None
    filler = _Filler(disk, after, scenario.pages)
    outcome = run(scenario.command, place, limit, watch=filler)
    findings = told(outcome)
    if not filler.full:
        findings.append(Finding("not full", "", f"{scenario.after} never appeared"))
    elif outcome.status != scenario.status and not findings:
        findings.append(Finding("status", "", f"status {outcome.status} on a full disk: "
                                              f"{one_line(last_words(outcome.stderr))}"))
    findings += _left(place, scenario)
    filler.make_room()
    again = run(scenario.command, place, limit)
    if again.status:
        findings.append(Finding("refused", "", "with room again the same command says: "
                                + one_line(last_words(again.stderr))))
    shutil.rmtree(root, ignore_errors=True)
    return {"what": scenario.name, "outcomes": [
        {"command": o.arguments, "status": o.status, "stderr": o.stderr[-2000:]}
        for o in (outcome, again)],
        "findings": [Finding(f.kind, f.where, f"{scenario.name}: {f.what}").to_dict()
                     for f in dict.fromkeys(findings)]}


def _left(place: Place, scenario: Scenario) -> Iterator[Finding]:
    """Half-written files, parts, locks, and what an export leaves."""
    for top in (place.work.resolve(), place.cache):
        for path in sorted(top.rglob("*")):
            shown = path.relative_to(top)
            if ".part" in path.name or path.name == "lock":
                yield Finding("leftover", "", f"{shown} stays")
            elif path.suffix in (".json", ".jsonl") and path.is_file() and not whole(path):
                yield Finding("half", "", f"{shown} is half written")
    if scenario.command[:2] == ["data", "export"] and (place.work / "new").exists():
        yield Finding("leftover", "", "a part of the export stays")
