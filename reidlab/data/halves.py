"""Captions of which the splitter keeps no identity half, or no clothing half."""
import logging
from collections.abc import Iterable
from typing import NamedTuple

from reidlab.data.records import Record
from reidlab.data.side_file import SIDE_FILE
from reidlab.errors import ReidlabError

# The two vectors learn from the two halves. An empty half is left out of its loss, so above one
# half most rows of a batch teach only one vector, or none. English captions are far below (5 of 64
# labelled by hand lose a half), captions in other languages far above (nearly all lose both).
MOST_LOST = 0.5
log = logging.getLogger(__name__)


class Lost(NamedTuple):
    """Shares of captions, 0 to 1, whose identity half, clothing half, or any half is empty."""

    identity: float
    clothing: float
    any: float

    def __str__(self):
        return (f"{self.identity:.1%} of the training captions say nothing of the person, "
                f"{self.clothing:.1%} nothing of the clothes")


def lost_halves(records: Iterable[Record]) -> Lost:
    """Shares of the records' captions that lose a half."""
    halves = [(not identity.strip(), not clothing.strip()) for r in records
              for identity, clothing in zip(r.id_captions, r.cloth_captions, strict=True)]
    return Lost(*(sum(lost) / len(halves) for lost in (
        [identity for identity, _ in halves], [clothing for _, clothing in halves],
        [identity or clothing for identity, clothing in halves])))


def refuse_lost_halves(records: Iterable[Record], where) -> None:
    """Stop when most training captions lose a half; log the shares when a few do.

    Args:
        records: of the training split.
        where: file that messages name.

    Raises:
        ReidlabError: the shares, the limit and the fix.
    """
    lost = lost_halves(records)
    if lost.any > MOST_LOST:
        raise ReidlabError(
            f"{where}: {lost}; at most {MOST_LOST:.0%} may lose a half. Give English captions, or "
            f"a {SIDE_FILE} with id_captions and cloth_captions of each picture")
    if lost.any:
        log.warning("%s: %s", where, lost)
