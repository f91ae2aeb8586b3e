"""Every choice of a visible-infrared experiment."""
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from reidlab.config.shared import Experiment, limited
from reidlab.errors import ReidlabError


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which people, and how pictures of both modalities come to a batch."""

    source: str = "synthetic"            # synthetic, or sysu-mm01:DIR, regdb:DIR, llcm:DIR
    seed: int = limited(0, 0, 2**31)  # of the synthetic world
    people: int = limited(400, 2, 1_000_000)  # synthetic training people
    val_people: int = limited(100, 2, 1_000_000)  # synthetic people that choose the checkpoint
    test_people: int = limited(200, 2, 1_000_000)  # synthetic people that are scored once
    images_per_outfit: int = limited(4, 1, 100)  # pictures of a synthetic person in each modality
    trial: int = limited(1, 1, 10)  # regdb: which of its ten splits
    # sysu-mm01: train on the val people, too, as published scores do; val then chooses among
    # checkpoints by people that were trained on
    train_on_val: bool = False
    images_per_person: int = limited(4, 1, 1024)  # K: of one person in a batch, in each modality
    labelled_fraction: float = limited(1.0, 0, 1)  # share of training people whose names are known
    # share of training in which a pair is one shot, synthetic only
    aligned_until: float = limited(0.0, 0, 1)
    flip: float = limited(0.5, 0, 1)  # chance of mirroring a training picture
    jitter: float = limited(0.0, 0, 1)  # brightness and contrast change, ± share
    crop_padding: int = limited(10, 0, 512)  # pixels of padding before a random crop
    random_erasing: float = limited(0.5, 0, 1)  # chance of a random rectangle
    # chance that a visible picture becomes one of its channels
    channel_exchange: float = limited(0.5, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Stages:
    """The backbone in stages, and what joins them."""

    backbone: Literal["dual_vit", "resnet"] = "dual_vit"  # dual_vit or resnet
    embeddings: int = limited(2, 1, 2)  # of patches: one a modality, or 1 for both
    chained: bool = True             # False, as written: each stage embeds the picture again
    # lower view of MFA: previous stage, stage0, or none
    low: Literal["previous", "stage0", "none"] = "previous"
    # MFA: deen (channels, then positions) or cross_pyramid (note 004: attention, then a pyramid)
    aggregation: Literal["deen", "cross_pyramid"] = "deen"
    depth: int = limited(1, 1, 64)  # transformer layers of stage 4
    final_norm: bool = True          # LayerNorm after stage 4; note 004 names none
    # over patches after stage 4: mean, or a learned query
    pooling: Literal["mean", "query"] = "mean"
    # bnneck, linear as the note has it, or either _by_modality
    neck: Literal["bnneck", "bnneck_by_modality", "linear_by_modality", "linear"] = "bnneck"
    # vectors that are compared: both sides of the neck, or neck
    retrieve: Literal["both", "neck"] = "both"
    resnet: Literal[50, 18, 10] = 50  # depth of the resnet: 50, 18 or 10; its width is image.dim


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """How one embedding becomes several views."""

    # see reidlab.expansion.EXPANSIONS, or none
    name: Literal["none", "dee", "deen", "tmhee", "tmhee_over_batch", "cmatm", "cmatm_rebuilt",
                  "ssdec", "ssdec_rebuilt"] = "tmhee"
    heads: int = limited(4, 1, 256)  # attention heads; the views of tmhee
    views: int = limited(3, 1, 64)  # views, but for tmhee
    tokens: int = limited(4, 1, 1024)  # cmatm: learned tokens a modality and branch
    # ssdec: share of patches a view does not see; ssdec_rebuilt: of single numbers
    drop: float = limited(0.3, 0, 0.95)
    interaction: bool = False        # tmhee: heads exchange what they saw
    learned_view_weights: bool = False             # tmhee, cmatm: learned weight of each view
    dropout: float = limited(0.1, 0, 0.9)  # of attention and output


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term; 0 leaves the term out."""

    cls: float = limited(1.0, 0, 1e6)  # which training person
    triplet: float = limited(1.0, 0, 1e6)  # batch-hard, over both modalities
    cpm: float = limited(0.8, 0, 1e6)  # centres of generated views between those of the modalities
    orthogonality: float = limited(0.1, 0, 1e6)  # between views
    contrast: float = limited(0.0, 0, 1e6)  # visible against infrared, one person together
    alignment: float = limited(0.0, 0, 1e6)  # distance of the two modalities' means
    cut_mix: float = limited(0.0, 0, 1e6)  # classification of patches mixed from two people
    patches: float = limited(0.0, 0, 1e6)  # patch against patch, while a pair is one shot


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Which form of each term is used."""

    weights: Weights = field(default_factory=Weights)
    margin: float = limited(0.3, 0, 1000)  # of the triplets
    cpm_margin: float = limited(0.2, 0, 1000)  # of the centres
    label_smoothing: float = limited(0.0, 0, 0.99)  # of cls
    temperature: float = limited(0.1, 0.001, 100)  # of contrast
    # cross_modality: visible against infrared; all: every picture too
    contrast_over: Literal["cross_modality", "all"] = "cross_modality"
    # views, patches (note 004) or inner (DEEN)
    orthogonality: Literal["views", "patches", "inner"] = "views"
    metric_from: float = limited(0.0, 0, 1)  # share of training before triplet and cpm set in
    # groups found among unnamed pictures; 0 leaves those out
    clusters: int = limited(0, 0, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a trained model is used for retrieval."""

    # that chooses the checkpoint
    direction: Literal["infrared_to_visible", "visible_to_infrared"] = "infrared_to_visible"
    search: Literal["all", "indoor"] = "all"  # sysu-mm01: all or indoor
    gallery_shots: int = limited(1, 1, 10_000)  # gallery pictures a person (and camera)
    trials: int = limited(10, 1, 1000)  # galleries drawn; scores are their means
    mirror: bool = False             # average a picture's vector with its mirror image's
    channels: bool = False           # read a visible picture once a colour channel and average
    reciprocal: int = limited(20, 1, 10_000)  # neighbours of k-reciprocal re-ranking


@dataclass(frozen=True, kw_only=True)
class VisibleInfraredExperiment(Experiment):
    """One visible-infrared run, whole."""

    task: ClassVar[str] = "visible-infrared"

    data: Data = field(default_factory=Data)
    stages: Stages = field(default_factory=Stages)
    expansion: Expansion = field(default_factory=Expansion)
    loss: Loss = field(default_factory=Loss)
    scoring: Scoring = field(default_factory=Scoring)

    def __post_init__(self):
        super().__post_init__()
        self._refuse_one_view()
        if self.stages.backbone == "resnet":
            if self.training.micro_batch or self.training.gradient_checkpointing:
                raise ReidlabError(f"{self.name} has stages.backbone=resnet, whose BatchNorms read "
                                   "the whole batch, once; leave training.micro_batch at none and "
                                   "training.gradient_checkpointing at false")
            for name, value in (("stages.low", self.stages.low == "stage0"),
                                ("loss.weights.patches", self.loss.weights.patches)):
                if value:
                    raise ReidlabError(f"{self.name} has stages.backbone=resnet, whose maps shrink "
                                       f"from stage to stage and fit no {name}; set "
                                       + ("stages.low=previous or none" if name == "stages.low"
                                          else "loss.weights.patches=0"))

    def _refuse_one_view(self) -> None:
        """Views cannot be kept apart where an expansion makes one, or none."""
        weight, made = self.loss.weights.orthogonality, self.expansion
        if not weight or self.loss.orthogonality == "patches":
            return
        single = (("expansion.name", made.name) if made.name in ("none", "tmhee_over_batch") else
                  ("expansion.heads", made.heads) if made.name == "tmhee" and made.heads == 1 else
                  ("expansion.views", made.views) if made.views == 1
                  and made.name not in ("tmhee", "dee") else None)
        if single:
            raise ReidlabError(
                f"loss.weights.orthogonality is {weight} between {self.loss.orthogonality}, but "
                f"{self.name} has {single[0]}={single[1]}, which gives fewer than two views; set "
                f"the weight to 0, loss.orthogonality=patches, or {single[0]} to another value")
