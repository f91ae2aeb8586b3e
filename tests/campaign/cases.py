"""From a case number to what is spoiled and which commands are run on it."""
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.campaign.running import Place
from tests.campaign.world import World


@dataclass
class Case:
    """One malformed input.

    Attributes:
        what: the damage in words.
        commands: arguments of each command, run in this order.
        forbidden: why the last command must not end with status 0; empty where it may.
        correct: a command with fixed settings, which a refusal must leave possible.
        environment: variables in addition.
    """

    what: str
    commands: list[list[str]]
    forbidden: str = ""
    correct: list[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)


Build = Callable[[Random, World, Place, int], Case]


def areas() -> list[tuple[str, int, Build]]:
    """Each area's name, its share of forty cases, and what builds its n-th case."""
    from tests.campaign import data_cases, field_cases, option_cases, run_cases
    return [("fields", 12, field_cases.fields), ("options", 11, option_cases.options),
            ("annotations", 4, data_cases.annotations), ("side file", 1, data_cases.side_file),
            ("lists", 3, data_cases.lists), ("pictures", 4, data_cases.pictures),
            ("runs", 4, run_cases.runs), ("cache", 1, run_cases.cache)]


def build(number: int, seed: int, world: World, place: Place) -> tuple[str, Case]:
    """The area and the case of a number; its damaged files lie in `place` afterwards."""
    known = areas()
    turns = [k for k, (_, share, _) in enumerate(known) for _ in range(share)]
    Random(seed).shuffle(turns)
    turn, round_ = number % len(turns), number // len(turns)
    chosen = turns[turn]
    name, share, make = known[chosen]
    count = round_ * share + turns[:turn].count(chosen)  # of this area, so far
    return name, make(Random(f"{seed}/{number}"), world, place, count)
