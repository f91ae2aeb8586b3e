"""Every choice of a text-image experiment."""
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from reidlab.config.shared import Experiment, limited
from reidlab.errors import ReidlabError

MERGED_WIDTH = 256  # of the merged split's identity vectors, as note 000 has it


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which people, and how their pictures are brought to a batch."""

    source: str = "synthetic"            # synthetic, or cuhk-pedes:DIR, prcc:DIR, folder:DIR …
    seed: int = limited(0, 0, 2**31)  # of the synthetic world
    people: int = limited(1000, 2, 1_000_000)  # synthetic training people
    # synthetic people that choose the checkpoint and fit the probes
    val_people: int = limited(200, 2, 1_000_000)
    test_people: int = limited(200, 2, 1_000_000)  # synthetic people that are scored once
    outfits: int = limited(3, 2, 100)  # outfits a synthetic person wears; the last is a neighbour's
    images_per_outfit: int = limited(4, 1, 100)  # pictures of a synthetic person in each outfit
    images_per_person: int = limited(4, 1, 1024)  # of one person in a batch, by outfits first
    # share of training rows whose clothing caption is another's
    mismatched_fraction: float = limited(0.0, 0, 1)
    # split: identity and clothing words apart; whole: every word in the identity caption
    captions: Literal["split", "whole"] = "split"
    negatives: Literal["random", "similar"] = "random"  # which: random, or similar to the true one
    # sampled: a coin and another caption a row; listed: each picture once with each, drawn once
    pairs: Literal["sampled", "listed"] = "sampled"
    flip: float = limited(0.5, 0, 1)  # chance of mirroring a training picture
    jitter: float = limited(0.2, 0, 1)  # brightness and contrast change, ± share
    crop_padding: int = limited(4, 0, 512)  # pixels of padding before a random crop
    random_erasing: float = limited(0.0, 0, 1)  # chance that a picture loses a rectangle


@dataclass(frozen=True, kw_only=True)
class Text:
    """The caption encoder, a BERT."""

    pretrained: str | None = None    # folder or hub id; None trains from scratch
    # tokens, [CLS] and [SEP] included; or as many as a pretrained BERT has positions for
    max_length: int = limited(64, 3, 512)
    dim: int = limited(768, 8, 16_384)  # token width
    layers: int = limited(12, 1, 128)  # transformer blocks
    heads: int = limited(12, 1, 256)  # attention heads
    # of the feed-forward layers; relu is cheaper on CPUs
    activation: Literal["gelu", "relu"] = "gelu"
    trainable: bool = True           # False: frozen, in eval mode, run once a caption
    attention: bool = False          # one more self-attention over the tokens
    # see reidlab.encoders.pooling.POOLINGS
    pooling: Literal["cls", "masked_mean", "max", "attention", "last"] = "cls"
    dropout: float = limited(0.1, 0, 0.9)  # inside the transformer and the extra attention


@dataclass(frozen=True, kw_only=True)
class Disentangle:
    """How image tokens become an identity part and a clothing part."""

    # see reidlab.disentangle.DISENTANGLERS
    name: Literal["projection", "merged", "residual", "attention", "queries", "none"] = "attention"
    # of image tokens, where the split has no queries of its own
    pooling: Literal["cls", "masked_mean", "max", "attention"] = "masked_mean"
    reversal: bool = True            # gradient reversal before clothing, in the projection designs
    self_layers: int = limited(1, 0, 64)  # self-attention layers a branch
    cross_layers: int = limited(1, 0, 64)  # cross-attention layers between the branches
    # parallel: both sides read what the other was before the layer; in_turn: clothing reads after
    cross_order: Literal["parallel", "in_turn"] = "parallel"
    heads: int = limited(4, 1, 256)  # attention heads
    # self layers: attention, performer, linformer, conv or window
    mixer: Literal["attention", "performer", "linformer", "conv", "window"] = "attention"
    features: int = limited(64, 1, 8192)  # random features of performer, summaries of linformer
    # linear (note 003), mlp (note 002's prose) or multihead
    gate: Literal["linear", "mlp", "multihead"] = "linear"
    # input: the encoder's tokens; running: the layer's own input
    residual_from: Literal["input", "running"] = "input"
    dropout: float = limited(0.0, 0, 0.9)  # of attention weights


@dataclass(frozen=True, kw_only=True)
class Heads:
    """From pooled features to retrieval embeddings."""

    # joint (the notes' layers), linear, or none: the encoders' own vectors; see HEADS
    name: Literal["joint", "merged", "linear", "none"] = "joint"
    hidden: int = limited(512, 1, 65_536)  # width after the first layer, joint only
    embedding: int = limited(256, 1, 65_536)  # width of the retrieval vectors
    dropout: float = limited(0.2, 0, 0.9)  # between the layers, joint only
    separate: bool = False           # True: identity and clothing get heads of their own
    # words against patches: full, or light (an eighth of the work)
    alignment: Literal["full", "light"] = "full"
    concept_erasure: bool = False    # project clothing out of identity, once weights are chosen
    # by what: captions (what clothing captions show), or outfits (what differs between the outfits
    # of one person; captions where the data do not say who wears what)
    erasure: Literal["captions", "outfits"] = "captions"
    erasure_kept: int = limited(12, 1, 65_536)  # outfits: directions of identity that are kept


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How an image and a text vector become one."""

    # of vectors (FUSIONS), of tokens (TOKEN_FUSIONS), or none
    name: Literal["none", "attention_gated", "mamba", "attention_tokens", "mamba_tokens"] = "mamba"
    layers: int = limited(2, 1, 64)  # Mamba layers, or rounds of cross-attention over tokens
    heads: int = limited(4, 1, 256)  # attention heads
    # mamba: discarded (note 003) or applied before the projection
    gate: Literal["discarded", "applied"] = "discarded"
    # attention_gated: groups of channels that get two weights of their own
    gate_groups: int = limited(1, 1, 256)
    # attention_gated: exact, or cheaper over long sequences
    mixer: Literal["attention", "performer", "linformer"] = "attention"
    d_state: int = limited(16, 1, 1024)  # state size of a Mamba channel
    d_conv: int = limited(4, 1, 64)  # taps of its convolution
    expand: int = limited(2, 1, 16)  # inner width over outer width
    dropout: float = limited(0.1, 0, 0.9)  # on the output


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term; 0 leaves the term out."""

    info_nce: float = limited(1.0, 0, 1e6)  # identity: image with text
    sdm: float = limited(0.0, 0, 1e6)  # identity: scores spread as the labels are
    cls: float = limited(1.0, 0, 1e6)  # identity: which training person
    bio: float = limited(0.5, 0, 1e6)  # identity: pooled image feature to text
    cloth: float = limited(0.5, 0, 1e6)  # clothing: pooled image feature to text
    cloth_adv: float = limited(0.1, 0, 1e6)  # clothing: the notes' adversarial term
    cloth_match: float = limited(1.0, 0, 1e6)  # clothing: image with text
    decouple: float = limited(0.2, 0, 1e6)  # dependence between identity and clothing
    gate_regularization: float = limited(0.01, 0, 1e6)  # distance of the gate from one half
    gate_smoothing: float = limited(0.0, 0, 1e6)  # distance of the gate from its own running mean
    fusion_gate: float = limited(0.0, 0, 1e6)  # distance of the fusion's two weights from one half
    # distance of the fusion's two weights from their own running mean
    fusion_gate_smoothing: float = limited(0.0, 0, 1e6)
    # both sides at once: the sum of scores that retrieval uses
    summed_score: float = limited(0.0, 0, 1e6)
    id_image: float = limited(0.0, 0, 1e6)  # identity: pictures of one person in different outfits
    cloth_image: float = limited(0.0, 0, 1e6)  # clothing: pictures of one outfit
    words: float = limited(0.0, 0, 1e6)  # dependence of each vector on the other side's words
    fine_grained: float = limited(0.0, 0, 1e6)  # words against patches
    # does this text fit this picture, from the tokens of both
    itm: float = limited(0.0, 0, 1e6)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Which form of each term is used."""

    weights: Weights = field(default_factory=Weights)
    temperature: float = limited(0.1, 0.001, 100)  # of every contrastive term, unless it is learned
    learned_temperature: bool = False  # one exp(t) logit scale in place of the constant
    # diagonal: one text an image; same: all of one person
    positives: Literal["diagonal", "same"] = "diagonal"
    label_smoothing: float = limited(0.0, 0, 0.99)  # of cls
    # frozen (the optimizer never sees them) or trained
    projectors: Literal["frozen", "trained"] = "frozen"
    # see reidlab.losses.adversarial; identity_adversary is the kit's
    cloth_adv: Literal["negative_info_nce", "off_diagonal", "off_diagonal_mean",
                       "identity_adversary"] = "off_diagonal"
    adversary: float = limited(1.0, 0, 1000)  # strength of the identity adversary's reversal
    # diagonal ignores is_matched; masked respects it
    cloth_match: Literal["diagonal", "masked"] = "diagonal"
    # see reidlab.losses.decoupling.DECOUPLERS
    decouple: Literal["abs_cosine", "gram", "gram_zero_diagonal", "hsic_linear", "cka_linear",
                      "hsic_rbf", "cka_rbf"] = "gram"
    # pooled features or retrieval embeddings
    decouple_on: Literal["pooled", "embedding"] = "pooled"
    decouple_from: float = limited(0.0, 0, 1)  # share of training before decouple and words set in
    decouple_controller: bool = False  # raise its weight while measured dependence does not fall
    decouple_ramp: float = limited(0.0, 0, 1)  # share of training over which they then grow from 0
    itm_start: float = limited(0.0, 0, 1)  # share of training before matching sets in
    # steps from one to the next: a matching step costs much
    itm_every: int = limited(1, 1, 1_000_000)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a trained model is used for retrieval."""

    cloth_weight: float = limited(1.0, 0, 1000)  # λ of score = id + λ · cloth, same clothes
    # best hits that the ITM head sorts again, where there is one
    rerank: int = limited(10, 1, 10_000)
    itm_weight: float = limited(1.0, 0, 1000)  # of the ITM head's probability against their score
    mirror: bool = False             # average a picture's vectors with its mirror image's


@dataclass(frozen=True, kw_only=True)
class TextImageExperiment(Experiment):
    """One text-image run, whole."""

    task: ClassVar[str] = "text-image"

    data: Data = field(default_factory=Data)
    text: Text = field(default_factory=Text)
    disentangle: Disentangle = field(default_factory=Disentangle)
    heads: Heads = field(default_factory=Heads)
    fusion: Fusion = field(default_factory=Fusion)
    loss: Loss = field(default_factory=Loss)
    scoring: Scoring = field(default_factory=Scoring)

    def __post_init__(self):
        super().__post_init__()
        if self.text.dim % self.text.heads:
            raise ReidlabError(f"dim {self.text.dim} is not divisible by heads {self.text.heads}")
        if (self.disentangle.name == "merged") != (self.heads.name == "merged"):
            raise ReidlabError("disentangle.name and heads.name are merged together or not at all: "
                               "the merged split ends at retrieval width")
        if self.heads.name == "merged" and self.heads.embedding != MERGED_WIDTH:
            raise ReidlabError(f"heads.embedding is {self.heads.embedding}; the merged split of "
                               f"note 000 ends at {MERGED_WIDTH}: set it to that")
        fusion = self.fusion
        if fusion.name != "attention_gated" and (fusion.gate_groups, fusion.mixer) != (
                1, "attention"):
            raise ReidlabError(f"fusion.gate_groups {fusion.gate_groups} and fusion.mixer "
                               f"{fusion.mixer} are of fusion.name=attention_gated; {self.name} "
                               f"has {fusion.name}: leave them at 1 and attention")
        if self.heads.embedding % self.fusion.gate_groups:
            raise ReidlabError(f"fusion.gate_groups {self.fusion.gate_groups} does not divide "
                               f"heads.embedding {self.heads.embedding}; choose a divisor")
        if self.data.pairs == "listed" and (self.data.mismatched_fraction != 0.5
                                            or self.data.images_per_person != 1):
            raise ReidlabError("data.pairs=listed shows each picture once with its own and once "
                               "with another's clothing caption; set data.mismatched_fraction=0.5 "
                               "and data.images_per_person=1, or data.pairs=sampled")
        if self.data.captions == "whole" and self.data.mismatched_fraction:
            raise ReidlabError(f"data.mismatched_fraction is {self.data.mismatched_fraction}, but "
                               "data.captions=whole leaves no clothing caption to exchange; set it "
                               "to 0, or data.captions=split")
        if self.heads.erasure == "outfits" and self.heads.erasure_kept > self.heads.embedding:
            raise ReidlabError(f"heads.erasure_kept {self.heads.erasure_kept} is more than "
                               f"heads.embedding {self.heads.embedding}; keep fewer directions")
        if self.loss.decouple_controller and not self.loss.weights.decouple:
            raise ReidlabError("loss.decouple_controller raises loss.weights.decouple, which is 0; "
                               "set the weight above 0, or the controller to false")
        unbiased = self.loss.weights.decouple and self.loss.decouple not in (
            "abs_cosine", "gram", "gram_zero_diagonal")
        if (unbiased or self.loss.weights.words) and self.training.batch_size < 4:
            raise ReidlabError(f"training.batch_size is {self.training.batch_size}; an unbiased "
                               "measure of dependence (loss.weights.decouple, loss.weights.words) "
                               "needs at least 4")
        self._refuse_terms_without_a_source()

    def _refuse_terms_without_a_source(self) -> None:
        """A term that reads what the design does not have would never be computed."""
        weights = self.loss.weights
        for term, field_name, held, needed in (
                ("gate_regularization", "disentangle.name", self.disentangle.name, ("attention",)),
                ("gate_smoothing", "disentangle.name", self.disentangle.name, ("attention",)),
                ("fusion_gate", "fusion.name", self.fusion.name, ("attention_gated", "mamba")),
                ("fusion_gate_smoothing", "fusion.name", self.fusion.name,
                 ("attention_gated", "mamba")),
                ("itm", "fusion.name", self.fusion.name, ("attention_tokens",
                                                               "mamba_tokens"))):
            if getattr(weights, term) and held not in needed:
                raise ReidlabError(
                    f"loss.weights.{term} is {getattr(weights, term)}, but {self.name} has "
                    f"{field_name}={held}, which gives that term nothing to read; set the weight "
                    f"to 0, or {field_name} to {' or '.join(needed)}")
