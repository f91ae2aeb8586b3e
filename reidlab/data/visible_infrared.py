"""Public visible-infrared folders → records; drawn pairs → the same layouts."""
from pathlib import Path, PurePosixPath

from PIL import Image

from reidlab.data.folders import write_folder
from reidlab.data.infrared_layouts import Kinds, infrared_layout
from reidlab.data.splits import (
    held_out,
    refuse_shared_people,
    refuse_shared_pictures,
    refuse_too_little,
)
from reidlab.errors import ReidlabError


def read(name: str, folder: Path, trial: int = 1) -> dict[str, Kinds]:
    """Visible and infrared records of each split.

    Where a data set has no val split, every tenth training person chooses the checkpoint instead
    of training.

    Args:
        name: a key of ``INFRARED_LAYOUTS``.
        folder: of the data set.
        trial: RegDB's split, 1 to 10.

    Raises:
        MissingPath: no folder, or a list is missing; ReidlabError: a list that cannot be used, a
            person or a picture in two splits, or a split that holds too little of one kind.
    """
    known = infrared_layout(name, folder)
    splits = known.read(folder, trial)
    if not known.has_val:
        chosen = held_out(known.title, {r.pid for kind in splits["train"] for r in kind})
        splits["val"] = tuple([r for r in kind if r.pid in chosen] for kind in splits["train"])
        splits["train"] = tuple([r for r in kind if r.pid not in chosen]
                                for kind in splits["train"])
    for split, kinds in splits.items():
        for kind, records in zip(("visible", "infrared"), kinds, strict=True):
            if not records:
                raise ReidlabError(f"{folder} has no {kind} pictures in {split}; unpack it again")
    if name != "regdb":  # RegDB numbers the people of train and test from 0 each
        refuse_shared_people({split: {r.pid for kind in kinds for r in kind}
                              for split, kinds in splits.items()}, folder)
    refuse_shared_pictures({split: {str(PurePosixPath(r.path)) for kind in kinds for r in kind}
                            for split, kinds in splits.items()}, folder)
    refuse_too_little({split: (len({r.pid for r in visible} & {r.pid for r in infrared}),
                               len(visible) + len(infrared))
                       for split, (visible, infrared) in splits.items()}, folder,
                      " seen in both kinds of light")
    return splits


def export(pairs: dict, folder: Path, name: str, trial: int = 1) -> int:
    """Write drawn pairs in a public layout.

    Args:
        pairs: split → object with ``visible`` and ``infrared`` splits; a layout without val gets
            the people of val as training people.
        folder: absent or empty.
        name: a key of ``INFRARED_LAYOUTS``.
        trial: RegDB's split to write.

    Returns:
        Pictures written.

    Raises:
        ReidlabError: the folder holds something, or cannot be written.
    """
    known = infrared_layout(name)
    kinds = {split: (list(pair.visible.records), list(pair.infrared.records))
             for split, pair in pairs.items()}
    if not known.has_val:
        spare = kinds.pop("val")
        kinds["train"] = tuple(a + b for a, b in zip(kinds["train"], spare, strict=True))
    where, texts = known.write(kinds, trial)
    pictures = {r.path: image for pair in pairs.values() for split in (pair.visible, pair.infrared)
                for r, image in zip(split.records, split.images, strict=True)}

    def write(part: Path) -> int:
        for path, place in where.items():
            file = part / place
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures[path]).save(file, quality=95)
        for place, text in texts.items():
            (part / place).parent.mkdir(parents=True, exist_ok=True)
            (part / place).write_text(text, encoding="utf-8")
        return len(where)

    return write_folder(folder, write)
