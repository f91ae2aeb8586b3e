"""What is promised, part by part, and where each part is proven: ``docs/rows.md``."""
import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import nbformat

from tests.mutants import killed, mutants

HERE = Path(__file__).parent
ROOT = HERE.parent
DOCUMENT = ROOT / "docs" / "rows.md"
# rows without code of the package, teaching text and an error in the note's worked example: no
# mutant is asked for
TAUGHT = ("X", "V34")
TITLES = {"E": "Encoders, and heads of image and text", "D": "Disentanglement", "F": "Fusion",
          "L": "Losses", "R": "Data, training, evaluation", "V": "Visible-infrared",
          "X": "Teaching"}
HEAD = """# What is promised, and where it is proven

Each row is one part of the design notes ([notes.md](notes.md) says what they propose). *Proven by*
names tests (`tests/`, file and function) and notebook cells (chapter and cell). *Mutant*: small
wrong versions of the code that `make mutants` puts in, and that the row's tests noticed. *Verdict*
is for claims of the notes. *Owed* is what nothing shows yet: such a row is proven in part.
`python -m tests.rows` writes this page.
"""


@cache
def rows() -> dict[str, dict]:
    """Row → ``name``, ``source``, and ``verdict``, ``figure``, ``owed`` where it has them."""
    return tomllib.loads((HERE / "rows.toml").read_text())


@cache
def _marked() -> dict[str, list[tuple[bool, str]]]:
    """Row → (whether it is slow, ``tests/…::function``) of each test that names it."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for file in sorted(HERE.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            slow = any("mark.slow" in mark or "mark.browser" in mark for mark in marks)
            for row in re.findall(r"'(\w+)'", " ".join(m for m in marks if ".covers(" in m)):
                found.setdefault(row, []).append(
                    (slow, f"{file.relative_to(ROOT)}::{node.name}"))
    return found


def tests_of(row: str) -> list[str]:
    """Tests that name a row, quick ones first."""
    return [test for _, test in sorted(_marked().get(row, []))]


@cache
def _tagged() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(file, as_version=4).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("covers-"):
                    found.setdefault(tag.removeprefix("covers-"), []).append(
                        f"{file.stem[:2]}#{cell.id}")
    return found


def cells_of(row: str) -> list[str]:
    """Notebook cells that name a row: ``05#branches``."""
    return _tagged().get(row, [])


def named() -> set[str]:
    """Every row that a test or a cell names."""
    return _marked().keys() | _tagged().keys()


def document() -> str:
    """``docs/rows.md``."""
    noticed, lines = killed(), [HEAD]
    part = sum("owed" in of for of in rows().values())
    seen = sum(one.digest in noticed for one in mutants())
    lines.append(f"{len(rows())} rows, {part} of them proven in part; {len(mutants())} mutants, "
                 f"{seen} noticed.\n")
    for letter, title in TITLES.items():
        lines += [f"## {title}\n", "| row | part | source | proven by | mutants | verdict | owed |",
                  "|---|---|---|---|---|---|---|"]
        lines += [_line(row, of, noticed) for row, of in rows().items() if row[0] == letter]
        lines.append("")
    return "\n".join(lines)


def _line(row: str, of: dict, noticed: dict[str, str]) -> str:
    proofs = [test.removeprefix("tests/").removesuffix(".py").replace(".py::", "::")
              for test in tests_of(row)] + cells_of(row)
    own = [one for one in mutants() if one.row == row]
    gone = sum(one.digest in noticed for one in own)
    verdict = of.get("verdict", "")
    if figure := of.get("figure"):
        verdict += f" ([figure](../figures/{figure}.svg))"
    cells = (row, of["name"], of["source"], ", ".join(f"`{proof}`" for proof in proofs),
             f"{gone} of {len(own)}" if own else "–", verdict.strip(), of.get("owed", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
