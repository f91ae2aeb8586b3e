"""Every choice of a visible-infrared experiment."""
from dataclasses import dataclass, field
from typing import ClassVar

from reidlab.config import shared
from reidlab.config.shared import Image, Training


@dataclass(frozen=True, kw_only=True)
class InfraredData:
    """Which people, and how pictures of both kinds come to a batch."""

    source: str = "drawn"            # drawn, or sysu-mm01:DIR, regdb:DIR, llcm:DIR
    seed: int = 0                    # of the drawn world
    people: int = 400                # drawn training people
    val_people: int = 100            # drawn people that choose the checkpoint
    test_people: int = 200           # drawn people that are scored once
    shots: int = 4                   # pictures of a drawn person in each modality
    trial: int = 1                   # regdb: which of its ten splits
    images_per_person: int = 4       # K: of one person in a batch, in each modality
    labelled: float = 1.0            # share of training people whose names are known
    paired: float = 0.0              # share of training in which a pair is one shot, drawn only
    flip: float = 0.5                # chance of mirroring a training picture
    jitter: float = 0.0              # brightness and contrast change, ± share
    crop: int = 10                   # pixels of padding before a random crop
    erasing: float = 0.5             # chance of a random rectangle
    channel_exchange: float = 0.5    # chance that a visible picture becomes one of its channels


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The backbone in stages, and what joins them."""

    backbone: str = "dual_vit"       # dual_vit or resnet
    embeddings: int = 2              # of patches: one a kind of light, or 1 for both
    chained: bool = True             # False, as written: each stage embeds the picture anew
    low: str = "previous"            # lower view of MFA: previous stage, stage0, or none
    depth: int = 1                   # transformer layers of stage 4
    pooling: str = "mean"            # over patches after stage 4: mean, or a learned query
    neck: str = "bnneck"             # bnneck, linear as the note has it, or either _by_modality
    retrieve: str = "both"           # vectors that are compared: both sides of the neck, or neck
    resnet: int = 50                 # depth of the resnet: 50, 18 or 10; its width is image.dim


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """How one embedding becomes several views."""

    name: str = "tmhee"              # see reidlab.expansion.EXPANSIONS, or none
    heads: int = 4                   # attention heads; the views of tmhee
    branches: int = 3                # views, but for tmhee
    tokens: int = 4                  # cmatm: learned tokens a modality and branch
    drop: float = 0.3                # ssdec: share of patches a view does not see
    interaction: bool = False        # tmhee: heads exchange what they saw
    shares: bool = False             # tmhee, cmatm: learned weight of each view
    dropout: float = 0.1             # of attention and output


@dataclass(frozen=True, kw_only=True)
class InfraredWeights:
    """Weight of each term; 0 leaves the term out."""

    cls: float = 1.0                 # which training person
    triplet: float = 1.0             # batch-hard, over both modalities
    cpm: float = 0.8                 # centres of generated views between those of the modalities
    orthogonality: float = 0.1       # between views
    contrast: float = 0.0            # visible against infrared, one person together
    alignment: float = 0.0           # distance of the two modalities' means
    cut_mix: float = 0.0             # classification of patches mixed from two people
    patches: float = 0.0             # patch against patch, while a pair is one shot


@dataclass(frozen=True, kw_only=True)
class InfraredLoss:
    """Which form of each term is used."""

    weights: InfraredWeights = field(default_factory=InfraredWeights)
    margin: float = 0.3              # of the triplets
    cpm_margin: float = 0.2          # of the centres
    label_smoothing: float = 0.0     # of cls
    temperature: float = 0.1         # of contrast
    contrast_over: str = "kinds"     # kinds: visible against infrared; all: every picture too
    orthogonality: str = "branches"  # branches, patches (note 004) or inner (DEEN)
    metric_from: float = 0.0         # share of training before triplet and cpm set in
    clusters: int = 0                # groups found among unnamed pictures; 0 leaves those out


@dataclass(frozen=True, kw_only=True)
class InfraredScoring:
    """How a trained model is used for retrieval."""

    direction: str = "infrared_to_visible"  # that chooses the checkpoint
    search: str = "all"              # sysu-mm01: all or indoor
    shots: int = 1                   # gallery pictures a person (and camera)
    trials: int = 10                 # galleries drawn; scores are their means
    mirror: bool = False             # average a picture's vector with its mirror image's
    channels: bool = False           # read a visible picture once a colour channel and average
    reciprocal: int = 20             # neighbours of k-reciprocal re-ranking


@dataclass(frozen=True, kw_only=True)
class InfraredExperiment:
    """One run of the visible-infrared system, whole."""

    task: ClassVar[str] = "visible-infrared"

    name: str
    size: str
    seed: int = 0                    # of initial weights, batches and augmentation
    data: InfraredData = field(default_factory=InfraredData)
    image: Image = field(default_factory=Image)
    stages: Stages = field(default_factory=Stages)
    expansion: Expansion = field(default_factory=Expansion)
    loss: InfraredLoss = field(default_factory=InfraredLoss)
    training: Training = field(default_factory=Training)
    scoring: InfraredScoring = field(default_factory=InfraredScoring)

    def __post_init__(self):
        shared.check(self, CHOICES, LEAST)


CHOICES = {
    "stages.backbone": ("dual_vit", "resnet"),
    "stages.embeddings": (1, 2),
    "stages.low": ("previous", "stage0", "none"),
    "stages.resnet": (50, 18, 10),
    "stages.neck": ("bnneck", "bnneck_by_modality", "linear_by_modality", "linear"),
    "stages.pooling": ("mean", "query"),
    "stages.retrieve": ("both", "neck"),
    "loss.contrast_over": ("kinds", "all"),
    "loss.orthogonality": ("branches", "patches", "inner"),
    "scoring.direction": ("infrared_to_visible", "visible_to_infrared"),
    "scoring.search": ("all", "indoor"),
    "data.trial": tuple(range(1, 11)),
}
LEAST = {
    "data.paired": 0, "data.labelled": 0, "data.erasing": 0, "data.channel_exchange": 0,
    "loss.metric_from": 0, "loss.clusters": 0, "stages.depth": 1,
    "expansion.heads": 1, "expansion.branches": 1, "expansion.tokens": 1, "expansion.drop": 0,
    "loss.margin": 0, "loss.cpm_margin": 0, "loss.temperature": 1e-6, "loss.label_smoothing": 0,
    "scoring.shots": 1, "scoring.trials": 1,
    "scoring.reciprocal": 1,
}
