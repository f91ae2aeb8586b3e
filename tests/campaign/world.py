"""The small sound things that everything is spoiled from; the package makes them all itself."""
import importlib
import json
import pkgutil
import shutil
from pathlib import Path

from reidlab.data.text_image import LAYOUTS
from reidlab.data.visible_infrared import INFRARED_LAYOUTS
from tests.campaign.judging import last_words
from tests.campaign.running import Place, run

TEXT, INFRARED = "corrected", "embednet_corrected"  # the design that stands for each task
BOTH = {
    "data.people": 12,
    "data.val_people": 12,
    "data.test_people": 12,
    "data.images_per_outfit": 2,
    "image.height": 48,
    "image.width": 32,
    "image.dim": 32,
    "image.heads": 2,
    "training.epochs": 1,
    "training.batches_per_epoch": 4,
    "training.batch_size": 8,
    "training.monitor_every": 2,
    "training.validate_every": 1,
    "training.checkpoint_every": 2,
    "training.warmup": 1,
}
SMALL = {TEXT: BOTH | {"image.layers": 1, "text.dim": 32, "text.heads": 2, "heads.embedding": 16},
         INFRARED: BOTH | {"image.layers": 4, "expansion.heads": 2, "scoring.trials": 2}}
OWN = {"merged": {"heads.embedding": 256},  # the width at which the note ends; None: the design's
       "deen": {"image.dim": None, "image.heads": None, "image.layers": None}}
VARIED = "training.lr=0.0005"  # the grid of the sound sweep
DESCRIPTION = "A tall man with red hair, wearing a blue coat and black jeans."
CELL = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": []}


def small(design: str, changes: dict | None = None) -> list[str]:
    """``--set`` and the fields that let a design of either task train within a second.

    Args:
        design: a preset.
        changes: fields in addition, or in place of those.
    """
    from reidlab.config import VisibleInfraredExperiment
    from reidlab.presets import preset
    infrared = isinstance(preset(design), VisibleInfraredExperiment)
    fields = SMALL[INFRARED if infrared else TEXT] | OWN.get(design, {}) | (changes or {})
    return ["--set", *(f"{name}={value}" for name, value in fields.items() if value is not None)]


def train(design: str, folder: str = "run", *options: str, changes: dict | None = None
          ) -> list[str]:
    """The command that trains a design at this size."""
    return ["train", design, "--run", folder, *options, *small(design, changes)]


def compare(design: str) -> list[str]:
    """The command that lays one run of a design side by side with nothing."""
    return ["compare", design, "--seeds", "0", "--out", "out", *small(design)]


def sweep(design: str) -> list[str]:
    """The command that sweeps over one value."""
    return ["sweep", design, VARIED, "--out", "out", *small(design)]


def warm_up() -> None:
    """Import everything once, so that a forked child starts at once; compute nothing."""
    import torch

    import reidlab
    torch.set_num_threads(1)
    for found in pkgutil.walk_packages(reidlab.__path__, "reidlab."):
        if found.name != "reidlab.__main__":
            importlib.import_module(found.name)
    importlib.import_module("reidlab.__main__")


class World:
    """Sound folders to copy from.

    Args:
        root: an empty folder for all of it.
    """

    def __init__(self, root: Path):
        self.root, self.cache = root, root / "cache"

    def make(self) -> "World":
        """Export every layout; train, stop, compare and sweep a design of each task.

        Raises:
            SystemExit: the package cannot even do this; its last words.
        """
        for layout in (*LAYOUTS, *INFRARED_LAYOUTS):
            design = TEXT if layout in LAYOUTS else INFRARED
            place = self._place(f"data-{layout}")
            self._do(place, "data", "export", "data", "--layout", layout, "--people", "12",
                     "--held-out", "12", "--picture", "48x32", "--shots", "2")
            self._do(place, *train(design, "run", "--data", f"{layout}:data"))
        for design in (TEXT, INFRARED):
            self._do(self._place(design), *train(design))
            place = self._place(f"stopped-{design}")
            (place.work / "run").mkdir()
            (place.work / "run" / "stop").touch()
            self._do(place, *train(design))
            self._do(self._place(f"compare-{design}"), *compare(design))
            self._do(self._place(f"sweep-{design}"), *sweep(design))
        self._small_things(self._place("things").work)
        return self

    def _place(self, name: str) -> Place:
        return Place(self.root / name, self.cache).make()

    def _do(self, place: Place, *arguments: str) -> None:
        done = run(list(arguments), place, limit=300)
        if done.status:
            raise SystemExit(f"campaign: a sound command fails: reidlab {' '.join(arguments)}: "
                             f"{last_words(done.stderr)}")

    def _small_things(self, work: Path) -> None:
        """Files and folders that are no run and no data set."""
        (work / "file").write_text("a few words\n")
        (work / "empty").mkdir()
        (work / "full").mkdir()
        (work / "full" / "something").write_text("of a user\n")
        sheet = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}}
        for name, source in (("sound", "print(1)"), ("failing", "1 / 0")):
            (work / f"{name}.ipynb").write_text(json.dumps(sheet | {
                "cells": [CELL | {"source": source}]}))
        (work / "broken.ipynb").write_text('{"cells": [{"cell_type": "co')
        (work / "foreign.ipynb").write_text('{"nbformat": 99, "cells": "none"}')
        pictures = sorted((self.root / "data-cuhk-pedes/work/data/imgs").rglob("*.png"))[:6]
        (work / "gallery").mkdir()
        for picture in pictures:
            shutil.copy2(picture, work / "gallery" / f"{picture.parent.name}-{picture.name}")

    def lend_cache(self, place: Place) -> None:
        """A copy of what has been drawn and packed so far."""
        shutil.copytree(self.cache, place.cache, dirs_exist_ok=True)

    def lend_data(self, place: Place, layout: str) -> Path:
        """A copy of a data set, named ``data``."""
        return self._lend(f"data-{layout}", "data", place.work / "data")

    def lend_run(self, place: Place, design: str, to: str = "run", stopped: bool = False) -> Path:
        """A copy of a finished run, or of one that was stopped after a step."""
        return self._lend(f"stopped-{design}" if stopped else design, "run", place.work / to)

    def lend_runs(self, place: Place, command: str, design: str, to: str = "out") -> Path:
        """A copy of a finished comparison or sweep; returns the folder of its one run."""
        folder = self._lend(f"{command}-{design}", "out", place.work / to)
        return next(folder.glob("*/config.json")).parent

    def lend_gallery(self, place: Place) -> Path:
        """A copy of a folder of six pictures, named ``gallery``."""
        return self._lend("things", "gallery", place.work / "gallery")

    def lend_things(self, place: Place) -> None:
        """Copies of all that an option may name."""
        shutil.copytree(self.root / "things" / "work", place.work, dirs_exist_ok=True)
        self.lend_data(place, "cuhk-pedes")
        self.lend_run(place, TEXT)
        self.lend_run(place, INFRARED, "infrared")
        self.lend_runs(place, "compare", TEXT)
        self.lend_runs(place, "sweep", TEXT, "swept")

    def _lend(self, name: str, what: str, to: Path) -> Path:
        shutil.copytree(self.root / name / "work" / what, to)
        return to
