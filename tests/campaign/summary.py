"""Counts, and every finding in one line: ``campaign.json`` and ``campaign.md``."""
import json
import re
import shlex
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path

from tests.campaign.judging import one_line

OUTCOMES = {0: "accepted", 1: "check failed (1)", 2: "refused (2)", 130: "stopped (130)",
            None: "hang"}


def write(results: dict[str, list[dict]], folder: Path, seed: int) -> int:
    """Write both files.

    Args:
        results: part (kills, inputs, disk) → what it gave, each with ``findings``.
        folder: to write in.
        seed: of the campaign, for the command lines that repeat a case.

    Returns:
        Number of findings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    findings = [
        {"part": part, **finding, "again": _again(part, one, seed), "example": _example(one)}
        for part, found in results.items() for one in found for finding in one["findings"]]
    counts = _counts(results, findings)
    whole = {"seed": seed, "counts": counts, "findings": findings, **results}
    (folder / "campaign.json").write_text(json.dumps(whole, indent=1))
    (folder / "campaign.md").write_text(
        "\n".join(_lines(counts, findings, results.get("inputs", []))) + "\n")
    return len(findings)


def _again(part: str, one: dict, seed: int) -> str:
    seeded = f" --seed {seed}" if seed else ""
    if part == "inputs":
        return f"python -m tests.campaign --case {one['case']}{seeded}"
    return f"python -m tests.campaign --only {part}{seeded}"


def _example(one: dict) -> str:
    said = command(one["outcomes"][-1]["command"]) if one["outcomes"] else ""
    return f"`{said}` ({one['what']})" if not one["what"].startswith("reidlab ") else f"`{said}`"


def command(arguments: list[str]) -> str:
    """A command as it could be typed; the settings of a small run are three dots."""
    words = []
    for word in ("reidlab", *arguments):
        word = "…" if word in _usual() else shlex.quote(one_line(word, 60))
        words += [word] if word != "…" or words[-1] != "…" else []
    return " ".join(words)


@lru_cache
def _usual() -> set[str]:
    from tests.campaign.kills import DESIGNS, MINI
    from tests.campaign.world import SMALL
    return {f"{name}={value}" for fields in (*SMALL.values(), MINI, *DESIGNS.values())
            for name, value in fields.items()}


def _counts(results: dict, findings: list[dict]) -> dict:
    inputs = results.get("inputs", [])
    ends = Counter(_ending(o["status"]) for one in inputs for o in one["outcomes"])
    return {
        "kills": sum(one["kills"] for one in results.get("kills", [])),
        "victims": len(results.get("kills", [])),
        "kills by phase": dict(Counter(moment.rpartition(": ")[2] for one in
                                       results.get("kills", []) for moment in one["moments"])),
        "differences": sum(f["kind"] == "difference" for f in findings),
        "inputs": len(inputs), "commands": sum(ends.values()), "by outcome": dict(ends),
        "disk scenarios": len(results.get("disk", [])),
        "findings": len(findings), "by kind": dict(Counter(f["kind"] for f in findings)),
        "causes": len({cause(f) for f in findings})}


def _ending(status: int | None) -> str:
    return OUTCOMES.get(status, f"status {status}")


def cause(finding: dict) -> tuple[str, str, str]:
    """Findings that have this in common probably go back to one line of code."""
    what = re.sub(r"['\"“‘(\[{].*", "", finding["what"]) if finding["where"] else finding["what"]
    what = re.sub(r"/?[\w.-]*/[\w./=-]+", "PATH", what)
    what = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", what)
    return finding["kind"], finding["where"], re.sub(r"-?\d[\d.e+]*", "N", what)[:70]


def _lines(counts: dict, findings: list[dict], inputs: list[dict]) -> list[str]:
    grouped = defaultdict(list)
    for finding in findings:
        grouped[cause(finding)].append(finding)
    lines = ["# Campaign", "", *(f"- {name}: {_said(value)}" for name, value in counts.items()),
             "", "## Causes", "",
             "Kind, how often, last frame in the package, what, an example.", ""]
    for (kind, where, _), found in sorted(grouped.items(), key=lambda item: -len(item[1])):
        first = min(found, key=lambda f: len(f["example"]))
        lines.append(f"- **{kind}** × {len(found)} {where} {first['what']} — {first['example']} "
                     f"`{first['again']}`")
    lines += ["", "## Findings", ""]
    lines += [f"- {f['kind']} {f['where']} {f['what']} — {f['example']} `{f['again']}`"
              for f in findings]
    lines += ["", "## Accepted", "", "Odd input that ended with status 0; a reader judges it.", ""]
    lines += [f"- {one['case']}: {one['area']}: {one['what']}" for one in inputs
              if one["outcomes"] and one["outcomes"][-1]["status"] == 0]
    return [line.replace("\n", " ") for line in lines]


def _said(value) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{count} {name}" for name, count in value.items()) or "none"
