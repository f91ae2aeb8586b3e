"""Words in, tokens out: BERT, or CLIP's caption tower, and the extra self-attention of note 003.

Shapes: B batch, L tokens, D width.
"""
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from reidlab.config import Text
from reidlab.encoders.pooling import build_pooling
from reidlab.encoders.pretrained import load_pretrained, model_type, refuse_another_shape
from reidlab.encoders.published import CLIP_TEXT, ClipText
from reidlab.encoders.tokens import Tokens, published_tokenizer
from reidlab.encoders.vit import fast_attention, width_of
from reidlab.errors import ReidlabError

log = logging.getLogger(__name__)
CHUNK = 64  # texts that are padded together


class TextEncoder(nn.Module):
    """BERT, optionally one more self-attention, and pooling.

    Args:
        config: the experiment's text part.
        tokenizer: None loads the one beside the pretrained weights.
        width: D that states are projected to, where the encoder has another.

    Source: note 001 §2.10 (CLS), note 003 §3 (frozen, self-attention, masked mean).
    """

    def __init__(self, config: Text, tokenizer=None, width: int | None = None):
        super().__init__()
        self.config = config
        if tokenizer is None:
            if not config.pretrained:
                raise ValueError("a text encoder from scratch needs a tokenizer: train_tokenizer()")
            tokenizer = published_tokenizer(config.pretrained)
        if config.pretrained and model_type(config.pretrained) in CLIP_TEXT:
            self.bert: Any = ClipText(config, fast_attention())
        elif config.pretrained:
            self.bert = load_pretrained(BertModel, config.pretrained, add_pooling_layer=False,
                                        attn_implementation=fast_attention(),
                                        dtype=torch.float32,
                                        hidden_dropout_prob=config.dropout,
                                        attention_probs_dropout_prob=config.dropout)
            held = self.bert.config
            refuse_another_shape("text", config, {
                "dim": held.hidden_size, "layers": held.num_hidden_layers,
                "heads": held.num_attention_heads, "activation": held.hidden_act})
        else:
            options: dict[str, Any] = {"attn_implementation": fast_attention()}
            self.bert = BertModel(BertConfig(
                vocab_size=len(tokenizer), hidden_size=config.dim,
                num_hidden_layers=config.layers, num_attention_heads=config.heads,
                intermediate_size=4 * config.dim, hidden_act=config.activation,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                max_position_embeddings=max(64, config.max_length),
                **options), add_pooling_layer=False)
        if len(tokenizer) > self.bert.config.vocab_size:
            raise ReidlabError(f"the tokenizer beside {config.pretrained!r} has {len(tokenizer)} "
                               f"entries, its weights {self.bert.config.vocab_size}: fetch both "
                               "from one place")
        positions = self.bert.config.max_position_embeddings
        if positions < config.max_length:
            log.info("captions are cut behind %d tokens, all that %s has positions for; "
                     "text.max_length is %d", positions, config.pretrained, config.max_length)
        self.tokens = Tokens(tokenizer, min(config.max_length, positions))
        self.frozen = None if config.trainable else FrozenStates(self.bert)
        self.dim = width_of(self.bert)
        self.project = None
        if width not in (None, self.dim):
            self.project, self.dim = nn.Linear(self.dim, width), width
        if config.attention:
            self.attention = nn.MultiheadAttention(self.dim, 4, dropout=config.dropout,
                                                   batch_first=True)
            self.attention_norm = nn.LayerNorm(self.dim)
        self.pool = build_pooling(config.pooling, self.dim)

    def train(self, mode: bool = True):
        """A frozen BERT stays in eval mode: its dropout would be noise that nothing can learn."""
        super().train(mode)
        if self.frozen:
            self.bert.eval()
        return self

    def states(self, texts: Sequence[str], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Token states (B, L, D) and mask (B, L)."""
        device = next(self.bert.parameters()).device
        if self.frozen and length is None and device.type == "cpu":
            states, mask = self.frozen(texts, self.tokens)
        else:  # an accelerator encodes faster than it is handed what was kept
            ids, mask = (t.to(device) for t in self.tokens(texts, length))
            states = self.bert(input_ids=ids, attention_mask=padding_mask(
                mask, self.bert.config._attn_implementation)).last_hidden_state
        if self.project is not None:
            states = self.project(states)
        if self.config.attention:
            mixed, _ = self.attention(states, states, states, need_weights=False,
                                      key_padding_mask=mask == 0)
            states = self.attention_norm(states + mixed)
        return states, mask

    def forward(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        """(B, D) pooled vectors of B strings.

        Short and long texts go through apart, which halves the padding; with masked attention
        that changes no number.
        """
        if length is not None or len(texts) < 2 * CHUNK:
            return self.pool(*self.states(texts, length))
        order = sorted(range(len(texts)), key=lambda k: len(self.tokens.ids(texts[k])))
        chunks = [order[k:k + CHUNK] for k in range(0, len(order), CHUNK)]
        pooled = [self.pool(*self.states([texts[k] for k in chunk])) for chunk in chunks]
        back = torch.tensor(order, device=pooled[0].device).argsort()
        return torch.cat(pooled)[back]

    def cache_texts(self, texts: Sequence[str]) -> None:
        """Name the texts that training will ask for again and again."""
        self.tokens.cache_texts(texts)
        if self.frozen:
            self.frozen.cache_texts(texts)


def padding_mask(mask: Tensor, attention: str) -> Tensor:
    """(B, L) of ones and zeros → (B, 1, 1, L), as the library's attention takes it.

    Handed (B, L), the library looks whether there is padding at all, and waits for the device.

    Args:
        mask: 1 where there is a word.
        attention: ``sdpa`` reads booleans, ``eager`` adds.
    """
    real = mask[:, None, None] != 0
    if attention == "sdpa":
        return real
    return torch.zeros(real.shape, device=mask.device).masked_fill(
        ~real, torch.finfo(torch.float32).min)


class FrozenStates:
    """Runs a frozen BERT once a caption instead of once a step.

    Known captions are encoded in fixed groups, so that a state never depends on which batch
    asked for it first: a resumed run sees the same last digits. Not a module: it owns no
    weights, only what they once gave.

    Args:
        bert: put into eval mode and frozen here.
        keep: groups whose states are kept in memory; the oldest go first.
    """

    GROUP = 128

    def __init__(self, bert: BertModel, keep: int = 2000):
        self.bert = bert.eval().requires_grad_(False)
        self.keep = keep
        self._place: dict[str, tuple[int, int]] = {}
        self._groups: list[list[str]] = []
        self._kept: OrderedDict[int, list[Tensor]] = OrderedDict()

    def cache_texts(self, texts: Sequence[str]) -> None:
        """Name the texts that will come again, for example all training captions."""
        unique = list(dict.fromkeys(texts))
        self._groups = [unique[k:k + self.GROUP] for k in range(0, len(unique), self.GROUP)]
        self._place = {text: (g, k) for g, group in enumerate(self._groups)
                       for k, text in enumerate(group)}
        self._kept.clear()

    def __call__(self, texts: Sequence[str], tokens: Tokens) -> tuple[Tensor, Tensor]:
        """States (B, L, D), zero in padded places, and mask (B, L)."""
        others = [t for t in dict.fromkeys(texts) if t not in self._place]
        fresh = dict(zip(others, self._encode(others, tokens), strict=True)) if others else {}
        rows = [fresh[t] if t in fresh else self._recall(*self._place[t], tokens) for t in texts]
        states = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        counts = torch.tensor([len(row) for row in rows])
        return states, (torch.arange(states.shape[1]) < counts[:, None]).long()

    def _recall(self, group: int, k: int, tokens: Tokens) -> Tensor:
        if group not in self._kept:
            self._kept[group] = self._encode(self._groups[group], tokens)
            if len(self._kept) > self.keep:
                self._kept.popitem(last=False)
        return self._kept[group][k]

    @torch.no_grad()
    def _encode(self, texts: Sequence[str], tokens: Tokens) -> list[Tensor]:
        ids, mask = tokens(texts)
        device = next(self.bert.parameters()).device
        states = self.bert(input_ids=ids.to(device), attention_mask=mask.to(device))
        return [state[:count].clone() for state, count in
                zip(states.last_hidden_state.float().cpu(), mask.sum(1).tolist(), strict=True)]
