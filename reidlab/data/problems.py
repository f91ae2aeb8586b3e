"""One thing that is wrong with a data set, and problems that every layout may have."""
from dataclasses import dataclass

from reidlab.errors import ReidlabError


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: file and record.
        what: got and expected.
        fix: what to do.
        fatal: training would refuse the folder; else it would run on doubtful data.
    """

    where: str
    what: str
    fix: str
    fatal: bool = True


def refusal(where: str, fault: ReidlabError) -> Problem:
    """What a reader refuses, as a problem; its message ends in the fix."""
    what, _, fix = str(fault).rpartition("; ")
    return Problem(where, what, fix) if what else Problem(where, fix, "training would refuse it")


def in_two_splits(splits: dict[int, set[str]]) -> list[Problem]:
    """Person → splits they are in; one problem for each who is in more than one."""
    return [Problem(f"person {pid}", f"is in {' and '.join(sorted(names))}",
                    "keep each person in one split")
            for pid, names in sorted(splits.items()) if len(names) > 1]
