"""Odd command lines, one a line of ``odd_commands.txt``, as a user would type it.

``!`` before a line: it must be refused. ``@small`` stands for the settings of a run of a second
(fields that the line sets itself left out), ``@far`` for 100,000 letters, ``@long`` for a name of
300, ``@nl`` for a line break, ``@bad`` for a byte that is no UTF-8.

The folder holds: ``run`` and ``infrared`` (finished), ``data`` (CUHK-PEDES), ``gallery``, ``out``
and ``swept`` (a comparison and a sweep of finished runs), ``file``, ``empty``, ``full``, and
notebooks.
"""
import shlex
from pathlib import Path
from random import Random

from tests.campaign.cases import Case
from tests.campaign.running import Place
from tests.campaign.world import INFRARED, TEXT, World, small, train

LINES = Path(__file__).with_name("odd_commands.txt").read_text(encoding="utf-8").splitlines()
STANDS_FOR = {"@far": "x" * 100_000, "@long": "y" * 300, "@nl": "\n", "@bad": "\udcff"}


def options(random: Random, world: World, place: Place, count: int) -> Case:
    """One odd command line; all of them in turn."""
    line = LINES[count * 89 % len(LINES)]  # mixed, so that few cases see all commands
    forbidden = "nonsense was accepted" if line.startswith("!") else ""
    words = shlex.split(line.removeprefix("!"))
    design = INFRARED if INFRARED in words[:2] else "deen" if "deen" in words[:2] else TEXT
    own = {word.partition("=")[0] for word in words if "=" in word}
    usual = [field for field in small(design) if field.partition("=")[0] not in own]
    arguments = []
    for word in words:
        for name, text in STANDS_FOR.items():
            word = word.replace(name, text)
        arguments += usual if word == "@small" else [word]
    world.lend_cache(place)
    world.lend_things(place)
    fixed = train(design, "new") if words[:1] == ["train"] and "new" in words else None
    return Case(f"reidlab {line.removeprefix('!')}", [arguments], forbidden, fixed)


assert len(LINES) % 89, "every line must come up in turn"
