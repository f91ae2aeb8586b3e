"""Experiments with three seeds, as they were measured, and their page: ``docs/experiments.md``.

``docs/comparison/experiments.json`` holds each: its ``question``, the ``rows`` of
``tests/rows.toml`` it answers, what it was ``trained`` from and how long, and by variant its
``command`` and its ``scores``, one value a seed. The first variant is what the others are compared
with, seed by seed.
"""
import json
from pathlib import Path
from textwrap import fill, wrap

from reidlab.engine.compare import interval

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "docs" / "comparison" / "experiments.json"
DOCUMENT = ROOT / "docs" / "experiments.md"
HEAD = """# Experiments: what one change does, over three seeds

Each table changes one thing at a time. A score is the mean of three seeds and half the 95 %
interval; in brackets stands its difference to the first line, paired by seed, with that interval.
**Bold**: the interval leaves zero out. With this many intervals some do so by chance: one in
twenty. People of test were never trained on, and nothing was chosen by these scores. Raw values:
`comparison/experiments.json`. `python -m tests.experiments` writes this page;
[rows.md](rows.md) says which part of the design each answers.
"""


def experiments() -> dict[str, dict]:
    """Title → experiment."""
    return json.loads(KEPT.read_text())


def document() -> str:
    """``docs/experiments.md``."""
    lines = [HEAD]
    for title, of in experiments().items():
        asked = f"{of['question']} ({', '.join(of['rows'])}.) {of['trained']}"
        lines += [f"## {title}\n", fill(asked, 100) + "\n", *_table(of["variants"]), "",
                  fill(of["answer"], 100) + "\n", "<details><summary>Commands</summary>\n", "```sh",
                  *(" \\\n    ".join(wrap(variant["command"], 94, break_on_hyphens=False))
                    for variant in of["variants"].values()), "```\n", "</details>\n"]
    return "\n".join(lines)


def _table(variants: dict[str, dict]) -> list[str]:
    first = next(iter(variants.values()))["scores"]
    rows = ["| | " + " | ".join(first) + " |", "|---" * (len(first) + 1) + "|"]
    for name, of in variants.items():
        cells = [_cell(of["scores"][score], None if of["scores"] is first else first[score])
                 for score in first]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def _cell(values: list[float], against: list[float] | None) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    of = interval(values)
    said = f"{of['mean']:.3f} ± {of['high'] - of['mean']:.3f}"
    if not against:
        return said
    apart = interval([a - b for a, b in zip(values, against, strict=True)])
    bold = "**" if apart["low"] > 0 or apart["high"] < 0 else ""
    return f"{said} ({bold}{apart['mean']:+.3f}{bold} [{apart['low']:.3f}, {apart['high']:.3f}])"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
