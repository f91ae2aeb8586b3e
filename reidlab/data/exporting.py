"""The synthetic world on disk, in any public layout."""
from pathlib import Path

from reidlab.config.text_image import Data
from reidlab.data import clothes_changing, own_folder, text_image, visible_infrared
from reidlab.data.clothes_changing import CLOTHES_LAYOUTS
from reidlab.data.loading import synthetic_text_image, synthetic_visible_infrared
from reidlab.data.sources import TEXT_IMAGE, TITLES
from reidlab.data.visible_infrared import INFRARED_LAYOUTS
from reidlab.errors import ReidlabError

SMALLEST, LARGEST = 16, 2048  # pixels a side; the world draws nobody smaller


def export_synthetic(folder: Path, name: str, size: tuple[int, int], people: int, held_out: int,
                 shots: int, seed: int = 0, suffix: str = ".png") -> int:
    """Draw people and write them as the data set called `name` would lie.

    Args:
        folder: to be made.
        name: a public layout, or ``folder`` for one with ``people.jsonl``.
        size: (height, width) in pixels.
        people: training people; held_out: people in val and in test each.
        shots: pictures of a person in each outfit, or in each modality.
        seed: of the world.
        suffix: ``.png`` or ``.jpg``; layouts of pictures alone have a format of their own.

    Returns:
        Pictures written.

    Raises:
        ReidlabError: an unknown layout, numbers that make no data set, or a folder that holds
            something or cannot be written.
    """
    if min(size) < SMALLEST or max(size) > LARGEST:
        raise ReidlabError(f"a picture of {size[0]}x{size[1]} pixels is too small or too large; "
                           f"ask for sides of {SMALLEST} to {LARGEST} pixels")
    for title, count, least in (("training people", people, 2), ("held-out people", held_out, 2),
                                ("shots", shots, 1), ("seed", seed, 0)):
        if count < least:
            raise ReidlabError(f"{title}: {count}; at least {least} needed")
    if name in TEXT_IMAGE:
        data = Data(seed=seed, people=people, val_people=held_out, test_people=held_out,
                    images_per_outfit=shots)
        drawn = synthetic_text_image(data, size)
        if name == "folder":
            return own_folder.export(drawn, folder, suffix)
        if name in CLOTHES_LAYOUTS:
            return clothes_changing.export(drawn, folder, name)
        return text_image.export(drawn, folder, name, suffix)
    if name not in INFRARED_LAYOUTS:
        raise ReidlabError(f"unknown layout {name!r}; known: {', '.join(TITLES)}")
    counts = {"train": people, "val": held_out, "test": held_out}
    return visible_infrared.export(
        {
            split: synthetic_visible_infrared(seed, size, split, count, shots)
            for split, count in counts.items()
        },
        folder,
        name,
    )
