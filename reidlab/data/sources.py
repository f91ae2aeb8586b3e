"""``LAYOUT:DIR``, the way a user names data on disk."""
from collections.abc import Collection
from pathlib import Path

from reidlab.data.clothes_changing import CLOTHES_LAYOUTS
from reidlab.data.folders import require_folder, resolved
from reidlab.data.text_image import LAYOUTS
from reidlab.data.visible_infrared import INFRARED_LAYOUTS
from reidlab.errors import ReidlabError

TITLES = {name: known.title for name, known in (
    *LAYOUTS.items(), *INFRARED_LAYOUTS.items(), *CLOTHES_LAYOUTS.items())} | {
    "folder": "your pictures"}
TEXT_IMAGE = (*LAYOUTS, *CLOTHES_LAYOUTS, "folder")        # that each task reads
VISIBLE_INFRARED = (*INFRARED_LAYOUTS, "folder")


def source_of(text: str, layouts: Collection[str] = tuple(TITLES)) -> tuple[str, Path]:
    """Layout and folder of data on disk; the folder from the root.

    Args:
        text: ``LAYOUT:DIR``; DIR may be relative or start with ``~``.
        layouts: names that fit, those of one task.

    Raises:
        ReidlabError: no such layout, or no DIR; MissingPath: no such folder.
    """
    name, place = _parted(text, layouts)
    require_folder(place, TITLES[name], name)
    return name, place


def absolute_source(text: str) -> str:
    """``synthetic`` as it is, else ``LAYOUT:DIR`` with DIR from the root: the same data anywhere.

    The folder need not be there any more: what was trained on it can still be named.

    Raises:
        ReidlabError: no such layout, no DIR, or one that can be no path.
    """
    if text == "synthetic":
        return text
    name, folder = _parted(text, TITLES)
    return f"{name}:{folder}"


def _parted(text: str, layouts: Collection[str]) -> tuple[str, Path]:
    name, _, folder = text.partition(":")
    if name not in layouts or not folder:
        raise ReidlabError(f"unknown data {text!r:.80}; known: synthetic, "
                           + ", ".join(f"{layout}:DIR" for layout in layouts))
    return name, resolved(folder)
