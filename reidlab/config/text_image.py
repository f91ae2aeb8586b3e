"""Every choice of a text-image experiment."""
from dataclasses import dataclass, field
from typing import ClassVar

from reidlab.config import shared
from reidlab.config.shared import Image, Training
from reidlab.errors import ReidlabError


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which people, and how their pictures are brought to a batch."""

    source: str = "drawn"            # drawn, or cuhk-pedes:DIR
    seed: int = 0                    # of the drawn world
    people: int = 1000               # drawn training people
    val_people: int = 200            # drawn people that choose the checkpoint and fit the probes
    test_people: int = 200           # drawn people that are scored once
    outfits: int = 3                 # outfits a drawn person wears; the last is a neighbour's
    shots: int = 4                   # pictures of a drawn person in each outfit
    images_per_person: int = 4       # of one person in a batch, different outfits first
    unmatched: float = 0.0           # share of training rows whose clothing caption is another's
    negatives: str = "random"        # which: random, or similar to the true one
    flip: float = 0.5                # chance of mirroring a training picture
    jitter: float = 0.2              # brightness and contrast change, ± share
    crop: int = 4                    # pixels of padding before a random crop


@dataclass(frozen=True, kw_only=True)
class Text:
    """The caption encoder, a BERT."""

    pretrained: str | None = None    # folder or hub id; None trains from scratch
    max_length: int = 64             # tokens, [CLS] and [SEP] included
    dim: int = 768                   # token width
    layers: int = 12                 # transformer blocks
    heads: int = 12                  # attention heads
    activation: str = "gelu"         # of the feed-forward layers; relu is cheaper on CPUs
    trainable: bool = True           # False: frozen, in eval mode, run once a caption
    attention: bool = False          # one more self-attention over the tokens
    pooling: str = "cls"             # see reidlab.encoders.pooling.POOLINGS
    dropout: float = 0.1             # inside the transformer and the extra attention


@dataclass(frozen=True, kw_only=True)
class Disentangle:
    """How image tokens become an identity part and a clothing part."""

    name: str = "attention"          # see reidlab.disentangle.DISENTANGLERS
    pooling: str = "masked_mean"     # of image tokens, where the split has no queries of its own
    reversal: bool = True            # gradient reversal before clothing, in the projection designs
    self_layers: int = 1             # self-attention layers a branch
    cross_layers: int = 1            # cross-attention layers between the branches
    heads: int = 4                   # attention heads
    mixer: str = "attention"         # self layers: attention, performer, linformer, conv or window
    features: int = 64               # random features of performer, summaries of linformer
    gate: str = "linear"             # linear (note 003), mlp (note 002's prose) or multihead
    residual_from: str = "input"     # input: the encoder's tokens; running: the layer's own input
    dropout: float = 0.0             # of attention weights


@dataclass(frozen=True, kw_only=True)
class Heads:
    """From pooled features to retrieval embeddings."""

    name: str = "joint"              # joint (the notes' layers) or linear; see HEADS
    hidden: int = 512                # width after the first layer, joint only
    embedding: int = 256             # width of the retrieval vectors
    dropout: float = 0.2             # between the layers, joint only
    separate: bool = False           # True: identity and clothing get heads of their own
    alignment: str = "full"          # words against patches: full, or light (an eighth of the work)
    erase: bool = False              # project out of identity what clothing captions show


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How an image and a text vector become one."""

    name: str = "mamba"              # of vectors (FUSIONS), of tokens (TOKEN_FUSIONS), or none
    layers: int = 2                  # Mamba layers, or rounds of cross-attention over tokens
    heads: int = 4                   # attention heads
    gate: str = "discarded"          # mamba: discarded (note 003) or applied before the projection
    d_state: int = 16                # state size of a Mamba channel
    d_conv: int = 4                  # taps of its convolution
    expand: int = 2                  # inner width over outer width
    dropout: float = 0.1             # on the output


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weight of each term; 0 leaves the term out."""

    info_nce: float = 1.0            # identity: image with text
    cls: float = 1.0                 # identity: which training person
    bio: float = 0.5                 # identity: pooled image feature to text
    cloth: float = 0.5               # clothing: pooled image feature to text
    cloth_adv: float = 0.1           # clothing: the notes' adversarial term
    cloth_match: float = 1.0         # clothing: image with text
    decouple: float = 0.2            # dependence between identity and clothing
    gate_regularization: float = 0.01  # distance of the gate from one half
    gate_smoothing: float = 0.0      # distance of the gate from its own running mean
    fusion_gate: float = 0.0         # distance of the fusion's two weights from one half
    as_dressed: float = 0.0          # both sides at once: the sum of scores that retrieval uses
    id_image: float = 0.0            # identity: pictures of one person in different outfits
    words: float = 0.0               # dependence of each vector on the other side's words
    fine_grained: float = 0.0        # words against patches
    matching: float = 0.0            # does this text fit this picture, from the tokens of both


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Which form of each term is used."""

    weights: LossWeights = field(default_factory=LossWeights)
    temperature: float = 0.1         # of every contrastive term, unless it is learned
    learned_temperature: bool = False  # one exp(t) logit scale in place of the constant
    positives: str = "diagonal"      # diagonal: one text an image; same: all of one person
    label_smoothing: float = 0.0     # of cls
    projectors: str = "frozen"       # frozen (the optimizer never sees them) or trained
    cloth_adv: str = "off_diagonal"  # negative_info_nce, off_diagonal or identity_adversary
    adversary: float = 1.0           # strength of the identity adversary's reversal
    cloth_match: str = "diagonal"    # diagonal ignores is_matched; masked respects it
    decouple: str = "gram"           # see reidlab.losses.decoupling.DECOUPLERS
    decouple_on: str = "pooled"      # pooled features or retrieval embeddings
    decouple_from: float = 0.0       # share of training before decouple and words set in
    decouple_controller: bool = False  # raise its weight while measured dependence does not fall
    decouple_ramp: float = 0.0       # share of training over which they then grow from 0
    matching_from: float = 0.0       # share of training before matching sets in
    matching_every: int = 1          # steps from one to the next: a matching step costs much


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a trained model is used for retrieval."""

    cloth_weight: float = 1.0        # λ of score = id + λ · cloth, for people as dressed
    rerank: int = 10                 # best hits that the matcher sorts again, where there is one
    match_weight: float = 1.0        # of the matcher's probability against their score


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run of the text-image system, whole: what is read, built, optimised and scored."""

    task: ClassVar[str] = "text-image"

    name: str
    size: str
    seed: int = 0                    # of initial weights, batches and augmentation
    data: Data = field(default_factory=Data)
    image: Image = field(default_factory=Image)
    text: Text = field(default_factory=Text)
    disentangle: Disentangle = field(default_factory=Disentangle)
    heads: Heads = field(default_factory=Heads)
    fusion: Fusion = field(default_factory=Fusion)
    loss: Loss = field(default_factory=Loss)
    training: Training = field(default_factory=Training)
    scoring: Scoring = field(default_factory=Scoring)

    def __post_init__(self):
        shared.check(self, CHOICES, LEAST)
        if self.text.dim % self.text.heads:
            raise ReidlabError(f"dim {self.text.dim} is not divisible by heads {self.text.heads}")
        if (self.disentangle.name == "merged") != (self.heads.name == "merged"):
            raise ReidlabError("disentangle.name and heads.name are merged together or not at all: "
                               "the merged split ends at retrieval width")


CHOICES = {
    "text.activation": ("gelu", "relu"),
    "disentangle.mixer": ("attention", "performer", "linformer", "conv", "window"),
    "disentangle.gate": ("linear", "mlp", "multihead"),
    "disentangle.residual_from": ("input", "running"),
    "heads.alignment": ("full", "light"),
    "fusion.gate": ("discarded", "applied"),
    "data.negatives": ("random", "similar"),
    "loss.positives": ("diagonal", "same"),
    "loss.projectors": ("frozen", "trained"),
    "loss.cloth_adv": ("negative_info_nce", "off_diagonal", "identity_adversary"),
    "loss.cloth_match": ("diagonal", "masked"),
    "loss.decouple_on": ("pooled", "embedding"),
}
LEAST = {
    "data.outfits": 2, "data.unmatched": 0, "text.layers": 1, "text.max_length": 3,
    "disentangle.self_layers": 0, "disentangle.cross_layers": 0, "disentangle.features": 1,
    "heads.embedding": 1, "loss.temperature": 1e-6, "loss.label_smoothing": 0,
    "loss.decouple_from": 0, "loss.decouple_ramp": 0, "loss.matching_from": 0,
    "loss.matching_every": 1, "scoring.cloth_weight": 0, "scoring.rerank": 1,
    "loss.adversary": 0, "fusion.layers": 1,
}
