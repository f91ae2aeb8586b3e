"""Synthetic pictures as files, for galleries."""
from pathlib import Path

from PIL import Image

from reidlab.synthetic.world import World

WORLD = World(5, (96, 48))


def draw(folder: Path, number: int, infrared: bool = False) -> Path:
    """One picture of a folder; two of a person, in three folders named by cameras."""
    file = folder / f"cam{number % 3 + 1}" / f"{number:03d}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    see = WORLD.infrared_picture if infrared else WORLD.picture
    Image.fromarray(see(number // 2, number // 2, number % 2)).save(file)
    return file
