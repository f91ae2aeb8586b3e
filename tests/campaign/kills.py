"""``kill -9`` at random moments, again and again, until the run has finished all the same.

A victim must end as a run that nobody touched: the same log to the last digit but for the clock,
the same report but for versions, commit and time, and nothing left behind.
"""
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event

from tests.campaign.judging import Finding, last_words, one_line, whole

DESIGNS = {  # design → fields of its own; the rest of a mini run is the same
    "attention": {"data.outfits": 2},
    "corrected": {},
    "embednet_corrected": {"training.checkpoint_every": 2},
}
MINI = {
    "data.people": 24,
    "data.val_people": 12,
    "data.test_people": 12,
    "data.images_per_outfit": 2,
    "training.epochs": 3,
    "training.batches_per_epoch": 4,
    "training.batch_size": 16,
    "training.monitor_every": 5,
    "training.validate_every": 2,
    "training.checkpoint_every": 3,
    "training.warmup": 4,
}
ONCE = ("run", "run/config.json", "run/tokenizer", "cache")  # written once in the life of a run
EVENTS = (*ONCE, "run/lock", "run/plan.json", "run/metrics.jsonl", "run/machine.json",
          "run/checkpoints/last.safetensors", "run/checkpoints/best.safetensors",
          "run/report.json", "any part", "any part", "any part of the cache", "any of the cache")
PATIENCE = 300.0  # seconds in which an attempt must end
CLOCK = {"metrics.jsonl": ("seconds",), "report.json": ("versions", "commit", "started")}


@dataclass(frozen=True)
class Moment:
    """When to kill: some seconds after the start, or after a file appeared or changed."""

    seconds: float
    event: str = ""

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s after {self.event or 'the start'}"


@dataclass
class Victim:
    """One run with a cache of its own, and what was found about it."""

    design: str
    root: Path
    findings: list[Finding] = field(default_factory=list)
    moments: list[str] = field(default_factory=list)
    began: float = 0.0  # of the latest attempt, by the wall clock of files
    ending: Event = field(default_factory=Event)  # set when the campaign itself is stopped

    @property
    def run(self) -> Path:
        """Its run folder."""
        return self.root / "run"

    @property
    def command(self) -> list[str]:
        """What is started and killed, as typed."""
        fields = MINI | DESIGNS[self.design]
        return ["train", self.design, "--run", "run", "--set",
                *(f"{name}={value}" for name, value in fields.items())]

    def start(self) -> subprocess.Popen:
        """The command in a process group of its own."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.began = time.time()
        with open(self.root / "stderr", "wb") as error:
            return subprocess.Popen(
                [sys.executable, "-m", "reidlab", *self.command], cwd=self.root, stderr=error,
                stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | {"REIDLAB_CACHE": str(self.root / "cache")})

    def blame(self, kind: str, what: str) -> None:
        """Take a finding down."""
        self.findings.append(Finding(kind, "", one_line(f"{self.design}: {what}", 300)))

    @property
    def scored(self) -> bool:
        """Whether its last file is there."""
        return (self.run / "report.json").exists()

    def phase(self) -> str:
        """What it was doing when it was killed, by the files of this attempt."""
        log, machine = self.run / "metrics.jsonl", self.run / "machine.json"
        if self.scored:
            return "after the report"
        if any((self.run / "checkpoints").glob(".*.part")):
            return "writing a checkpoint"
        if machine.exists() and machine.stat().st_mtime > self.began:
            return "scoring"
        if not log.exists() or log.stat().st_mtime < self.began:
            return "start-up"
        epochs = (self.last_step() + 1) / MINI["training.batches_per_epoch"]
        return "validation" if epochs in (2, MINI["training.epochs"]) else "steps"

    def last_step(self) -> int:
        """Of the log; 0 when there is none."""
        rows = rows_of(self.run / "metrics.jsonl")
        return rows[-1]["step"] if rows else 0


@dataclass(frozen=True)
class Reference:
    """An undisturbed run: what it wrote; seconds to its first and last row, report and end."""

    rows: list[dict]
    report: dict
    first: float
    last: float
    scored: float
    end: float

    def left_after(self, step: int) -> float:
        """Seconds that a restart from a step takes to its end."""
        share = 1 - step / len(self.rows)
        return self.first + share * (self.last - self.first) + self.end - self.last


def kill_all(kills: int, seed: int, at_once: int, scratch: Path) -> Iterator[dict]:
    """References first, then victims of the designs in turn until `kills` are done in all."""
    # one after the other: their times are the measure
    references = {design: _undisturbed(Victim(design, scratch / design)) for design in DESIGNS}
    ending, planned, number, running = Event(), 0, 0, set()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while running or planned < kills and number <= kills:
                while planned < kills and number <= kills and len(running) < at_once:
                    design, random = [*DESIGNS][number % len(DESIGNS)], Random(f"{seed}/{number}")
                    count = min(random.randint(3, 9), kills - planned)
                    victim = Victim(design, scratch / f"victim-{number}", ending=ending)
                    running.add(pool.submit(_torment, victim, references[design], count, random))
                    planned, number = planned + count, number + 1
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                for job in ended:
                    planned -= job.result()["unused"]  # it finished before the moment came
                    yield job.result()
        finally:
            ending.set()


def _undisturbed(victim: Victim) -> Reference:
    began, seen = time.monotonic(), {}
    process, log = victim.start(), victim.run / "metrics.jsonl"
    try:
        while process.poll() is None:
            for file in (log, victim.run / "machine.json", victim.run / "report.json"):
                if file.exists() and file.stat().st_size:
                    seen.setdefault(file.name, time.monotonic() - began)
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise SystemExit("campaign: a sound command fails: reidlab "
                         f"{' '.join(victim.command)}: {_said(victim)}")
    report = json.loads((victim.run / "report.json").read_text())
    first, last, scored = (seen.get(name, 0.0) for name in ("metrics.jsonl", "machine.json",
                                                            "report.json"))
    return Reference(rows_of(log), report, first, last, scored, time.monotonic() - began)


def _said(victim: Victim) -> str:
    return last_words((victim.root / "stderr").read_text(errors="backslashreplace"))


def rows_of(log: Path) -> list[dict]:
    """Rows of a log; a damaged line counts as none."""
    rows = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _torment(victim: Victim, reference: Reference, count: int, random: Random) -> dict:
    """Kill `count` times, let it finish, compare; returns the result as plain data."""
    killed = 0
    while True:
        done = killed == count or victim.scored  # from here on there is nothing to lose
        moment = None if done else _draw(random, victim, reference)
        process = victim.start()
        if _kill_at(victim, process, moment, time.monotonic() + PATIENCE):
            killed += 1
            victim.moments.append(f"{moment}: {victim.phase()}")
            _look_after_kill(victim)
            continue
        if process.returncode > 0:
            victim.blame("refused", f"the same command ends {process.returncode}: {_said(victim)}; "
                                    f"killed {victim.moments[-1:]}")
        break
    if process.returncode == 0:
        _compare(victim, reference)
    return {"what": f"{victim.design}, {killed} kills", "kills": killed, "unused": count - killed,
            "moments": victim.moments,
            "outcomes": [{"command": victim.command, "status": process.returncode}],
            "findings": [f.to_dict() for f in dict.fromkeys(victim.findings)]}


def _draw(random: Random, victim: Victim, reference: Reference) -> Moment:
    """Any time of what is left, a time among the steps or while it scores, or at an event."""
    kind = random.choice(("any", "steps", "scoring", "event", "event"))
    if kind == "any":
        return Moment(random.uniform(0, reference.left_after(victim.last_step())))
    if kind == "steps":
        return Moment(random.uniform(0, reference.last - reference.first), "run/metrics.jsonl")
    if kind == "scoring":
        return Moment(random.uniform(0, reference.scored - reference.last), "run/machine.json")
    possible = [e for e in EVENTS if e not in ONCE or not (victim.root / e).exists()]
    return Moment(random.choice((0.0, 0.0, random.uniform(0, 0.3))), random.choice(possible))


def _kill_at(victim: Victim, process: subprocess.Popen, moment: Moment | None, until: float
             ) -> bool:
    """Wait for the moment and kill the group; False when the process ended before it."""
    began = time.monotonic()
    event = moment.event if moment else ""
    start = None if event else began
    before = _sight(victim, event)
    while process.poll() is None:
        now = time.monotonic()
        if start is None and _sight(victim, event) != before:
            start = now
        if now > until:
            victim.blame("hang", f"not done after {PATIENCE:.0f} s")
        late = now > until or victim.ending.is_set()
        if late or moment and start is not None and now >= start + moment.seconds:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return not late
        time.sleep(0.002)
    return False


def _sight(victim: Victim, event: str):
    """What an event is seen by: a file's time and size, or the names of a folder."""
    if event.startswith("any"):
        top = victim.root / ("cache" if event.endswith("cache") else "run")
        names = {e.name for folder in (top, top / "checkpoints") if folder.is_dir()
                 for e in os.scandir(folder)}
        return {n for n in names if n.endswith(".part")} if "part" in event else names
    try:
        found = os.stat(victim.root / event)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _look_after_kill(victim: Victim) -> None:
    """Whatever the moment, every file that has its name is whole."""
    for top in (victim.run, victim.root / "cache"):
        for file in sorted(top.rglob("*.json*")):
            if not file.name.endswith(".part") and ".part" not in str(file.parent) and (
                    not whole(file)):
                victim.blame("half", f"{file.relative_to(victim.root)} is half written; killed "
                                     f"{victim.moments[-1]}")


def _compare(victim: Victim, reference: Reference) -> None:
    rows, report = rows_of(victim.run / "metrics.jsonl"), victim.run / "report.json"
    if len(rows) != len(reference.rows):
        victim.blame("difference", f"{len(rows)} rows; {len(reference.rows)} without kills")
    for mine, theirs in zip(rows, reference.rows, strict=False):
        _same(victim, mine, theirs, CLOCK["metrics.jsonl"], f"row {theirs['step']}")
    if report.exists():
        _same(victim, json.loads(report.read_text()), reference.report, CLOCK["report.json"],
              "report.json")
    else:
        victim.blame("difference", "no report.json")
    for top in (victim.run, victim.root / "cache"):
        for path in sorted(top.rglob("*")):
            if ".part" in path.name or path.name in ("lock", "stop"):
                victim.blame("leftover", f"{path.relative_to(victim.root)} stays")


def _same(victim: Victim, mine: dict, theirs: dict, but: tuple[str, ...], where: str) -> None:
    for key in sorted(mine.keys() | theirs.keys()):
        if key not in but and mine.get(key) != theirs.get(key):
            victim.blame("difference", f"{where}, {key}: {mine.get(key)!r:.60}; "
                                       f"{theirs.get(key)!r:.60} without kills")
