"""Every part that is promised here is named where it is proven."""
import ast
from pathlib import Path

import nbformat

HERE = Path(__file__).parent
PROMISED = {*(f"E{k}" for k in range(1, 18)), *(f"D{k}" for k in range(1, 20)),
            *(f"F{k}" for k in range(1, 16)), *(f"L{k}" for k in range(1, 17)),
            *(f"R{k}" for k in range(1, 19)), *(f"V{k}" for k in range(1, 39)),
            *(f"X{k}" for k in range(1, 9))}


def proofs() -> dict[str, list[str]]:
    """Row → the tests and notebook cells that name it."""
    found: dict[str, list[str]] = {}
    for file in sorted(HERE.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and getattr(mark.func, "attr", "") == "covers":
                    for row in mark.args:
                        found.setdefault(row.value, []).append(f"{file.name}::{node.name}")
    for file in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(file, as_version=4).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("covers-"):
                    found.setdefault(tag.removeprefix("covers-"), []).append(
                        f"{file.name}#{cell.id}")
    return found


def test_every_promised_row_is_proven():
    """Lists id → proof; ``pytest -s tests/test_rows.py`` shows it."""
    found = proofs()
    for row in sorted(found, key=lambda r: (r[0], int(r[1:]))):
        print(f"{row:4s} {', '.join(found[row])}")
    assert not PROMISED - found.keys()
