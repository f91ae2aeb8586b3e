"""One meaning, one word: private words that the field has a term for do not come back."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GONE = {  # what must not be written any more → the word in its place
    r"kinds? of light|in each light": "modality",
    r"(?i)\bby (day|night)\b|\bday and night\b": "visible, infrared",
    r"(?i)\bdrawn (people|person|persons|world|pictures?|data|tokenizer|pairs)\b|=\"drawn\"":
        "synthetic",
    r"(?i)\brivals?\b|rival_": "hard negatives",
    r"(?i)\bmatcher\b|match_logits|match_weight|matching_(from|every)": "ITM head",
    r"(?i)\bas[ _-]dressed\b": "same clothes",
    r"any_clothes|across_outfits|other outfits, (id|image)": "clothes-changing",
    r"lure_rate": "same_outfit_at_1",
    r"probe → gallery|probes of camera": "query",
    r"(?i)\blikeness": "similarity",
    r"(?i)\bdetectors?\b": "sanity checks",
    r"\bSplitFeatures\b|\b(Attention|Projection|Residual|Merged|Query|Gated)Split\b|split_caption":
        "disentangler; parse",
    r"\bRankReport\b|\brank\(": "retrieval metrics",
    r"\bPairBatch|\bembed_pair\b|\bdraw_pair\b": "visible-infrared batch",
    r"\bunmatched\b": "mismatched",
    r"heads\.erase\b|\bid_erasure\b": "concept erasure",
    r"data\.(erasing|paired|labelled|shots|crop)\b|training\.clip\b": "the field's new name",
    r"multiplications": "MACs",
    r"A against A": "A/A control",
    r"(?i)\bmend(s|ed|ing)?\b|\banew\b": "fix; again",
    r"(both|two|each) systems\b": "tasks",
}
TEXTS = sorted([*(ROOT / "reidlab").rglob("*.py"), *(ROOT / "docs").rglob("*.md"),
                *(ROOT / "docs").rglob("*.json"), *(ROOT / "notebooks").glob("*.ipynb"),
                *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"])


@pytest.mark.parametrize("pattern", GONE, ids=lambda p: GONE[p])
def test_the_fields_word_is_used(pattern):
    found = [f"{file.relative_to(ROOT)}:{number}: {match[0]}" for file in TEXTS
             for number, line in enumerate(file.read_text().splitlines(), start=1)
             for match in [re.search(pattern, line)] if match]
    assert not found, f"say {GONE[pattern]!r}: {found[:10]}"


@pytest.mark.parametrize("file", [f for f in TEXTS if f.suffix == ".md"],
                         ids=lambda f: str(f.relative_to(ROOT)))
def test_prose_is_at_most_100_columns_wide(file):
    wide = [number for number, line in enumerate(file.read_text().splitlines(), start=1)
            if len(line) > 100 and not line.startswith("|")]
    assert not wide, f"lines {wide}"
