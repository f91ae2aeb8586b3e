"""Splits by person: nobody in two of them, and who steps in where there is no val split."""
import logging

from reidlab.errors import ReidlabError

HELD_OUT = 10  # every tenth training person
log = logging.getLogger(__name__)


def held_out(title: str, people: set[int]) -> set[int]:
    """Training people that choose the checkpoint instead, where a data set has no val split.

    Args:
        title: of the data set, for the log.
        people: its training people.
    """
    chosen = set(sorted(people)[::HELD_OUT])
    log.warning("%s has no val split: %d of its training people choose the checkpoint instead",
                title, len(chosen))
    return chosen


def refuse_shared_people(people: dict[str, set[int]], where) -> None:
    """Stop when somebody is in two splits.

    Args:
        people: split → persons.
        where: file or folder that the error names.

    Raises:
        ReidlabError: who, and in which two.
    """
    seen: dict[int, str] = {}
    for name, pids in people.items():
        for pid in pids:
            if seen.setdefault(pid, name) != name:
                raise ReidlabError(f"{where}: person {pid} is in {seen[pid]} and in {name}; "
                                   "splits must not share people")
