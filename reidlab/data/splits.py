"""Splits by person: nobody and nothing in two of them, enough in each, and who steps in for val."""
import logging

from reidlab.errors import ReidlabError

HELD_OUT = 10  # every tenth training person
FEWEST = 2     # people of a split: of one alone, every picture is a hit
FEWEST_PICTURES = 4  # of val and of test: unbiased estimates of dependence need as many
log = logging.getLogger(__name__)


def held_out(title: str, people: set[int]) -> set[int]:
    """Training people that choose the checkpoint instead, where a data set has no val split.

    Every tenth, and two of a handful, since one alone can choose nothing.

    Args:
        title: of the data set, for the log.
        people: its training people.
    """
    every = HELD_OUT if len(people) > HELD_OUT else -(-len(people) // FEWEST)
    chosen = set(sorted(people)[::max(1, every)])
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


def refuse_shared_pictures(paths: dict[str, set[str]], where) -> None:
    """Stop when one file is in two splits, which no numbering of people can show.

    Args:
        paths: split → picture files.
        where: file or folder that the error names.

    Raises:
        ReidlabError: how many, one of them, and in which two.
    """
    names = list(paths)
    for k, one in enumerate(names):
        for other in names[k + 1:]:
            shared = paths[one] & paths[other]
            if shared:
                raise ReidlabError(
                    f"{where}: {len(shared)} pictures are in {one} and in {other}, such as "
                    f"{min(shared)}; scores would be those of training: fetch the lists again")


def refuse_too_little(held: dict[str, tuple[int, int]], where, seen: str = "") -> None:
    """Stop when a split holds too little to train on, or to be scored.

    Args:
        held: split → people and pictures.
        where: file or folder that the error names.
        seen: which people count, a phrase that follows "people".

    Raises:
        ReidlabError: the split, what it holds, and what is needed.
    """
    for split, (people, pictures) in held.items():
        if people < FEWEST or (split != "train" and pictures < FEWEST_PICTURES):
            need = "" if split == "train" else f" and {FEWEST_PICTURES} pictures"
            raise ReidlabError(
                f"{where}: too little in {split}: people{seen}: {people}, pictures: {pictures}; "
                f"at least {FEWEST} people{seen}{need} are needed: put more people there")
