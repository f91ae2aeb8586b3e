"""A run on disk: one writer, whole files, a log that can be tailed.

    config.json      the experiment, seed, fingerprint of its data, versions, commit
    plan.json        how many steps it takes, and pictures a step
    metrics.jsonl    one object a line, appended
    lock             who writes here at the moment
    checkpoints/     last.safetensors (to resume), best.safetensors (to use)
    tokenizer/       of captions
    encoders/        what published encoders are, without their weights
    report.json      final scores
    stop             create it, and training stops after its step
"""
import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from reidlab.config import Experiment, flatten
from reidlab.config.changes import from_dict, to_dict
from reidlab.errors import MissingPath, ReidlabError
from reidlab.files import read_json, usable, write_json, write_whole
from reidlab.runs import lock
from reidlab.runs.provenance import provenance


class RunFolder:
    """The files of one run.

    Args:
        path: the run directory; it need not exist yet.

    Raises:
        ReidlabError: a path that no file system can hold.
    """

    def __init__(self, path: str | Path):
        self.path = usable(path)
        self.config = self.path / "config.json"
        self.plan = self.path / "plan.json"
        self.metrics = self.path / "metrics.jsonl"
        self.last = self.path / "checkpoints" / "last.safetensors"
        self.best = self.path / "checkpoints" / "best.safetensors"
        self.tokenizer = self.path / "tokenizer"
        self.encoders = self.path / "encoders"
        self.report = self.path / "report.json"
        self.stop = self.path / "stop"
        self.lock = self.path / "lock"

    def start(self, experiment: Experiment) -> None:
        """Take the folder for this process; `describe` then says what runs in it.

        Nothing is left behind by a refusal: the folder can be used by the corrected command.

        Raises:
            ReidlabError: another process writes here, the folder holds another experiment or
                things that are no run, or it cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ReidlabError(f"{self.path} is a file; a run needs a folder")
        self.refuse_another(experiment)
        try:
            if not self.config.exists() and self.path.exists() and any(
                    not self._is_ours(p) for p in self.path.iterdir()):
                raise ReidlabError(f"{self.path} holds files but no run; choose an empty folder")
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise ReidlabError(f"cannot make {self.path}: {fault.strerror}; choose a folder you "
                               "may write to") from fault
        lock.take(self.lock)
        for part in self.path.rglob(".*.part"):  # of a process that was killed while writing
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)

    def refuse_another(self, experiment: Experiment) -> None:
        """Stop when another experiment than this one was run here.

        Raises:
            ReidlabError: the fields in which the two differ.
        """
        if self.config.exists():
            held = self.experiment()
            if held != experiment:
                raise ReidlabError(
                    f"{self.path} holds another experiment ({differences(held, experiment)}); "
                    "choose a new folder or the same settings")

    def refuse_other_weights(self, now: dict[str, str]) -> None:
        """Stop when the run started from other weights of the same name.

        Args:
            now: field → digest of the pretrained weights it names today; only what can be read.

        Raises:
            ReidlabError: which field.
        """
        if not self.config.exists():
            return
        raw = read_json(self.config)
        held = raw.get("weights") if isinstance(raw, dict) else None
        before = held if isinstance(held, dict) else {}
        for name in now:
            if before.get(name, now[name]) != now[name]:
                raise ReidlabError(
                    f"{self.path} started from other weights than {name} holds now (digest "
                    f"{before[name]} then, {now[name]} now); restore them, or choose a new folder")

    def describe(self, experiment: Experiment, **more) -> None:
        """Write ``config.json``, once data and model are known to be sound.

        Args:
            experiment: what runs here.
            more: plain facts to keep beside it, such as the fingerprint of the data.
        """
        if not self.config.exists():
            write_json(self.config, {"experiment": to_dict(experiment), **more, **provenance()})

    def abandon(self) -> None:
        """Leave no trace of a start that was refused before anything was described."""
        self.release()
        if not self.config.exists():
            for made in (self.tokenizer, self.encoders):
                shutil.rmtree(made, ignore_errors=True)
            with contextlib.suppress(OSError):  # not empty: something else lies there
                self.path.rmdir()

    def _is_ours(self, path: Path) -> bool:
        """What a run that was killed before its config was written leaves behind."""
        return (path in (self.lock, self.stop, self.tokenizer, self.encoders)
                or path.name.endswith(".part") or path.name == f".{self.lock.name}.guard")

    def writer(self) -> lock.Writer | None:
        """The living process that writes here, if any."""
        return lock.holder(self.lock)

    def release(self) -> None:
        """Give the folder back; a pending stop request is used up."""
        lock.give_back(self.lock)
        self.forget_stop()

    def forget_dead_writer(self) -> None:
        """Remove the lock of a process that was killed after its last file was written."""
        if self.lock.is_file() and self.writer() is None:
            self.lock.unlink(missing_ok=True)

    def forget_stop(self) -> None:
        """Take back a request to stop."""
        with contextlib.suppress(OSError):  # somebody made a folder of that name
            self.stop.unlink(missing_ok=True)

    def experiment(self) -> Experiment:
        """The experiment that ran here.

        Raises:
            MissingPath: no run; ReidlabError: an unreadable ``config.json``, or that of something
                else.
        """
        if not self.config.exists():
            raise MissingPath(f"{self.path} is no run: it has no config.json; train one with "
                              f"reidlab train PRESET --run {self.path}")
        return from_dict(self._described("experiment"))

    def _described(self, key: str):
        raw = read_json(self.config)
        if not isinstance(raw, dict) or key not in raw:
            raise ReidlabError(f"{self.config} cannot be read as a run's config: it has no "
                               f"{key!r}; restore it or train again")
        return raw[key]

    def fingerprint(self) -> str | None:
        """Digest of the data that the run was trained on; None where none was kept."""
        raw = read_json(self.config)
        return raw.get("data") if isinstance(raw, dict) else None

    def weights_digest(self) -> str:
        """Sixteen hex digits of the best weights: what was made by them can be told from others'.

        Raises:
            MissingPath: no checkpoint yet.
        """
        try:
            with open(self.best, "rb") as weights:
                return hashlib.file_digest(weights, "sha256").hexdigest()[:16]
        except OSError as fault:
            raise MissingPath(f"no checkpoint {self.best}: {fault.strerror}; train the run first"
                              ) from fault

    def log(self, row: dict) -> None:
        """Append one line in a single write: a kill leaves it whole or absent.

        Raises:
            ReidlabError: a number that is none, or no room.
        """
        wrong = [f"{k} is {v}" for k, v in row.items() if isinstance(v, float)
                 and not math.isfinite(v)]
        if wrong:
            raise ReidlabError(f"at step {row.get('step')} {wrong[0]}; lower training.lr or set "
                               "training.max_grad_norm, then train in a new folder")
        line = (json.dumps(row) + "\n").encode()
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
        """All whole lines of the log; a line that is none is left out."""
        if not self.metrics.is_file():
            return []
        return list(_rows(self.metrics.read_text(encoding="utf-8", errors="replace").splitlines()))

    def planned(self) -> dict:
        """Steps of the whole run and pictures a step, by ``plan.json``; empty where unknown."""
        try:
            found = read_json(self.plan)
        except ReidlabError:
            return {}
        return found if isinstance(found, dict) and all(
            isinstance(found.get(k), int) for k in ("steps", "batch_size")) else {}

    def latest(self, most: int = 1 << 16) -> dict:
        """The last row of the log, read from its end; empty while there is none."""
        if not self.metrics.is_file():
            return {}
        with open(self.metrics, "rb") as log:
            log.seek(max(0, self.metrics.stat().st_size - most))
            return next(_rows(reversed(log.read().decode(errors="replace").splitlines())), {})

    def scores(self) -> dict:
        """What ``report.json`` holds.

        Raises:
            MissingPath: no report; ReidlabError: a damaged one.
        """
        found = read_json(self.report)
        if not isinstance(found, dict) or not isinstance(found.get("tables"), dict):
            raise ReidlabError(f"{self.report} is no report; delete it and score the run again "
                               f"with reidlab evaluate {self.path}")
        return found

    def keep_until(self, step: int) -> None:
        """Forget log lines after `step`, which a resumed run writes again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_whole(self.metrics, lambda out: out.write(text.encode()))


def _rows(lines: Iterable[str]) -> Iterator[dict]:
    """Whole lines of a log; what a full disk or another hand left of a line is passed over."""
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int) and isinstance(
                    row.get("seconds", 0), int | float):
                yield row


def differences(a: Experiment, b: Experiment) -> str:
    """The first few fields in which two experiments differ."""
    left, right = ({"task": e.task, **flatten(e)} for e in (a, b))
    return ", ".join(f"{k}: {left.get(k)!r} there, {right.get(k)!r} asked"
                     for k in dict.fromkeys((*left, *right)) if left.get(k) != right.get(k))[:300]
