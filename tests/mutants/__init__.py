"""Small wrong versions of the code, each of which the tests of its row have to notice.

They are data: ``LETTER.toml`` beside this file has a table ``[[mutant]]`` for each, with the row
that it breaks, a file of the package, a text that stands in it once, and the wrong text.
"""
import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
KILLED = HERE / "killed.json"  # digest of a mutant → the test that noticed it


@dataclass(frozen=True)
class Mutant:
    """A small wrong version of the code.

    Attributes:
        row: the part that it breaks, such as ``L7``.
        file: below the root of the project.
        old: a text that stands there once; new: what takes its place.
    """

    row: str
    file: str
    old: str
    new: str

    @property
    def digest(self) -> str:
        """Of all four."""
        said = "\0".join((self.row, self.file, self.old, self.new))
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def apply(self, root: Path) -> str:
        """Make `root` wrong; returns the file as it was."""
        file = root / self.file
        text = file.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.row}: {self.old!r} stands {text.count(self.old)} times in "
                             f"{self.file}; a mutant needs a text that stands there once")
        file.write_text(text.replace(self.old, self.new))
        return text


def mutants() -> list[Mutant]:
    """All of them, row by row."""
    return [Mutant(**one) for file in sorted(HERE.glob("*.toml"))
            for one in tomllib.loads(file.read_text())["mutant"]]


def killed() -> dict[str, str]:
    """Digest → the test that noticed, as ``make mutants`` last saw it."""
    return json.loads(KILLED.read_text()) if KILLED.exists() else {}
