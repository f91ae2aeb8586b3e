"""Load published weights from a folder or a hub, or say plainly that they are not there."""
from pathlib import Path

import transformers

from reidlab.errors import MissingPath


def load_pretrained(kind: type, where: str, **options):
    """``kind.from_pretrained(where)`` with one readable error.

    Args:
        kind: a transformers class with ``from_pretrained``.
        where: a local folder, or a hub id such as ``bert-base-uncased``.

    Raises:
        MissingPath: neither a complete folder nor a hub id that can be reached.
    """
    quiet = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        return kind.from_pretrained(where, **options)
    except (OSError, ValueError, TypeError) as fault:
        state = "exists but holds no complete model" if Path(where).exists() else "is not there"
        raise MissingPath(
            f"pretrained weights {where!r}: the folder {state}, and no hub gave them; download "
            f"the model into a folder and set image.pretrained / text.pretrained to it, or go "
            f"online for the hub id, or train from scratch with --size tiny") from fault
    finally:
        transformers.logging.set_verbosity(quiet)
