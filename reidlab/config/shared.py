"""What every experiment has: a picture encoder and an optimisation, and how fields are checked."""
import dataclasses
import typing
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from reidlab.errors import ReidlabError


def limited(default, least: float, most: float):
    """A field that holds a number from `least` to `most`; what lies outside cannot be meant."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class Image:
    """The picture encoder, a ViT."""

    pretrained: str | None = None    # folder or hub id; None trains from scratch
    height: int = limited(224, 16, 2048)  # pixels
    width: int = limited(224, 16, 2048)  # pixels
    patch: int = limited(16, 1, 256)  # pixels
    dim: int = limited(768, 8, 16_384)  # token width
    layers: int = limited(12, 1, 128)  # transformer blocks
    heads: int = limited(12, 1, 256)  # attention heads
    # of the feed-forward layers; relu is cheaper on CPUs
    activation: Literal["gelu", "relu"] = "gelu"
    stem: bool = False               # three strided convolutions in place of one patch projection
    dropout: float = limited(0.0, 0, 0.9)  # inside the transformer


@dataclass(frozen=True, kw_only=True)
class Training:
    """The optimisation."""

    epochs: int = limited(80, 1, 100_000)  # also the clock of the ramps and of the cosine
    # None: as many as the training set fills
    batches_per_epoch: int | None = limited(None, 1, 1_000_000)
    batch_size: int = limited(128, 2, 65_536)  # images, over all processes
    # processes that read batches ahead; none: some for a GPU, 0 on CPUs, where all cores compute
    workers: int | None = limited(None, 0, 256)
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = limited(1e-4, 0, 10)  # peak learning rate
    backbone_lr: float | None = limited(None, 0, 10)  # of the encoders; none: as of all else
    # share of the rate that an encoder layer passes to the one below it
    layer_decay: float = limited(1.0, 0, 1)
    weight_decay: float = limited(1e-3, 0, 10)  # of the optimizer
    warmup: int = limited(0, 0, 10_000_000)  # steps of linear warm-up
    final_lr: float = limited(1e-6, 0, 10)  # where the cosine ends
    max_grad_norm: float = limited(0.0, 0, 1e6)  # gradient norm limit; 0 does not clip
    # decay of a running mean of the weights, which is what is scored and kept; 0 keeps the weights
    ema: float = limited(0.0, 0, 0.999999)
    gradient_checkpointing: bool = False  # encoders make activations again in place of keeping them
    # rows whose activations are held at a time, for batches that do not fit; none holds all
    micro_batch: int | None = limited(None, 1, 65_536)
    start: str | None = None         # folder of a run whose best weights training starts from
    # bf16 where that is faster: on GPUs that have it, on CPUs that do where a measurement says so
    mixed_precision: bool = True
    compile: bool = False            # torch.compile the encoders (CUDA)
    # steps between looks at the loss: whoever looks makes a GPU wait
    log_every: int = limited(10, 1, 10_000_000)
    monitor_every: int = limited(20, 1, 10_000_000)  # steps between looks at the held-out batch
    # epochs between scores on val; the last is always scored
    validate_every: int = limited(20, 1, 10_000_000)
    checkpoint_minutes: float = limited(10.0, 0, 100_000)  # between checkpoints; one at the end
    # steps between further checkpoints; None: by the clock alone
    checkpoint_every: int | None = limited(None, 1, 10_000_000)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run, whole: what is read, built, optimised and scored.

    Each task has a subclass with parts of its own.
    """

    task: ClassVar[str]

    name: str
    size: str
    seed: int = limited(0, 0, 2**31)  # of initial weights, batches and augmentation
    data: Any = None
    image: Image = field(default_factory=Image)
    loss: Any = None
    training: Training = field(default_factory=Training)
    scoring: Any = None

    def __post_init__(self):
        """Refuse values that cannot work in any experiment, before anything is built or written.

        Raises:
            ReidlabError: which field, what it is, what it may be.
        """
        _check(self)


def _check(experiment: Experiment) -> None:
    _check_fields(experiment, "")
    if not any(dataclasses.asdict(experiment.loss.weights).values()):
        raise ReidlabError("every weight in loss.weights is 0, so that nothing would be learned; "
                           "set one above 0")
    image = experiment.image
    if image.height % image.patch or image.width % image.patch:
        raise ReidlabError(
            f"image {image.height}x{image.width} is no multiple of image.patch {image.patch}; "
            "the ViT would drop the border"
        )
    if image.dim % image.heads:
        raise ReidlabError(f"image.dim {image.dim} is not divisible by image.heads {image.heads}")
    if image.stem and (image.patch < 8 or image.patch & (image.patch - 1) or image.dim % 16):
        raise ReidlabError(f"image.stem needs a patch of 8, 16, 32 … pixels and a width that is a "
                           f"multiple of 16; got image.patch {image.patch}, image.dim {image.dim}")
    training, data = experiment.training, experiment.data
    if training.backbone_lr is not None and not training.lr:
        raise ReidlabError(f"training.backbone_lr is {training.backbone_lr}, but training.lr, "
                           "whose course it shares, is 0; set both above 0, or the first to none")
    if training.batch_size % data.images_per_person:
        raise ReidlabError(f"training.batch_size {training.batch_size} is no multiple of "
                           f"data.images_per_person {data.images_per_person}")


def _check_fields(config, prefix: str) -> None:
    hints = typing.get_type_hints(type(config))
    for item in fields(config):
        name, value = f"{prefix}{item.name}", getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            _check_fields(value, f"{name}.")
            continue
        if typing.get_origin(hints[item.name]) is Literal:
            known = typing.get_args(hints[item.name])
            if value not in known:
                raise ReidlabError(f"{name} is {value!r}; known: {', '.join(map(str, known))}")
        if value == "":
            raise ReidlabError(f"{name} is empty; give a name, or none where that is allowed")
        if "least" in item.metadata and value is not None:
            least, most = item.metadata["least"], item.metadata["most"]
            if not least <= value <= most:  # NaN, too, is in no range
                raise ReidlabError(f"{name} is {value}; it must be at least {least} and at most "
                                   f"{most}")


def flatten(config, prefix: str = "") -> dict:
    """``{"training.lr": 1e-4, …}``: every leaf of a config under its dotted name."""
    flat: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        name = f"{prefix}{item.name}"
        flat |= flatten(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: value}
    return flat
