"""A run on disk: one writer, whole files, a log that can be tailed.

    config.json      the experiment, seed, versions, commit
    plan.json        how many steps it takes, and pictures a step
    metrics.jsonl    one object a line, appended
    checkpoints/     last.safetensors (to resume), best.safetensors (to use)
    tokenizer/       of captions, when it was trained here
    report.json      final scores
    stop             create it, and training stops after its step
"""
import json
import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reidlab.changes import from_dict, to_dict
from reidlab.config import Experiment, flatten
from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import write_json, write_whole

LIBRARIES = ("torch", "transformers", "accelerate", "numpy", "scikit-learn")


class RunFolder:
    """The files of one run.

    Args:
        path: the run directory; it need not exist yet.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.plan = self.path / "plan.json"
        self.metrics = self.path / "metrics.jsonl"
        self.last = self.path / "checkpoints" / "last.safetensors"
        self.best = self.path / "checkpoints" / "best.safetensors"
        self.tokenizer = self.path / "tokenizer"
        self.report = self.path / "report.json"
        self.stop = self.path / "stop"
        self.lock = self.path / "lock"

    def start(self, experiment: Experiment) -> None:
        """Take the folder for this process and write what is about to run.

        Raises:
            ReidlabError: another process writes here, the folder holds another experiment or
                things that are no run, or it cannot be written.
        """
        if self.path.is_file():
            raise ReidlabError(f"{self.path} is a file; a run needs a folder")
        if self.config.exists():
            held = self.experiment()
            if held != experiment:
                raise ReidlabError(
                    f"{self.path} holds another experiment ({differences(held, experiment)}); "
                    "choose a new folder or the same settings")
        elif self.path.exists() and any(not self._is_ours(p) for p in self.path.iterdir()):
            raise ReidlabError(f"{self.path} holds files but no run; choose an empty folder")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise ReidlabError(f"cannot make {self.path}: {fault.strerror}; choose a folder you "
                               "may write to") from fault
        self._take_lock()
        for part in self.path.rglob(".*.part"):  # of a process that was killed while writing
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        if not self.config.exists():
            write_json(self.config, {"experiment": to_dict(experiment), **provenance()})

    def _is_ours(self, path: Path) -> bool:
        """What a run that was killed before its config was written leaves behind."""
        return path in (self.lock, self.stop) or path.name.endswith(".part")

    def _take_lock(self) -> None:
        for _ in range(3):
            try:
                handle = os.open(self.lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                owner = self.writer()
                if owner is not None and owner != os.getpid():
                    raise ReidlabError(f"process {owner} is training in {self.path}; stop it "
                                       f"(create {self.stop}) or choose another folder") from None
                self.lock.unlink(missing_ok=True)  # left by a process that was killed
                continue
            except OSError as fault:
                raise ReidlabError(f"cannot write in {self.path}: {fault.strerror}") from fault
            os.write(handle, str(os.getpid()).encode())
            os.close(handle)
            return
        raise ReidlabError(f"cannot take {self.lock}; remove it if nothing trains there")

    def writer(self) -> int | None:
        """Process id of the living writer, if any."""
        try:
            owner = int(self.lock.read_text() or 0)
            os.kill(owner, 0)
        except (OSError, ValueError):
            return None
        return owner if owner > 0 else None

    def release(self) -> None:
        """Give the folder back; a pending stop request is used up."""
        self.lock.unlink(missing_ok=True)
        self.stop.unlink(missing_ok=True)

    def experiment(self) -> Experiment:
        """The experiment that ran here.

        Raises:
            MissingPath: no run; ReidlabError: an unreadable or foreign ``config.json``.
        """
        if not self.config.exists():
            raise MissingPath(f"{self.path} is no run: it has no config.json; train one with "
                              f"reidlab train PRESET --run {self.path}")
        try:
            raw = json.loads(self.config.read_text())
            return from_dict(raw["experiment"])
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as fault:
            raise ReidlabError(f"{self.config} cannot be read as a run's config: {fault}; restore "
                               "it or train anew") from fault

    def log(self, row: dict) -> None:
        """Append one line in a single write: a kill leaves it whole or absent."""
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        try:
            handle = os.open(self.metrics, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
        except OSError as fault:
            raise ReidlabError(f"cannot write {self.metrics}: {fault.strerror}; free some space, "
                               "then resume with the same command") from fault

    def rows(self) -> list[dict]:
        """All whole lines of the log."""
        if not self.metrics.exists():
            return []
        rows = []
        for line in self.metrics.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue  # the disk filled up inside a line
        return rows

    def keep_until(self, step: int) -> None:
        """Forget log lines after `step`, which a resumed run writes again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_whole(self.metrics, lambda out: out.write(text.encode()))


def provenance() -> dict:
    """Versions, commit and time: what a number needs to be believed later."""
    found = {}
    for name in ("reidlab", *LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {"versions": found | {"python": platform.python_version()}, "commit": commit(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}


def commit() -> str:
    """Short id of the checkout this package stands in, ``+`` when it was changed; else unknown."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=here,
                              capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(["git", "status", "--porcelain", "--", "."], cwd=here,
                               capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def differences(a: Experiment, b: Experiment) -> str:
    """The first few fields in which two experiments differ."""
    left, right = flatten(a), flatten(b)
    return ", ".join(f"{k}: {left[k]!r} there, {right[k]!r} asked" for k in left
                     if left[k] != right[k])[:300]
