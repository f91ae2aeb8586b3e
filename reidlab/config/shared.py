"""What every experiment has: a picture encoder and an optimisation, and how fields are checked."""
import dataclasses
from dataclasses import dataclass, fields

from reidlab.errors import ReidlabError


@dataclass(frozen=True, kw_only=True)
class Image:
    """The picture encoder, a ViT."""

    pretrained: str | None = None    # folder or hub id; None trains from scratch
    height: int = 224                # pixels
    width: int = 224                 # pixels
    patch: int = 16                  # pixels
    dim: int = 768                   # token width
    layers: int = 12                 # transformer blocks
    heads: int = 12                  # attention heads
    activation: str = "gelu"         # of the feed-forward layers; relu is cheaper on CPUs
    stem: bool = False               # three strided convolutions in place of one patch projection
    dropout: float = 0.0             # inside the transformer


@dataclass(frozen=True, kw_only=True)
class Training:
    """The optimisation."""

    epochs: int = 80                 # also the clock of the ramps and of the cosine
    batches_per_epoch: int | None = None  # None: as many as the training set fills
    batch_size: int = 128            # images, over all processes
    optimizer: str = "adam"          # adam or adamw
    lr: float = 1e-4                 # peak learning rate
    weight_decay: float = 1e-3       # of the optimizer
    warmup: int = 0                  # steps of linear warm-up
    final_lr: float = 1e-6           # where the cosine ends
    clip: float = 0.0                # gradient norm limit; 0 does not clip
    mixed_precision: bool = True     # bf16 where the device has it (CUDA)
    compile: bool = False            # torch.compile the encoders (CUDA)
    monitor_every: int = 20          # steps between looks at the held-out batch
    validate_every: int = 20         # epochs between scores on val; the last is always scored
    checkpoint_every: int = 100      # steps between checkpoints


CHOICES = {
    "image.activation": ("gelu", "relu"),
    "training.optimizer": ("adam", "adamw"),
}
LEAST = {
    "seed": 0, "data.seed": 0, "data.people": 2, "data.val_people": 2, "data.test_people": 2,
    "data.shots": 1, "data.images_per_person": 1, "data.flip": 0, "data.jitter": 0, "data.crop": 0,
    "image.height": 16, "image.width": 16, "image.layers": 1,
    "training.epochs": 1, "training.batches_per_epoch": 1, "training.batch_size": 2,
    "training.lr": 0, "training.weight_decay": 0, "training.warmup": 0, "training.clip": 0,
    "training.monitor_every": 1, "training.validate_every": 1, "training.checkpoint_every": 1,
}


def check(experiment, choices: dict[str, tuple], least: dict[str, float]) -> None:
    """Refuse values that cannot work in any experiment, before anything is built or written.

    Args:
        experiment: with ``data``, ``image`` and ``training``.
        choices: fields that hold a name, and the names they may hold, beside the shared ones.
        least: smallest value that makes sense, beside the shared ones.

    Raises:
        ReidlabError: which field, what it is, what it may be.
    """
    choices, least = CHOICES | choices, LEAST | least
    for name, value in flatten(experiment).items():
        if name in choices and value not in choices[name]:
            raise ReidlabError(f"{name} is {value!r}; known: {', '.join(map(str, choices[name]))}")
        if name in least and value is not None and not value >= least[name]:
            raise ReidlabError(f"{name} is {value}; it must be at least {least[name]}")
    image = experiment.image
    if image.height % image.patch or image.width % image.patch:
        raise ReidlabError(
            f"image {image.height}x{image.width} is no multiple of image.patch {image.patch}; "
            "the ViT would drop the border"
        )
    if image.dim % image.heads:
        raise ReidlabError(f"dim {image.dim} is not divisible by heads {image.heads}")
    training, data = experiment.training, experiment.data
    if training.batch_size % data.images_per_person:
        raise ReidlabError(f"training.batch_size {training.batch_size} is no multiple of "
                           f"data.images_per_person {data.images_per_person}")


def flatten(config, prefix: str = "") -> dict:
    """``{"training.lr": 1e-4, …}``: every leaf of a config under its dotted name."""
    flat = {}
    for item in fields(config):
        value = getattr(config, item.name)
        name = f"{prefix}{item.name}"
        flat |= flatten(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return flat
