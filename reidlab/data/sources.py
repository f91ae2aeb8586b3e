"""``LAYOUT:DIR``, the way a user names data on disk."""
from collections.abc import Collection
from pathlib import Path

from reidlab.data.folders import require_folder, resolved
from reidlab.data.text_image import LAYOUTS, Layout
from reidlab.data.visible_infrared import INFRARED_LAYOUTS, InfraredLayout
from reidlab.errors import ReidlabError

ALL: dict[str, Layout | InfraredLayout] = {**LAYOUTS, **INFRARED_LAYOUTS}


def source_of(text: str, layouts: Collection[str] = ALL) -> tuple[str, Path]:
    """Layout and folder of data on disk; the folder from the root.

    Args:
        text: ``LAYOUT:DIR``; DIR may be relative or start with ``~``.
        layouts: names that fit, those of one task.

    Raises:
        ReidlabError: no such layout, or no DIR; MissingPath: no such folder.
    """
    name, place = _parted(text, layouts)
    require_folder(place, ALL[name].title, name)
    return name, place


def absolute_source(text: str) -> str:
    """``synthetic`` as it is, else ``LAYOUT:DIR`` with DIR from the root: the same data anywhere.

    The folder need not be there any more: what was trained on it can still be named.

    Raises:
        ReidlabError: no such layout, no DIR, or one that can be no path.
    """
    if text == "synthetic":
        return text
    name, folder = _parted(text, ALL)
    return f"{name}:{folder}"


def _parted(text: str, layouts: Collection[str]) -> tuple[str, Path]:
    name, _, folder = text.partition(":")
    if name not in layouts or not folder:
        raise ReidlabError(f"unknown data {text!r:.80}; known: synthetic, "
                           + ", ".join(f"{layout}:DIR" for layout in layouts))
    return name, resolved(folder)
