"""Every source that the code names can be looked up inside the project."""
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOTES = (ROOT / "docs" / "notes.md").read_text()
HEADINGS = set(re.findall(r"^#+ (?:Note )?(00[0-4](?: §[\d.]+)?)", NOTES, flags=re.M))


def test_every_section_of_a_note_that_is_cited_has_a_heading():
    missing = set()
    for file in (ROOT / "reidlab").rglob("*.py"):
        for cited in re.findall(r"notes? (00[0-4](?: §\d+(?:\.\d+)*)?)", file.read_text()):
            if cited not in HEADINGS:
                missing.add(f"{file.relative_to(ROOT)}: {cited}")
    assert not missing, sorted(missing)


def test_no_source_lies_outside_the_project():
    for file in (ROOT / "reidlab").rglob("*.py"):
        for name in re.findall(r"Source:.*?(\w+\.md)", file.read_text()):
            assert (ROOT / name).exists() or (ROOT / "docs" / name).exists(), (file, name)
