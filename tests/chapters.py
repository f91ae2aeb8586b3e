"""The chapters as tests read them: their code, their pictures, their budgets, their claims."""
import json
import re
from pathlib import Path

import nbformat

from tests.conftest import MINI

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
FINAL = next(f for f in NOTEBOOKS if f.stem.endswith("full_training"))
FIGURES = Path(__file__).parent.parent / "figures"
SAVED = r'save_figure\(\w+, "(\w+)"'


def code(cells) -> str:
    """All code of a notebook."""
    return "".join(cell.source for cell in cells if cell.cell_type == "code")


def pictures_shown(cells) -> int:
    """Figures that executed cells show as pictures; none is a line of text or a warning."""
    shown = 0
    for cell in cells:
        for output in cell.get("outputs", []):
            assert "<Figure" not in json.dumps(output), cell.id
            assert "Warning" not in output.get("text", ""), (cell.id, output.text)
            shown += "image/png" in output.get("data", {})
    return shown


def pictures_made(cells) -> int:
    """Figures that the cells save, and panels that they open."""
    return len(re.findall(SAVED, code(cells))) + len(re.findall(r"^\w+\.show\(\)", code(cells),
                                                                flags=re.M))


def alike(fresh: dict, kept: dict) -> bool:
    """Whether a claim holds as it did, by about the value that is stored.

    Another machine may move a number by a quarter of itself, and by half of its distance to the
    bound; what is no number is equal.
    """
    seen, stood, bound = fresh.pop("observed"), kept.pop("observed"), kept["bound"]
    if isinstance(stood, float | int) and kept["relation"] != "==":
        return fresh == kept and abs(seen - stood) <= 0.25 * abs(stood) + 0.5 * abs(stood - bound)
    return fresh == kept and seen == stood


def executed(folder: Path) -> list:
    """Cells of the notebook that a test had executed there."""
    return nbformat.read(folder / "executed.ipynb", as_version=4).cells


def short_final(runs: Path):
    """The final notebook with a dozen steps, which prove no claim; claims are checked in full."""
    notebook = nbformat.read(FINAL, as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    small = MINI | {"training.epochs": 2, "training.batches_per_epoch": 3}
    cell.source += f"\nCHANGES = {small!r}\nRUNS = {str(runs)!r}"
    for claim in notebook.cells:
        if claim.id.startswith("check"):
            claim.source = "print('claims skipped')"
    return notebook


def budget(notebook) -> int:
    """Seconds that the first cell promises."""
    number, unit = re.search(r"\*\*Budget\*\* (\d+) (s|min) on two CPU cores",
                             notebook.cells[0].source).groups()
    return int(number) * {"s": 1, "min": 60}[unit]
