"""Named experiments of both tasks.

`preset("corrected", "tiny")` is what the final notebook trains.
"""
from reidlab.config import Experiment
from reidlab.config.changes import change
from reidlab.errors import ReidlabError
from reidlab.presets import text_image, visible_infrared

DESIGNS_BY_TASK = (text_image, visible_infrared)
PRESETS = {name: fn for task in DESIGNS_BY_TASK
           for name, fn in {**task.DESIGNS, **task.FURTHER}.items()}
SIZES = tuple(text_image.SIZES)


def sizes(name: str) -> tuple[str, ...]:
    """The sizes that the preset called `name` comes in."""
    return tuple(_task(name).SIZES)


def _task(name: str):
    return next(task for task in DESIGNS_BY_TASK if name in {**task.DESIGNS, **task.FURTHER})


def preset(name: str, size: str = "tiny", **changes) -> Experiment:
    """The experiment called `name` at `size`.

    Args:
        name: a key of ``PRESETS``.
        size: ``tiny`` (CPU, minutes, from the encoders that the package ships), ``small`` (one GPU,
            from scratch), ``base`` (pretrained) or, of text-image designs, ``clip`` (CLIP's).
        changes: fields to replace, dots written as two underscores: ``training__lr=1e-3``.

    Raises:
        ReidlabError: unknown preset, size or field, with the known ones.
    """
    if name not in PRESETS:
        raise ReidlabError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    if size not in SIZES:
        raise ReidlabError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    if size not in sizes(name):
        raise ReidlabError(f"{name} has no size {size!r}, whose encoders read captions; known: "
                           f"{', '.join(sizes(name))}")
    experiment = _task(name).SIZES[size](PRESETS[name]())
    return change(experiment, {key.replace("__", "."): value for key, value in changes.items()})
