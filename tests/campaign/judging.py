"""What counts as a finding, from how a command ended and what lies on the disk afterwards."""
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from tests.campaign.running import Outcome, Place

STATUSES = (0, 1, 2, 130)
PYTHON = ("NoneType", "not subscriptable", "[Errno", "object has no attribute", "reidlab: reidlab:",
          "not iterable", "unexpected keyword argument", "invalid literal for", "<class '",
          "not supported between instances", "index out of range", "codec can't", "unhashable",
          "positional arguments but", "embedded null byte")
RAISED = re.compile(r"\b(?!Reidlab)[A-Z][A-Za-z]+(?:Error|Exception)\b")
BAR = re.compile(r"\d+%\|.*\|.*\[.*\]|step/s|\bs/step")
NOTICE = re.compile(r"^training: |^training:$|has no val split: ")  # said on purpose, before
FRAME = re.compile(r'File "[^"\n]*?(reidlab/[\w/]+\.py)", line (\d+), in (\w+)')


@dataclass(frozen=True)
class Finding:
    """One thing that should not be.

    Attributes:
        kind: traceback, hang, status, message, words, leftover, half, changed, blocked, accepted,
            checked, difference, refused …
        where: ``file:line`` of the last frame in the package; empty without a traceback.
        what: in one line.
    """

    kind: str
    where: str
    what: str

    def to_dict(self) -> dict:
        """Plain data."""
        return asdict(self)


def one_line(text: str, most: int = 160) -> str:
    """Text that is safe to print, short and on one line."""
    text = " ".join(text.encode("unicode_escape", "surrogatepass").decode().split())
    return text if len(text) <= most else f"{text[:most - 20]}…{text[-18:]}"


def told(outcome: Outcome) -> list[Finding]:
    """Findings in exit status and words."""
    if outcome.status is None:
        return [Finding("hang", "", f"killed after {outcome.seconds:.0f} s")]
    found, error = [], outcome.stderr
    if "Traceback (most recent call last)" in error:
        frames = FRAME.findall(error)
        where = "{}:{}".format(*frames[-1][:2]) if frames else ""
        found.append(Finding("traceback", where, one_line(last_words(error))))
    elif outcome.status not in STATUSES:
        said = one_line(last_words(error))
        found.append(Finding("status", "", f"status {outcome.status}: {said}"))
    elif outcome.status == 2:
        found += _message(error)
    if "Traceback" not in error and outcome.arguments[:1] != ["run"]:
        found += _words(outcome)
    found += [Finding("leftover", "", f"a process runs on: {stray}") for stray in outcome.strays]
    return found


def last_words(error: str) -> str:
    """The last words of a command, without its progress bar."""
    lines = [line.strip() for line in re.split(r"[\n\r]", error)]
    return ([line for line in lines if line and not BAR.search(line)] or ["no word"])[-1]


def _message(error: str) -> Iterable[Finding]:
    """Status 2 says one line; a progress bar and notices may stand above it."""
    lines = [line for line in re.split(r"[\n\r]", error) if line.strip()]
    said = [line for line in lines if not BAR.search(line) and not NOTICE.search(line)]
    if len(said) == 1 and not error.splitlines()[-1].startswith("reidlab: "):
        yield Finding("message", "", f"not a line of its own: {one_line(last_words(error))}")
    elif len(said) != 1:
        glued = next((line for line in lines if BAR.search(line) and "reidlab: " in line), None)
        what = f"glued to the progress bar: {one_line(glued[glued.index('reidlab: '):])}" if (
            glued) else f"{len(said)} lines: {one_line(' / '.join(said))}"
        yield Finding("message", "", what)


def _words(outcome: Outcome) -> Iterable[Finding]:
    typed = " ".join(outcome.arguments)
    for line in (outcome.stderr + "\n" + outcome.stdout).splitlines():
        words = [word for word in PYTHON if word in line] + RAISED.findall(line)
        words = [word for word in words if word not in typed]
        if words:
            yield Finding("words", "", f"{words[0]!r} in: {one_line(line)}")
            return


def outputs(arguments: list[str], work: Path) -> list[Path]:
    """What a command was told to write, files or folders."""
    def after(option: str) -> str | None:
        return next((b for a, b in pairwise(arguments) if a == option), None)

    command = " ".join(arguments[:1] if arguments[:1] != ["data"] else arguments[:2])
    first = next((a for a in arguments[1:2]), "")
    named = {"train": after("--run"), "compare": after("--out"), "sweep": after("--out"),
             "evaluate": f"{first}/report.json",
             "search": after("--draw") or f"{first}/search.png",
             "data export": next((a for a in arguments[2:3]), "")}.get(command)
    return [] if named is None else [Path(os.path.normpath(work / named))]


def snapshot(place: Place) -> dict[Path, str]:
    """Path → kind and digest of everything in a place, links not followed."""
    found = {}
    for top in (place.work, place.home, place.cache):
        for folder, inner, files in os.walk(top):
            for name in inner + files:
                path = Path(folder) / name
                if path.is_symlink():
                    found[path] = f"link to {os.readlink(path)}"
                elif path.is_file():
                    found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
                else:
                    found[path] = "folder" if path.is_dir() else "special"
    return found


def left(outcome: Outcome, place: Place, before: dict[Path, str], after: dict[Path, str],
         cache: str = "") -> list[Finding]:
    """Findings among the files: what is new, gone, changed or half-written.

    Args:
        outcome: of the command that ran between the two snapshots.
        place: where it ran.
        before, after: snapshots.
        cache: another cache than that of the place.
    """
    if outcome.status is None or outcome.status < 0:
        return []  # killed: what is left then is the business of `kills`
    refused = outcome.status == 2
    allowed = outputs(outcome.arguments, place.work)
    if refused and outcome.arguments[:2] == ["data", "export"]:
        allowed = []
    if cache:
        allowed.append(Path(os.path.normpath(place.work / cache)))
    found = []
    for path in sorted(after.keys() | before.keys()):
        if after.get(path) == before.get(path):
            continue
        shown = one_line(str(path.relative_to(place.root)), 80)
        inside = any(top in (path, *path.parents) or path in top.parents for top in allowed)
        if path in after and ".part" in path.name:
            found.append(Finding("leftover", "", f"{shown} stays"))
        elif path.name == "lock" and path in after and path not in before:
            found.append(Finding("leftover", "", f"{shown} stays"))
        elif path.suffix in (".json", ".jsonl") and after.get(path) and not whole(path):
            found.append(Finding("half", "", f"{shown} is half written"))
        elif place.cache in path.parents or inside:
            continue
        elif path not in before:
            found.append(Finding("leftover", "", f"{shown} is new"))
        elif after.get(path) is None or before[path] != "folder":
            fate = "changed" if path in after else "gone"
            found.append(Finding("changed", "", f"{shown} is {fate}"))
    return found[:6]


def whole(path: Path) -> bool:
    """Whether a JSON file, or each line of a log, can be parsed."""
    try:
        texts = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        for text in texts:
            json.loads(text)
    except (OSError, ValueError, RecursionError):
        return False
    return True
